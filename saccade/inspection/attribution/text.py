"""Attribution of the tokens of a text to those before them, by a language model."""

import torch
from torch import Tensor

from saccade.decoding.token_scores import LOGITS, picked
from saccade.inspection.attribution.attributor import ROW_TOKENS, Attributor, backward_rows, without_places
from saccade.models.families import LanguageModel, Memory


class TextAttributor(Attributor):
    """Attributes each token of a text to those before it in the segment that a language model reads.

    read (1, length): the segment, after `memory`; target (length,): the token that follows each.
    """

    def __init__(self, network: LanguageModel, read: Tensor, target: Tensor, memory: Memory) -> None:
        self.network, self.read, self.target, self.memory = network, read, target, memory
        self.length = self.positions = self.erasable = read.size(1)

    def log_probs(self) -> Tensor:
        """See `Attributor.log_probs`."""
        return self._log_probs(self.read, self.target)[0]

    def without(self, places: Tensor) -> Tensor:
        """See `Attributor.without`. What was predicted before a token was read does not depend on it."""
        shorter = self._log_probs(without_places(self.read, places), self.target[1:])
        # Without token j, what follows token i >= j is predicted one place earlier.
        nothing = torch.full_like(shorter[:, :1], torch.nan)
        moved = torch.cat([nothing, shorter], 1)
        later = places.to(moved.device)[:, None] <= torch.arange(self.length, device=moved.device)
        return torch.where(later, moved, self.log_probs())

    def gradient(self) -> Tensor:
        """See `Attributor.gradient`: 0 for tokens that come later."""
        step = max(min(ROW_TOKENS // (2 * self.length), LOGITS // self.network.output.out_features), 1)
        return backward_rows(self.network, self.read, self._of_one, tokens=self.length, step=step)

    def _log_probs(self, read: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities in nats, float64 (rows, length), of the token after each; target (length,)."""
        return picked(self.network.output, self._hidden(read), target.expand(read.size(0), -1))

    def _of_one(self, read: Tensor, token: Tensor) -> Tensor:
        """Log-probabilities (rows,) of one target token (rows,) for each row of read (rows, length)."""
        states = self._hidden(read)[torch.arange(len(read), device=read.device), token]
        return picked(self.network.output, states[:, None], self.target[token, None].clone())[:, 0]

    def _hidden(self, read: Tensor) -> Tensor:
        """Hidden states (rows, length, width) of read (rows, length)."""
        rows = read.size(0)
        memory = tuple(tensor.expand(rows, *tensor.shape[1:]) for tensor in self.memory)
        return self.network.read(read, memory)[0]
