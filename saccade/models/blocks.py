"""What all models of encoder and decoder blocks are configured by."""

from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from saccade.config import Section
from saccade.nn.layers import Activation, Norm


class BlocksConfig(Section):
    """Sizes default to the base model of "Attention Is All You Need" (table 3)."""

    kind: str
    """Which system this is."""
    width: PositiveInt = 512
    """Size of every layer's input and output, d_model."""
    heads: PositiveInt = 8
    """Attention heads; each is width / heads wide."""
    feed_forward: PositiveInt = 2048
    """Inner size of the position-wise feed-forward network, d_ff."""
    encoder_layers: PositiveInt = 6
    """Blocks of self-attention and feed-forward."""
    decoder_layers: PositiveInt = 6
    """Blocks of self-attention, cross-attention and feed-forward."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """On each sub-layer's output and on embedding + position (section 5.4)."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """On attention weights; not in the paper, 0.1 in its authors' code."""
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    """Inside the feed-forward network; not in the paper, 0.1 in its authors' code."""
    activation: Activation = "relu"
    """Between the two products of the feed-forward network."""
    norm: Norm = "post"
    """Layer norm after the residual sum (the paper) or before each sub-layer and at the end."""
    tied_embeddings: Literal["all", "target", "none"] | None = None
    """Which matrices are one: source, target and output; target and output; none. Unset: all that can be."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    @property
    def head_width(self) -> int:
        """Channels of a head."""
        return self.width // self.heads

    @property
    def block_sizes(self) -> dict[str, Any]:
        """What every block is built with, besides its width."""
        names = ("heads", "feed_forward", "dropout", "attention_dropout", "activation_dropout")
        return {name: getattr(self, name) for name in (*names, "activation", "norm")}
