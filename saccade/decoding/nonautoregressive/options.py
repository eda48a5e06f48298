"""How models that write all positions at once are decoded: one section for each scheme."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from saccade.config import Section
from saccade.decoding.options import DecodingConfig

_AT_ONCE = "all positions are written at once, there is no search from word to word"
_DRAWN = "words are not drawn, the likeliest one is taken at each position"
_LENGTH = "the length is decided before the words, and nothing has to be evened out"
_OF_SEARCH = {
    "nbest": "there is one translation a sentence",
    **dict.fromkeys(("beam", "early_stopping", "rules", "banned"), _AT_ONCE),
    **dict.fromkeys(("sample", "temperature", "top_k", "top_p", "seed"), _DRAWN),
    **dict.fromkeys(
        ("length_penalty", "alpha", "min_length", "max_length", "max_ratio", "max_extra"), _LENGTH
    ),
}
_OF_SCHEMES = {
    "fertilities": "fertility",
    "iterations": "mask-predict, which works in rounds",
}
assert set(_OF_SEARCH) >= DecodingConfig.model_fields.keys() - {"batch_tokens"}


class NonAutoregressiveDecoding(Section):
    """What all schemes have; settings that mean nothing here are refused with the reason."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        **{
            name: f"means nothing to this non-autoregressive model: {reason}"
            for name, reason in _OF_SEARCH.items()
        },
        **{name: f"only for models with decoder = {owner}" for name, owner in _OF_SCHEMES.items()},
    }
    batch_tokens: PositiveInt = 4096
    """Source tokens decoded together, padding and candidates counted."""

    @property
    def rows_per_sentence(self) -> int:
        """Candidates that a sentence occupies while it is decoded."""
        return 1


class FertilityDecoding(NonAutoregressiveDecoding):
    """`decoder = "fertility"` (Gu et al. 2018, section 4.1)."""

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


class MaskPredictDecoding(NonAutoregressiveDecoding):
    """`decoder = "mask-predict"` (Ghazvininejad et al. 2019, section 3)."""

    iterations: PositiveInt = 10
    """Rounds; 1 writes everything once, each further one masks and predicts the least certain words anew."""
    candidates: PositiveInt = 5
    """The likeliest so many lengths are written out; the words' mean log-probability picks the best, or a
    teacher does."""

    @property
    def rows_per_sentence(self) -> int:
        """One for each length."""
        return self.candidates


class CtcDecoding(NonAutoregressiveDecoding):
    """`decoder = "ctc"` (Graves et al. 2006, section 3.2)."""

    candidates: PositiveInt = 1
    """1: the likeliest path, collapsed. More: the targets that a prefix search of that width finds, the paths
    to each counted together; the likeliest is taken, or the one that a teacher picks."""

    @property
    def rows_per_sentence(self) -> int:
        """One for each target."""
        return self.candidates
