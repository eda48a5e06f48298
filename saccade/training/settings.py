"""The section `[training]`: the settings of a training run."""

from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from saccade.training.optim import OptimizerConfig


class TrainingConfig(OptimizerConfig):
    """Settings of a training run."""

    changeable: ClassVar[frozenset[str]] = frozenset(
        {
            *("steps", "peak_rate", "schedule", "warmup", "final_rate", "clip_norm"),
            *("precision", "compile", "average", "save_every", "log_every", "max_skipped"),
        }
    )

    steps: PositiveInt = 20_000
    """Number of updates of the weights; early stopping may end the run sooner."""
    batch_tokens: PositiveInt = 4096
    """Number of tokens in a batch, including padding, on its longer side; divided among processes."""
    accumulate: PositiveInt = 1
    """Number of batches per update."""
    seed: NonNegativeInt = 1
    """Random seed for weights, dropout and the order of the data."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numeric precision. bfloat16: products in 16 bits, weights in 32; auto: bfloat16 on GPUs with it."""
    compile: bool = False
    """Whether torch.compile compiles the model, which takes minutes at the start and is faster on a GPU."""
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    """Share of each target that is spread over the vocabulary (section 5.4). Unset: 0.1, or 0 for language
    models and non-autoregressive models."""
    guided_alignment: float = Field(0.0, ge=0)
    """Weight of the loss that pulls a head of cross-attention to `data.alignments`, beside 1 for the
    likelihood; Garg et al. (2019) use 0.05. 0: none. For models that write token by token."""
    guided_layer: PositiveInt | None = None
    """Layer of the head that guided alignment trains, among those with cross-attention, from 1. Unset: the
    last but one, as in Garg et al., or the only one."""
    guided_head: PositiveInt | None = None
    """Head that guided alignment trains, from 1. Unset: the first."""
    r_drop: float = Field(0.0, ge=0)
    """Weight of the divergence between two passes with different dropout (R-Drop, Liang et al. 2021), which
    take twice the time and memory. 0: one pass; the paper uses 5 for translation."""
    glancing: tuple[float, float] | None = None
    """Shares of the wrong slots whose tokens are revealed at the start and at the end of training
    (model.decoder = "ctc" or "dag" only); [0.0, 0.0]: no glancing. Unset: [0.5, 0.3] and [0.5, 0.1]."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of a moving average of the weights, which is then validated and saved instead; 0: none."""
    average: PositiveInt = 1
    """Number of latest validation checkpoints to average when training ends; the average is kept only if it
    scores better."""
    init_from: Path | None = None
    """Model folder whose weights, vocabulary, [model] and [decoding] the run starts from."""
    teacher: Path | None = None
    """Model folder of a teacher, which provides the vocabulary and optionally the encoder and fine-tuning."""
    encoder_from: Path | None = None
    """Model folder whose encoder, vocabulary and settings of the encoder the run starts from: a pre-trained
    masked language model for a tagger or a classifier."""
    init_encoder: bool = False
    """Whether a non-autoregressive model starts from the teacher's encoder and source embeddings."""
    fine_tuning: float = Field(0.0, ge=0, le=1)
    """Weight of the teacher's scores in fine-tuning (model.decoder = "fertility" only). The paper uses 0.25
    and starts from a trained student (init_from)."""
    save_every: PositiveInt = 500
    """Number of updates between saves of the `last` checkpoint, in addition to those at each validation."""
    log_every: PositiveInt = 50
    """Number of updates between lines in metrics.jsonl."""
    max_skipped: PositiveInt = 10
    """Number of consecutive updates with a loss or gradient that is not finite after which training stops."""


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether products run in bfloat16; `auto` means on GPUs that support it."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"
