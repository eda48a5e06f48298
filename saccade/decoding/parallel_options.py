"""How models that write all positions at once are decoded: one section for each scheme."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from saccade.config import Section
from saccade.decoding.options import PARALLEL_SETTINGS, DecodingConfig

_AT_ONCE = "all positions are written at once, there is no search from word to word"
_ONE = "there is one translation a sentence"
_LENGTH = "the length is decided before the words, and nothing has to be evened out"
_REASONS = {
    "beam": _AT_ONCE,
    "early_stopping": _AT_ONCE,
    "rules": _AT_ONCE,
    "banned": _AT_ONCE,
    "nbest": _ONE,
    "sample": "words are not drawn, the likeliest one is taken at each position",
    "length_penalty": _LENGTH,
    "alpha": _LENGTH,
    "min_length": _LENGTH,
    "max_length": _LENGTH,
}
_WHERE = {
    "fertilities": "decoder = fertility",
    "candidates": "decoder = fertility and mask-predict",
    "iterations": "decoder = mask-predict, which works in rounds",
    "seed": "decoder = fertility, which draws candidates",
    "max_ratio": "decoder = fertility",
    "max_extra": "decoder = fertility",
}
assert set(_WHERE) >= PARALLEL_SETTINGS


class ParallelDecoding(Section):
    """What all schemes have; settings that mean nothing here are refused with the reason."""

    scheme: ClassVar[str]
    batch_tokens: PositiveInt = 4096
    """Source tokens decoded together, padding and candidates counted."""

    @model_validator(mode="before")
    @classmethod
    def _applies(cls, table: Any) -> Any:
        for name in table if isinstance(table, Mapping) else ():
            if name in cls.model_fields:
                continue
            if name in _WHERE:
                raise ValueError(f"{name} is for models with {_WHERE[name]}; this one is {cls.scheme}")
            if name in DecodingConfig.model_fields:
                reason = _REASONS.get(name, _REASONS["sample"])
                raise ValueError(f"{name} means nothing to a non-autoregressive model: {reason}")
        return table

    @property
    def rows_per_sentence(self) -> int:
        """Candidates that a sentence occupies while it is decoded."""
        return 1


class FertilityDecoding(ParallelDecoding):
    """`decoder = "fertility"` (Gu et al. 2018, section 4.1)."""

    scheme = "fertility"
    fertilities: Literal["argmax", "average"] = "argmax"
    """Each piece's likeliest fertility, or its mean, rounded."""
    candidates: PositiveInt = 1
    """Noisy parallel decoding: so many fertility sequences are written out, that of `fertilities` and others
    drawn at random; a teacher picks the best."""
    seed: int = 1
    """Of these draws, together with the line's number."""
    max_ratio: float = Field(2.0, gt=0)
    """Fertilities beyond this many target pieces for each source piece, and `max_extra`, are cut."""
    max_extra: NonNegativeInt = 10
    """See `max_ratio`."""

    @property
    def rows_per_sentence(self) -> int:
        """One for each fertility sequence."""
        return self.candidates


class MaskPredictDecoding(ParallelDecoding):
    """`decoder = "mask-predict"` (Ghazvininejad et al. 2019, section 3)."""

    scheme = "mask-predict"
    iterations: PositiveInt = 10
    """Rounds; 1 writes everything once, each further one masks and predicts the least certain words anew."""
    candidates: PositiveInt = 5
    """The likeliest so many lengths are written out; the words' mean log-probability picks the best."""

    @property
    def rows_per_sentence(self) -> int:
        """One for each length."""
        return self.candidates


class CtcDecoding(ParallelDecoding):
    """`decoder = "ctc"`: the likeliest path, collapsed; there is nothing to choose."""

    scheme = "ctc"


SCHEMES: dict[str, type[ParallelDecoding]] = {
    section.scheme: section for section in (FertilityDecoding, MaskPredictDecoding, CtcDecoding)
}
"""Scheme (`Parallel.scheme`) to the section `[decoding]` of such a model."""
