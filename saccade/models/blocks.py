"""The settings that all models of encoder and decoder blocks share."""

from dataclasses import fields
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from saccade.config import Section
from saccade.nn.layers import Activation, BlockSettings, Norm


class BlocksConfig(Section):
    """Settings of encoder and decoder blocks; the defaults are the base model of "Attention Is All You Need"
    (table 3)."""

    kind: str
    """Kind of model."""
    width: PositiveInt = 512
    """Size of every layer's input and output, d_model."""
    heads: PositiveInt = 8
    """Number of attention heads, each with width / heads channels."""
    feed_forward: PositiveInt = 2048
    """Inner size of the position-wise feed-forward network, d_ff."""
    encoder_layers: PositiveInt = 6
    """Number of encoder blocks (self-attention and feed-forward)."""
    decoder_layers: PositiveInt = 6
    """Number of decoder blocks (self-attention, cross-attention and feed-forward)."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout rate on each sub-layer's output and on embedding + position (section 5.4)."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate on attention weights; not in the paper, 0.1 in its authors' code."""
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate inside the feed-forward network; not in the paper, 0.1 in its authors' code."""
    layer_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability that a sentence skips a whole layer in training (LayerDrop, Fan et al. 2020); 0: never."""
    activation: Activation = "relu"
    """Activation function between the two linear layers of the feed-forward network."""
    norm: Norm = "post"
    """Position of layer norm: after each residual sum (post, the paper), or before each sub-layer and once at
    the end (pre)."""
    tied_embeddings: Literal["all", "target", "none"] | None = None
    """Matrices that are shared: source, target and output (all); target and output (target); none. Unset: as
    many as the vocabulary allows."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    @property
    def head_width(self) -> int:
        """Number of channels of an attention head."""
        return self.width // self.heads

    @property
    def blocks(self) -> BlockSettings:
        """The settings that every block is made from."""
        own = type(self).model_fields
        names = (field.name for field in fields(BlockSettings) if field.name in own)
        return BlockSettings(**{name: getattr(self, name) for name in names})
