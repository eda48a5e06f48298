"""The section `[decoding]` of language models."""

from pydantic import Field, PositiveInt

from saccade.config import Section


class ContinuationConfig(Section):
    """Options for continuing a text with a language model."""

    tokens: PositiveInt = 100
    """Number of tokens to generate, line ends included."""
    samples: PositiveInt = 1
    """Number of continuations of the same text, each with random draws of its own."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature; values below 1 favour likely tokens, and 0 always takes the most likely one."""
    top_k: PositiveInt | None = None
    """Number of most likely tokens to sample from; unset: all tokens."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass of the most likely tokens to sample from (nucleus sampling, Holtzman et al. 2020)."""
    seed: int = 1
    """Random seed for sampling."""
