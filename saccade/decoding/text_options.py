"""The section `[decoding]` of language models."""

from typing import Self

from pydantic import Field, model_validator

from saccade.config import Section
from saccade.decoding.options import LEAST_TEMPERATURE, MOST_SAMPLES, MOST_TEMPERATURE, MOST_TOP_K

MOST_TOKENS = 1_000_000
"""Bound of `tokens`."""
MOST_WRITTEN = 10_000_000
"""Bound of the tokens of all samples."""


class ContinuationConfig(Section):
    """Options for continuing a text with a language model."""

    tokens: int = Field(100, ge=1, le=MOST_TOKENS)
    """Number of tokens to generate, line ends included."""
    samples: int = Field(1, ge=1, le=MOST_SAMPLES)
    """Number of continuations of the same text, each with random draws of its own."""
    temperature: float = Field(1.0, ge=0, le=MOST_TEMPERATURE)
    """Sampling temperature; values below 1 favour likely tokens, and 0 always takes the most likely one."""
    top_k: int | None = Field(None, ge=1, le=MOST_TOP_K)
    """Number of most likely tokens to sample from; unset: all tokens."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass of the most likely tokens to sample from (nucleus sampling, Holtzman et al. 2020); 1:
    all tokens."""
    seed: int = 1
    """Random seed for sampling. The draws of a sample depend on this and its number alone: more `samples`
    begin with those of fewer."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 0 < self.temperature < LEAST_TEMPERATURE:
            raise ValueError(
                f"temperature {self.temperature}: must be 0 or at least {LEAST_TEMPERATURE}; 0 always takes "
                "the most likely token"
            )
        if self.samples * self.tokens > MOST_WRITTEN:
            raise ValueError(
                f"{self.samples:,} samples of {self.tokens:,} tokens are more than {MOST_WRITTEN:,} tokens; "
                "lower one of them"
            )
        return self
