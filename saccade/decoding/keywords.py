"""The decoding options as keyword arguments, so that editors complete them and type checkers know them.

They are documented and checked in their sections: `DecodingConfig` for models that write token by token,
`decoding.nonautoregressive.options` for non-autoregressive models, `ContinuationConfig` for language models.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict

from saccade.decoding.options import Penalty, Rules, Utility


class DecodingOptions(TypedDict, total=False):
    """The keyword arguments of `Translator.translate`; the kind of model decides which of them apply."""

    beam: int
    nbest: int
    mbr: Utility | None
    length_penalty: Penalty
    alpha: float
    early_stopping: bool
    banned: Sequence[int]
    rules: Rules
    no_repeat_ngram_size: int
    repetition_penalty: float
    coverage_penalty: float
    min_length: int
    max_length: int | None
    max_ratio: float
    max_extra: int
    max_source_length: int | None
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
