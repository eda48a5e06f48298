"""Attribution of the tokens of a translation to those of its source."""

import torch
from torch import Tensor, nn

from saccade.decoding.token_scores import LOGITS, TokenScores
from saccade.inspection.attribution.attributor import ROW_TOKENS, Attributor, backward_rows, without_places


class SourceAttributor(Attributor):
    """Attributes the tokens of one translation to its source (1, source), the end symbol included."""

    def __init__(self, network: nn.Module, source: Tensor, scores: TokenScores) -> None:
        """network: the one that computes the scores and reads the source's ids."""
        self.network, self.source, self.scores = network, source, scores
        self.length = source.size(1)
        self.positions = self.length + scores.positions
        self.erasable = self.length - scores.kept

    def log_probs(self) -> Tensor:
        """See `Attributor.log_probs`."""
        return self.scores.log_probs(self.source)[0]

    def without(self, places: Tensor) -> Tensor:
        """See `Attributor.without`."""
        return self.scores.log_probs(without_places(self.source, places))

    @torch.inference_mode(False)
    def gradient(self) -> Tensor:
        """See `Attributor.gradient`. A copy of an embedding that the decoder reads belongs to its source."""
        scores = self.scores
        step = max(min(ROW_TOKENS // self.positions, LOGITS // scores.logits), 1)
        return backward_rows(
            self.network, self.source, scores.of_one, tokens=scores.tokens, step=step, copies=scores.copies
        )
