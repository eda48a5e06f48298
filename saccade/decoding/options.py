"""The section `[decoding]` of autoregressive models, with the source of each rule."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from saccade.config import Section

Penalty = Literal["gnmt", "power"]
Rules = Literal["plain", "free", "renormalized"]
Utility = Literal["chrf", "bleu"]

MOST_HYPOTHESES, MOST_SAMPLES = 10_000, 100_000
"""Bounds of `beam` and `nbest`; a request that memory cannot hold is refused below them."""
MOST_TOKENS = 100_000
"""Bound of the lengths of a target."""
MOST_SOURCE = 1_000_000
"""Bound of `max_source_length`; 0 stands for no limit."""
MOST_BATCH_TOKENS = MOST_TOP_K = 1_000_000
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.001, 1_000.0
"""Bounds of temperatures: beyond them, logits leave the range of float32."""


class DecodingConfig(Section):
    """Options of search and sampling.

    The defaults are those of "Attention Is All You Need" (section 6.1): beam 4, GNMT penalty 0.6, at most
    source + 50 tokens.
    """

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("fertilities", "candidates", "iterations"),
        "only for non-autoregressive models; this one writes token by token",
    )
    beam: int = Field(4, ge=1, le=MOST_HYPOTHESES)
    """Number of hypotheses kept for each sentence; 1 is greedy search."""
    nbest: int = Field(1, ge=1, le=MOST_SAMPLES)
    """Number of translations returned for each sentence, best first; at most `beam` unless sampling."""
    mbr: Utility | None = None
    """Score by which one of the `nbest` translations is chosen: that which agrees most with the others
    (minimum Bayes risk). Unset: the likeliest is chosen."""
    length_penalty: Penalty = "gnmt"
    """Divisor of the log-probability of n tokens: ((5 + n) / 6)^alpha with gnmt (Wu et al. 2016, eq. 14),
    n^alpha with power (Marian, fairseq, transformers)."""
    alpha: float = Field(0.6, ge=0, le=10)
    """Strength of the length penalty; 0 switches it off."""
    early_stopping: bool = False
    """Whether a sentence ends once `beam` hypotheses are finished, even if a live one could still win."""
    banned: tuple[NonNegativeInt, ...] = ()
    """Target ids that are never written, besides padding and start."""
    rules: Rules = "plain"
    """Effect of banned and forced tokens on scores. plain: none, each token keeps its log-probability; free:
    forced tokens count 0 (transformers); renormalized: probabilities of the allowed tokens sum to 1."""
    no_repeat_ngram_size: int = Field(0, ge=0, le=MOST_TOKENS)
    """Length of n-grams of tokens that may stand only once in a translation; 0: any may repeat."""
    repetition_penalty: float = Field(1.0, gt=0, le=100)
    """Factor of the log-probability of a token that the translation already holds (Keskar et al. 2019); more
    than 1 makes repetitions less likely."""
    coverage_penalty: float = Field(0.0, ge=0, le=100)
    """Weight of the penalty on source pieces that little attention went to, by which finished hypotheses are
    ranked (Wu et al. 2016, eq. 14, beta); 0: none. It needs attention to the source."""
    min_length: int = Field(0, ge=0, le=MOST_TOKENS)
    """Minimum translation length in tokens, not counting the end-of-sentence token."""
    max_length: int | None = Field(None, ge=1, le=MOST_TOKENS)
    """Maximum translation length in tokens, including the end-of-sentence token; unset: `max_ratio` times the
    source tokens, plus `max_extra`."""
    max_ratio: float = Field(1.0, gt=0, le=100)
    """Target tokens allowed for each source token if `max_length` is unset."""
    max_extra: int = Field(50, ge=0, le=MOST_TOKENS)
    """Target tokens allowed in addition to `max_ratio`."""
    max_source_length: int | None = Field(None, ge=0, le=MOST_SOURCE)
    """Maximum source length in tokens, including the end-of-sentence token; a longer line is reported and
    left empty. Unset: 4 times the longest training line, at least 1,024; 0: no limit but the model's own."""
    sample: bool = False
    """Whether tokens are sampled at random instead of searched for."""
    temperature: float = Field(1.0, ge=LEAST_TEMPERATURE, le=MOST_TEMPERATURE)
    """Sampling temperature; values below 1 favour likely tokens."""
    top_k: int | None = Field(None, ge=1, le=MOST_TOP_K)
    """Number of most likely tokens to sample from; unset: all tokens."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass of the most likely tokens to sample from (nucleus sampling, Holtzman et al. 2020); 1:
    all tokens."""
    seed: int = 1
    """Random seed for sampling. The draws of a sample depend on this, the sentence's line number and the
    sample's own number alone: a larger `nbest` adds samples to those of a smaller one."""
    batch_tokens: int = Field(4096, ge=1, le=MOST_BATCH_TOKENS)
    """Number of source tokens decoded together, including padding and counting each hypothesis. Up to four
    such batches are decoded at the same time on a CPU; lower it when memory runs out."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.sample:
            if self.nbest > self.beam:
                raise ValueError(f"nbest {self.nbest} is more than beam {self.beam}; raise beam, or sample")
            chosen = {"temperature": self.temperature != 1, "top_k": self.top_k, "top_p": self.top_p != 1}
            if ignored := [name for name, used in chosen.items() if used]:
                raise ValueError(f"{', '.join(ignored)}: only used when sampling; set sample = true")
        if self.mbr is not None and self.nbest == 1:
            raise ValueError("mbr: it chooses among several translations; set nbest = 2 or more")
        if self.coverage_penalty and (self.sample or self.beam == 1):
            raise ValueError("coverage_penalty: it ranks the hypotheses of a beam; set beam = 2 or more")
        if self.max_length is not None and self.min_length >= self.max_length:
            raise ValueError(
                f"min_length {self.min_length} leaves no room below max_length {self.max_length}"
            )
        return self

    @property
    def rows_per_sentence(self) -> int:
        """Rows that a sentence occupies while it is decoded, one for each hypothesis."""
        return self.nbest if self.sample else self.beam

    @property
    def shared(self) -> tuple[object, ...]:
        """The options that sentences must have in common to be advanced in one operation."""
        draw = (self.temperature, self.top_k, self.top_p) if self.sample else None
        rules = (self.banned, self.rules, self.no_repeat_ngram_size, self.repetition_penalty)
        return (draw, self.rows_per_sentence, self.length_penalty, self.alpha, self.early_stopping, rules)


def length_penalty(length: int, *, kind: Penalty, alpha: float) -> float:
    """The divisor of a hypothesis' log-probability; length counts the end symbol."""
    base = (5 + length) / 6 if kind == "gnmt" else float(length)
    return math.pow(base, alpha)
