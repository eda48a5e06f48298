"""The section `[training]`: what one run does."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from saccade.training.optim import OptimizerConfig


class TrainingConfig(OptimizerConfig):
    """`[training]`: what one run does."""

    steps: PositiveInt = 20_000
    """Updates of the weights; early stopping may end sooner."""
    batch_tokens: PositiveInt = 4096
    """Tokens of one batch, padding in, counted on its longer side; shared among processes."""
    accumulate: PositiveInt = 1
    """Batches per update."""
    seed: NonNegativeInt = 1
    """Random seed for weights, dropout and the order of the data."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16: products in 16 bits, weights in 32; auto takes it where a GPU has it."""
    compile: bool = False
    """Let torch.compile make kernels for this model: minutes at the start, faster steps on a GPU."""
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    """Share of each target spread over the vocabulary (section 5.4). Unset: 0.1, in language models
    and non-autoregressive ones 0."""
    glancing: tuple[float, float] | None = None
    """model.decoder = "ctc" only. Share of the wrong slots that are shown their tokens, at the start and
    at the end of training; [0.0, 0.0]: none, plain CTC. Unset: [0.5, 0.3], the paper's."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of a moving average of the weights, which is then what is validated and saved; 0: none."""
    average: PositiveInt = 1
    """Number of latest validation checkpoints to average when training ends; the average is kept only if it
    scores better."""
    init_from: Path | None = None
    """A model to continue from: its weights, vocabulary and settings of [model] and [decoding]."""
    teacher: Path | None = None
    """A model whose vocabulary is taken; the student can start from its encoder and be fine-tuned by it."""
    init_encoder: bool = False
    """Start a non-autoregressive model from the teacher's encoder and source embeddings."""
    fine_tuning: float = Field(0.0, ge=0, le=1)
    """model.decoder = "fertility" only. Weight of the teacher's judgement in fine-tuning, 0.25 in the paper,
    which starts from a trained student (init_from)."""
    save_every: PositiveInt = 500
    """Updates between saves of the `last` checkpoint, besides those at each validation."""
    log_every: PositiveInt = 50
    """Updates between lines in metrics.jsonl."""
    max_skipped: PositiveInt = 10
    """Stop after this many updates in a row whose loss or gradient was not finite."""


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether products run in bfloat16; `auto` means on GPUs that have it."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"
