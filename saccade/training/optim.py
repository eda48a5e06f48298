"""Learning-rate schedules as pure functions, and the optimiser."""

import math
from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator
from torch import nn

from saccade.config import Section


class OptimizerConfig(Section):
    """The optimiser's settings; defaults are those of "Attention Is All You Need", section 5.3."""

    optimizer: Literal["adam", "adamw"] = "adam"
    """Optimiser; adamw decouples weight decay from the gradient (Loshchilov and Hutter 2019)."""
    peak_rate: PositiveFloat = 7e-4
    """Learning rate at the end of warm-up; the paper's (width * warmup)^-0.5 is 7e-4 for its base model."""
    schedule: Literal["inverse_sqrt", "cosine", "constant"] = "inverse_sqrt"
    """Learning rate after warm-up: falling as 1/sqrt(step) (the paper), along half a cosine, or constant."""
    warmup: NonNegativeInt = 4000
    """Number of updates in which the learning rate rises linearly to `peak_rate`."""
    final_rate: float = Field(0.0, ge=0)
    """Learning rate at the end of the cosine schedule, at `steps`."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of the moving means of the gradient and of the squared gradient."""
    epsilon: PositiveFloat = 1e-9
    """Constant added to the root of the squared gradient's mean."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay: times the weight, added to the gradient (adam) or taken from the weight (adamw)."""
    clip_norm: float = Field(0.0, ge=0)
    """Maximum global gradient norm; 0 means no clipping."""

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
