"""The Transformer encoder ("Attention Is All You Need", section 3.1) as a module of its own.

The Transformer, the non-autoregressive models and the models that only read share it.
"""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

from torch import Tensor, nn

from saccade.nn.layers import EncoderLayer, Norm
from saccade.nn.masks import padding_mask

EmbeddingT = TypeVar("EmbeddingT", bound=nn.Module)


def final_norm(width: int, norm: Norm) -> nn.Module:
    """The module after the last layer: a norm for pre-norm layers; post-norm layers already end in one."""
    return nn.LayerNorm(width) if norm == "pre" else nn.Identity()


class TransformerEncoder(nn.Module, Generic[EmbeddingT]):
    """Embeds a sequence and passes it through the encoder layers.

    embedding: maps what is read to (batch, source, width): token ids, or several columns of a line.
    """

    embedding: EmbeddingT

    def __init__(
        self, embedding: EmbeddingT, layers: Iterable[EncoderLayer], *, width: int, norm: Norm
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.norm = final_norm(width, norm)

    def forward(self, source: Any, lengths: Tensor) -> Tensor:
        """States (batch, source, width) of what the embedding reads, padded on the right.

        source: such as ids (batch, source); lengths (batch,).
        """
        return self.transform(self.embedding(source), lengths)

    def transform(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encoder states of an embedded input x (batch, source, width)."""
        visible = padding_mask(lengths, x.size(1))
        for layer in cast(Iterable[EncoderLayer], self.layers):
            x = layer(x, visible=visible)
        states: Tensor = self.norm(x)
        return states
