"""Scaled token embeddings with positions ("Attention Is All You Need", sections 3.4, 3.5 and 5.4)."""

import math

from torch import Tensor, nn

from saccade.nn.dropout import Dropout


class Embedding(nn.Module):
    """Embeds tokens as Dropout(scale E[token] + position). `tokens.weight` may be tied to other matrices."""

    def __init__(
        self, size: int, width: int, *, positions: nn.Module, dropout: float, scale: float | None = None
    ) -> None:
        """scale: None means sqrt(width), as in the paper."""
        super().__init__()
        self.tokens = nn.Embedding(size, width)
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        self.positions = positions
        self.dropout = Dropout(dropout)
        self.scale = math.sqrt(width) if scale is None else scale

    def forward(self, tokens: Tensor, *, start: int | Tensor = 0) -> Tensor:
        """Embeds ids (batch, length); returns (batch, length, width).

        start: the first position, an int or for each row (batch,).
        """
        return self.placed(self.scaled(tokens), start=start)

    def scaled(self, tokens: Tensor) -> Tensor:
        """The scaled embeddings of the tokens, without positions and dropout."""
        x: Tensor = self.tokens(tokens)
        return x * self.scale

    def placed(self, x: Tensor, *, start: int | Tensor = 0) -> Tensor:
        """Adds positions to scaled embeddings x (batch, length, width) and applies dropout."""
        embedded: Tensor = self.dropout(self.positions(x, start=start))
        return embedded
