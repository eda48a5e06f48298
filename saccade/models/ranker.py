"""A ranker of candidates from the fields of a table, which uses the encoder's layers in one of three ways.

fields: over the fields of a candidate (AutoInt, Song et al. 2019). history: over what came before and the
candidate behind it (BST, Chen et al. 2019). list: over the candidates of a list (PRM, Pei et al. 2019).
"""

from collections.abc import Iterable
from typing import Literal, Self, cast

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from saccade.models.classifier import ClassifierSettings, encoder_layers
from saccade.models.families import Ranker
from saccade.models.interface import Inputs, Vocabulary
from saccade.models.placing import added_positions
from saccade.nn.dropout import Dropout
from saccade.nn.initial import xavier
from saccade.nn.layers import EncoderLayer
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.pooling import AttentionPooling

Attends = Literal["fields", "history", "list"]


class RankerConfig(ClassifierSettings):
    """Settings of a ranker: those of a classifier's encoder, and what it attends to."""

    kind: Literal["ranker"] = "ranker"
    """Kind of model."""
    attends: Attends = "fields"
    """What attention goes over: the fields of a candidate, the history with the candidate behind it, or the
    candidates of a list. `positions` are those of the history; fields and lists have none."""
    listwise: bool = False
    """Whether the probabilities of a list sum to 1, so that exactly one candidate is chosen; otherwise each
    candidate has a probability of its own."""
    hidden: PositiveInt = 64
    """Inner size of the network that makes a score of a vector."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.attends != "history" and self.positions != "sinusoidal":
            raise ValueError(
                f"positions are those of a history, and {self.attends} have no order; leave it out"
            )
        return self


class FieldEmbedding(nn.Module):
    """Maps fields to vectors w E[id]; w is 1 for a name, and the scaled value for a number."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(size, width)
        nn.init.normal_(self.vectors.weight, std=width**-0.5)

    def forward(self, ids: Tensor, weights: Tensor) -> Tensor:
        """ids, weights (..., fields); returns (..., fields, width)."""
        vectors: Tensor = self.vectors(ids)
        return vectors * weights[..., None].to(vectors.dtype)


class AttentionRanker(Ranker):
    """A `Ranker` over embedded fields."""

    config: RankerConfig

    def __init__(self, config: RankerConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width = config.width
        self.embedding = FieldEmbedding(vocabulary.source_size, width)
        self.positions = added_positions(config.positions, width, length=config.max_positions)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(encoder_layers(config))
        self.norm = nn.LayerNorm(width) if config.norm == "pre" else nn.Identity()
        self.pooling = AttentionPooling(width, heads=config.heads)
        self.inner = Linear(width if config.attends == "fields" else 2 * width, config.hidden)
        self.output: nn.Linear = Linear(config.hidden, 1)
        xavier(self, but=self.output)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @property
    def max_history(self) -> int | None:
        """See `Ranker.max_history`: learned positions are also needed for the candidate and the padding."""
        return self.config.max_positions - 2 if self.config.positions == "learned" else None

    def scores(self, inputs: Inputs) -> Tensor:
        """See `Ranker.scores`."""
        source = inputs["source"]
        fields = self.embedding(source.values, inputs["weights"].values)  # (lists, candidates, fields, width)
        lists, candidates, count, width = fields.shape
        if self.config.attends == "fields":
            states = self._encoded(self.dropout(fields.reshape(-1, count, width)), None)
            vectors = self.pooling(states, visible=None).view(lists, candidates, width)
        else:
            flat = fields.reshape(-1, count, width)
            own = self.pooling(flat, visible=None).view(lists, candidates, width)
            among = (
                self._in_list(own, source.lengths)
                if self.config.attends == "list"
                else self._after(own, inputs)
            )
            vectors = torch.cat([own, among], -1)  # (lists, candidates, 2 width)
        scored: Tensor = self.output(self.dropout(torch.relu(self.inner(vectors))))
        return scored[..., 0]

    def _in_list(self, own: Tensor, lengths: Tensor) -> Tensor:
        """The states of candidates (lists, candidates, width) that see one another."""
        return self._encoded(self.dropout(own), padding_mask(lengths, own.size(1)))

    def _after(self, own: Tensor, inputs: Inputs) -> Tensor:
        """The state of each candidate (lists, candidates, width) behind the history of its list."""
        history = inputs["history"]
        past = self.embedding.vectors(history.values)  # (lists, past, width)
        lists, candidates, width = own.shape
        length = past.size(1)
        # One sequence for each candidate, which stands first, so that padding stays on the right; the history
        # follows with the latest first, because positions say how long ago something was.
        places = history.lengths[:, None] - 1 - torch.arange(length, device=past.device)
        latest = past.gather(1, places.clamp(min=0)[..., None].expand(-1, -1, width))
        repeated = latest[:, None].expand(-1, candidates, -1, -1)
        x = torch.cat([own[:, :, None], repeated], 2).reshape(lists * candidates, 1 + length, width)
        lengths = (history.lengths + 1).repeat_interleave(candidates)
        states = self._encoded(self.dropout(self.positions(x)), padding_mask(lengths, 1 + length))
        return states[:, 0].view(lists, candidates, width)

    def _encoded(self, x: Tensor, visible: Tensor | None) -> Tensor:
        for layer in cast(Iterable[EncoderLayer], self.layers):
            x = layer(x, visible=visible)
        states: Tensor = self.norm(x)
        return states
