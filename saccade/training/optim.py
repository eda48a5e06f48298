"""Learning-rate schedules as pure functions, and the optimiser."""

import math
from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator
from torch import nn

from saccade.config import Section


class OptimizerConfig(Section):
    """Shared by `[training]`; defaults are those of "Attention Is All You Need", section 5.3."""

    optimizer: Literal["adam", "adamw"] = "adam"
    """adamw decouples weight_decay from the gradient (Loshchilov and Hutter 2019)."""
    peak_rate: PositiveFloat = 7e-4
    """Learning rate at the end of warm-up; the paper's (width * warmup)^-0.5 is 7e-4 for its base model."""
    schedule: Literal["inverse_sqrt", "cosine", "constant"] = "inverse_sqrt"
    """After warm-up: fall as 1/sqrt(step) (the paper), fall along half a cosine, or stay."""
    warmup: NonNegativeInt = 4000
    """Updates of linear rise to peak_rate."""
    final_rate: float = Field(0.0, ge=0)
    """Where the cosine schedule ends, at training.steps."""
    betas: tuple[float, float] = (0.9, 0.98)
    """How much of the moving means of gradient and squared gradient an update keeps."""
    epsilon: PositiveFloat = 1e-9
    """Added to the root of the squared gradient's mean."""
    weight_decay: float = Field(0.0, ge=0)
    """adam: added to the gradient as weight_decay times the weight; adamw: taken from the weight itself."""
    clip_norm: float = Field(0.0, ge=0)
    """Largest global gradient norm; 0 does not clip."""

    @model_validator(mode="after")
    def _decay_fits(self) -> Self:
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {list(self.betas)}: each must lie in [0, 1)")
        return self


def inverse_sqrt(step: int, *, warmup: int) -> float:
    """Share of the peak rate at `step`, counted from 1: linear rise, then sqrt(warmup / step).

    With peak (width * warmup)^-0.5 this is equation 3 of "Attention Is All You Need".
    """
    warmup = max(warmup, 1)
    return min(step / warmup, math.sqrt(warmup / step))


def cosine(step: int, *, warmup: int, steps: int, final: float) -> float:
    """Share of the peak rate: linear rise, then half a cosine down to the share `final` at `steps`."""
    if step < warmup:
        return step / warmup
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2


def learning_rate(step: int, *, config: OptimizerConfig, steps: int) -> float:
    """Learning rate of update `step`, counted from 1, in a run of `steps` updates."""
    if config.schedule == "inverse_sqrt":
        share = inverse_sqrt(step, warmup=config.warmup)
    elif config.schedule == "cosine":
        share = cosine(step, warmup=config.warmup, steps=steps, final=config.final_rate / config.peak_rate)
    else:
        share = min(step / max(config.warmup, 1), 1.0)
    return config.peak_rate * share


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Adam over all parameters, fused into one kernel; the rate is set before each step."""
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(
        model.parameters(),
        lr=config.peak_rate,
        betas=config.betas,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        fused=True,
    )
