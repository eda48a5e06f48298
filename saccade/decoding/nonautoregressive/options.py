"""The section `[decoding]` of non-autoregressive models: one class for each scheme."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from saccade.config import Section
from saccade.decoding.options import (
    MOST_BATCH_TOKENS,
    MOST_HYPOTHESES,
    MOST_SOURCE,
    MOST_TOKENS,
    DecodingConfig,
)

_AT_ONCE = "all positions are written at once, there is no search from word to word"
_DRAWN = "words are not sampled, the most likely one is taken at each position"
_LENGTH = "the length is decided before the words, so that scores need no length penalty or limit"
_OF_SEARCH = {
    **dict.fromkeys(("nbest", "mbr"), "there is one translation a sentence"),
    **dict.fromkeys(("beam", "early_stopping", "rules", "banned"), _AT_ONCE),
    **dict.fromkeys(("no_repeat_ngram_size", "repetition_penalty", "coverage_penalty"), _AT_ONCE),
    **dict.fromkeys(("sample", "temperature", "top_k", "top_p", "seed"), _DRAWN),
    **dict.fromkeys(
        ("length_penalty", "alpha", "min_length", "max_length", "max_ratio", "max_extra"), _LENGTH
    ),
}
_OF_SCHEMES = {
    "path": "dag",
    "fertilities": "fertility",
    "iterations": "mask-predict, which works in rounds",
}
assert set(_OF_SEARCH) >= DecodingConfig.model_fields.keys() - {"batch_tokens", "max_source_length"}


class NonAutoregressiveDecoding(Section):
    """Options of all schemes. Options of search are refused, and the message gives the reason."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        **{
            name: f"means nothing to this non-autoregressive model: {reason}"
            for name, reason in _OF_SEARCH.items()
        },
        **{name: f"only for models with decoder = {owner}" for name, owner in _OF_SCHEMES.items()},
    }
    candidates: int = Field(1, ge=1, le=MOST_HYPOTHESES)
    """Number of candidate translations of each sentence, among which a reranker or the model itself chooses
    (non-autoregressive models)."""
    max_source_length: int | None = Field(None, ge=0, le=MOST_SOURCE)
    """Maximum source length in tokens, including the end-of-sentence token; a longer line is reported and
    left empty. Unset: 4 times the longest training line, at least 1,024; 0: no limit but the model's own."""
    batch_tokens: int = Field(4096, ge=1, le=MOST_BATCH_TOKENS)
    """Number of source tokens decoded together, including padding and counting each candidate."""

    @property
    def rows_per_sentence(self) -> int:
        """Rows that a sentence occupies while it is decoded, one for each candidate."""
        return self.candidates


class FertilityDecoding(NonAutoregressiveDecoding):
    """Options with `decoder = "fertility"` (Gu et al. 2018, section 4.1)."""

    fertilities: Literal["argmax", "average"] = "argmax"
    """Number of target pieces for each source piece: the likeliest (argmax) or the rounded mean (average)."""
    candidates: int = Field(1, ge=1, le=MOST_HYPOTHESES)
    """Number of fertility sequences to translate with: the one that `fertilities` gives, then random draws
    (noisy parallel decoding); a reranker chooses the best translation."""
    seed: int = 1
    """Random seed for sampling; the draws of a sentence depend on this and its line number alone."""
    max_ratio: float = Field(2.0, gt=0, le=100)
    """Target pieces allowed for each source piece; fertilities beyond that, plus `max_extra`, are cut."""
    max_extra: int = Field(10, ge=0, le=MOST_TOKENS)
    """Target pieces allowed in addition to `max_ratio`."""


class MaskPredictDecoding(NonAutoregressiveDecoding):
    """Options with `decoder = "mask-predict"` (Ghazvininejad et al. 2019, section 3)."""

    iterations: int = Field(10, ge=1, le=1_000)
    """Number of mask-predict rounds; each one after the first masks the least certain tokens and predicts
    them again."""
    candidates: int = Field(5, ge=1, le=MOST_HYPOTHESES)
    """Number of most likely lengths to translate with; the mean log-probability of the tokens, or a reranker,
    chooses the best translation."""


class CtcDecoding(NonAutoregressiveDecoding):
    """Options with `decoder = "ctc"` (Graves et al. 2006, section 3.2)."""

    candidates: int = Field(1, ge=1, le=MOST_HYPOTHESES)
    """Number of candidate translations. 1: the most likely path, collapsed; more: width of a prefix search
    that sums over the paths to each target; the likelihood or a reranker chooses among its results."""

    @property
    def rows_per_sentence(self) -> int:
        """Rows that a sentence occupies while it is decoded, one for each target."""
        return self.candidates


class DagDecoding(NonAutoregressiveDecoding):
    """Options with `decoder = "dag"` (Huang et al. 2022, section 3.5)."""

    path: Literal["lookahead", "greedy"] = "lookahead"
    """Path that one candidate takes: from each vertex the likeliest link (greedy), or the likeliest link and
    token together (lookahead)."""
    candidates: int = Field(1, ge=1, le=MOST_HYPOTHESES)
    """Number of candidate translations. 1: one path; more: width of a beam search that sums over the paths to
    each target; the score or a reranker chooses among its results."""
    alpha: float = Field(1.0, ge=0, le=10)
    """Exponent of the length, end symbol counted, by which log-probabilities of the beam are divided."""

    @property
    def rows_per_sentence(self) -> int:
        """Rows that a sentence occupies while it is decoded, one for each target."""
        return self.candidates
