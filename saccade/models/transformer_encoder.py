"""The Transformer encoder ("Attention Is All You Need", section 3.1) as a module of its own.

The Transformer, the non-autoregressive models and every model that only reads share it.
"""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from saccade.nn.embedding import Embedding
from saccade.nn.layers import EncoderLayer, Norm
from saccade.nn.masks import padding_mask


def final_norm(width: int, norm: Norm) -> nn.Module:
    """What follows the last layer: post-norm layers end in a norm already, pre-norm ones do not."""
    return nn.LayerNorm(width) if norm == "pre" else nn.Identity()


class TransformerEncoder(nn.Module):
    """Embeds a sequence and sends it through encoder layers.

    embedding maps the source column to (batch, source, width): token ids here, frames or patches elsewhere.
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
        """The same for an input that is embedded already, x (batch, source, width)."""
        visible = padding_mask(lengths, x.size(1))
        for layer in cast(Iterable[EncoderLayer], self.layers):
            x = layer(x, visible=visible)
        states: Tensor = self.norm(x)
        return states
