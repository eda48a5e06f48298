"""The smallest model that shows what attention does: Transformer layers with an output at every position.

It reads a sequence and writes one symbol for each of its positions, all at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.lab.toys import FIRST, Pair, column
from saccade.models.placing import Positions
from saccade.models.transformer_encoder import final_norm
from saccade.nn.alibi import AlibiPositions
from saccade.nn.attention import AttentionPositions
from saccade.nn.embedding import Embedding
from saccade.nn.initial import xavier
from saccade.nn.layers import BlockSettings, EncoderLayer, Norm, Residual
from saccade.nn.linear import Linear
from saccade.nn.loss import linear_cross_entropy
from saccade.nn.masks import padding_mask
from saccade.nn.positions import LearnedPositions, NoPositions, SinusoidalPositions
from saccade.nn.relative import RelativePositions
from saccade.nn.rotary import RotaryPositions
from saccade.text.batching import Batch
from saccade.training.objective import Objective

LONGEST = 128
"""The number of learned positions."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a `Tagger`. outputs: number of symbols that it writes; None: those that it reads."""

    symbols: int
    width: int = 64
    heads: int = 1
    layers: int = 1
    positions: Positions = "sinusoidal"
    causal: bool = False
    outputs: int | None = None
    feed_forward: int = 128
    norm: Norm = "post"


class Tagger(nn.Module):
    """Embeddings, Transformer layers and an output layer.

    inner: makes the positions inside each self-attention, instead of those that the shape names.
    """

    def __init__(self, shape: Shape, *, inner: Callable[[], AttentionPositions] | None = None) -> None:
        super().__init__()
        self.shape = shape
        added = _added(shape.positions, shape.width)
        self.embedding = Embedding(FIRST + shape.symbols, shape.width, positions=added, dropout=0.0)
        blocks = BlockSettings(shape.width, shape.heads, shape.feed_forward, norm=shape.norm)
        self.layers = nn.ModuleList(
            EncoderLayer(blocks, positions=inner() if inner else _inside(shape), causal=shape.causal)
            for _ in range(shape.layers)
        )
        self.norm = final_norm(shape.width, shape.norm)
        self.output = Linear(shape.width, FIRST + (shape.outputs or shape.symbols))
        xavier(self, but=self.output)

    def states(self, x: Tensor, *, visible: Tensor | None = None) -> list[Tensor]:
        """The embedded input x (batch, length, width) after each layer, itself first."""
        found = [x]
        for layer in self.layers:
            found.append(layer(found[-1], visible=visible))
        return found

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Hidden states (batch, length, width) of tokens (batch, length)."""
        visible = None if lengths is None else padding_mask(lengths, tokens.size(1))
        hidden: Tensor = self.norm(self.states(self.embedding(tokens), visible=visible)[-1])
        return hidden


RESIDUALS_OF = ("self_attention_residual", "feed_forward_residual")


def replace_residuals(model: Tagger, change: Callable[[Residual], nn.Module]) -> None:
    """Puts other modules in place of the residual connections of every layer."""
    for layer in model.layers:
        for name in RESIDUALS_OF:
            setattr(layer, name, change(getattr(layer, name)))


def _added(positions: Positions, width: int) -> nn.Module:
    match positions:
        case "sinusoidal":
            return SinusoidalPositions(width)
        case "learned":
            return LearnedPositions(width, length=LONGEST)
        case _:
            return NoPositions()


def _inside(shape: Shape) -> AttentionPositions:
    match shape.positions:
        case "relative":
            return RelativePositions(shape.width // shape.heads, max_distance=16, causal=shape.causal)
        case "rotary":
            return RotaryPositions(shape.width // shape.heads)
        case "alibi":
            return AlibiPositions(shape.heads)
        case _:
            return AttentionPositions()


class Tagging(Objective):
    """Cross-entropy of the symbol at each position."""

    def __call__(self, model: Tagger, batch: Batch) -> Tensor:
        """See `Objective`. Positions behind the end of a row do not count."""
        source, target = batch["source"], batch["target"]
        hidden = model(source.values, source.lengths)  # (rows, length, width)
        total: Tensor = linear_cross_entropy(
            hidden[target.real], model.output.weight, model.output.bias, target.values[target.real]
        )
        return total


def tags_batch(pairs: Sequence[Pair]) -> Batch:
    """A batch of sources and targets of equal length, without end symbols."""
    source, target = (list(side) for side in zip(*pairs, strict=True))
    return Batch({"source": column(source), "target": column(target)}, counted="target")


@torch.inference_mode()
def tag_accuracy(model: Any, batch: Batch) -> float:
    """The share of positions whose symbol is right."""
    source, target = batch["source"], batch["target"]
    said = model.output(model(source.values, source.lengths)).argmax(-1)
    return float((said == target.values)[target.real].float().mean())
