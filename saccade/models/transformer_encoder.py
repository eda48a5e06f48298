"""The Transformer encoder ("Attention Is All You Need", section 3.1) as a module of its own.

The Transformer and the non-autoregressive models share it.
"""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from saccade.nn.embedding import Embedding
from saccade.nn.layers import EncoderLayer, Norm
from saccade.nn.masks import padding_mask


def final_norm(width: int, norm: Norm) -> nn.Module:
    """The module after the last layer: a norm for pre-norm layers; post-norm layers already end in one."""
    return nn.LayerNorm(width) if norm == "pre" else nn.Identity()


class TransformerEncoder(nn.Module):
    """Embeds a sequence and passes it through the encoder layers.

    embedding: maps the source column, such as token ids, to (batch, source, width).
    """

    def __init__(
        self, embedding: Embedding, layers: Iterable[EncoderLayer], *, width: int, norm: Norm
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.norm = final_norm(width, norm)

    def forward(self, source: Tensor, lengths: Tensor) -> Tensor:
        """States (batch, source, width) of source (batch, source), padded on the right; lengths (batch,)."""
        return self.transform(self.embedding(source), lengths)

    def transform(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encoder states of an embedded input x (batch, source, width)."""
        visible = padding_mask(lengths, x.size(1))
        for layer in cast(Iterable[EncoderLayer], self.layers):
            x = layer(x, visible=visible)
        states: Tensor = self.norm(x)
        return states
