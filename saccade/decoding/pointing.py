"""The section `[decoding]` of pointer networks, which the one search follows."""

from pydantic import Field

from saccade.config import Section
from saccade.decoding.options import MOST_BATCH_TOKENS, MOST_HYPOTHESES, DecodingConfig


class PointerDecoding(Section):
    """Options of the search for an answer, which is the likeliest one; lengths are not penalised."""

    beam: int = Field(4, ge=1, le=MOST_HYPOTHESES)
    """Number of hypotheses kept for each answer; 1 is greedy search."""
    distinct: bool = False
    """Whether an answer may point at each input only once."""
    batch_tokens: int = Field(4096, ge=1, le=MOST_BATCH_TOKENS)
    """Number of inputs read together, including padding and counting each hypothesis; lower it when memory
    runs out."""

    @property
    def search(self) -> DecodingConfig:
        """The options of search, for answers of at most one position more than there are inputs."""
        return DecodingConfig(
            beam=self.beam,
            alpha=0.0,
            no_repeat_ngram_size=int(self.distinct),
            max_ratio=1.0,
            max_extra=2,
            batch_tokens=self.batch_tokens,
        )
