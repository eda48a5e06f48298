"""A recurrent language model: an LSTM or GRU that reads the text from left to right."""

from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from saccade.models.families import LanguageModel, Memory
from saccade.models.interface import Vocabulary
from saccade.nn.dropout import Dropout
from saccade.nn.embedding import Embedding
from saccade.nn.linear import Linear
from saccade.nn.positions import NoPositions
from saccade.nn.reading import LanguageModelConfig
from saccade.nn.recurrence import PARTS, Cell, Recurrence


class RecurrentLMConfig(LanguageModelConfig):
    """Settings; default sizes are the medium model's of "Recurrent Neural Network Regularization" (Zaremba et
    al. 2014)."""

    kind: Literal["recurrent-lm"] = "recurrent-lm"
    """Kind of model."""
    cell: Cell = "lstm"
    """Recurrent cell: lstm (Hochreiter and Schmidhuber 1997) or gru (Cho et al. 2014)."""
    width: PositiveInt = 650
    """Size of embeddings and of every layer's hidden state."""
    layers: PositiveInt = 2
    """Number of recurrent layers."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout rate on embeddings, between layers and before the output layer, never from state to state."""


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 200, "dropout": 0.2},
    "small": {"width": 400, "dropout": 0.3},
    "base": {},
    "big": {"width": 1500, "dropout": 0.65},
}


class RecurrentLM(LanguageModel):
    """A `LanguageModel` whose memory is the state (rows, width) of each layer, two tensors for an LSTM."""

    config: RecurrentLMConfig

    def __init__(self, config: RecurrentLMConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width, size = config.width, vocabulary.target_size
        self.embedding = Embedding(size, width, positions=NoPositions(), dropout=config.dropout)
        self.recurrence = Recurrence(
            width, width, cell=config.cell, layers=config.layers, dropout=config.dropout
        )
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(width, size)
        self.output.weight = self.embedding.tokens.weight
        nn.init.zeros_(self.output.bias)

    def start(self, rows: int) -> Memory:
        """See `LanguageModel.start`."""
        zero = self.output.weight.new_zeros(rows, self.config.width)
        return (zero,) * (self.config.layers * PARTS[self.config.cell])

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """See `LanguageModel.read`."""
        parts = PARTS[self.config.cell]
        hidden = [memory[first : first + parts] for first in range(0, len(memory), parts)]
        states, last = self.recurrence.read(self.embedding(tokens), hidden)
        # Rounding errors would accumulate over segments, so the state keeps the parameters' precision.
        kept = [part.detach().to(self.output.weight.dtype) for layer in last for part in layer]
        return self.dropout(states), tuple(kept)
