"""The decoding settings as keyword arguments, so that an editor completes them and a type checker knows them.

The sections are where they are documented and checked: `DecodingConfig` for models that write token by token,
those of `decoding.nonautoregressive.options` for the others, `ContinuationConfig` for language models.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict

from saccade.decoding.options import Penalty, Rules


class DecodingOptions(TypedDict, total=False):
    """The keyword arguments of `Translator.translate`; which of them a model has depends on its kind."""

    beam: int
    nbest: int
    length_penalty: Penalty
    alpha: float
    early_stopping: bool
    banned: Sequence[int]
    rules: Rules
    min_length: int
    max_length: int | None
    max_ratio: float
    max_extra: int
    sample: bool
    temperature: float
    top_k: int | None
    top_p: float
    seed: int
    batch_tokens: int
    candidates: int
    iterations: int
    fertilities: Literal["argmax", "average"]


class ContinuationOptions(TypedDict, total=False):
    """The keyword arguments of `TextGenerator.generate`."""

    tokens: int
    samples: int
    temperature: float
    top_k: int | None
    top_p: float
    seed: int
