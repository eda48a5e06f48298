"""Attribution of the positions that a pointer network answers with to its inputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.inspection.attribution.attributor import Attributor, without_places
from saccade.models.families import Pointer


class PointingAttributor(Attributor):
    """Attributes each position of an answer to the numbers (1, inputs, numbers) that it was found for.

    The mark at both ends of an answer, which stands before the inputs, is token 0. It is not an input, so
    that nothing is attributed to it. In a run without an input, it is left out of the answer, too.
    """

    def __init__(
        self, network: Pointer[Any, Any], source: Tensor, answer: Sequence[int], *, mark: int
    ) -> None:
        """answer: positions counted from 1, without marks."""
        self.network, self.source, self.answer, self.mark = network, source, list(answer), mark
        self.length = self.erasable = self.positions = 1 + source.size(1)

    def log_probs(self) -> Tensor:
        """See `Attributor.log_probs`: those of the answer and its end."""
        return self._log_probs(self.source, self.answer)

    def without(self, places: Tensor) -> Tensor:
        """See `Attributor.without`."""
        found = torch.full((len(places), len(self.answer) + 1), torch.nan, dtype=torch.float64)
        for row, place in zip(found, places.tolist(), strict=True):
            if place == self.mark or self.source.size(1) == 1:
                continue
            kept = [number for number, one in enumerate(self.answer) if one != place]
            shorter = [self.answer[number] - (self.answer[number] > place) for number in kept]
            source = without_places(self.source, torch.tensor([place - 1]))
            row[[*kept, len(self.answer)]] = self._log_probs(source, shorter).cpu()
        return found

    @torch.inference_mode(False)
    def gradient(self) -> Tensor:
        """See `Attributor.gradient`. The input is the numbers themselves."""
        with torch.enable_grad():
            source = self.source.detach().clone().requires_grad_()
            found = []
            for value in self._log_probs(source, self.answer):
                [gradient] = torch.autograd.grad(value, [source], retain_graph=True)
                found.append((gradient.double() * source.detach().double()).sum(-1)[0].cpu())
        unknown = torch.full((len(found), 1), torch.nan, dtype=torch.float64)
        return torch.cat([unknown, torch.stack(found)], 1)

    def _log_probs(self, source: Tensor, answer: Sequence[int]) -> Tensor:
        """Log-probabilities in nats, float64 (1 + answer,), of an answer and its end."""
        read = torch.tensor([[self.mark, *answer]], device=source.device)
        gold = torch.tensor([*answer, self.mark], device=source.device)
        lengths = torch.tensor([source.size(1)], device=source.device)
        logits = self.network.decode(read, self.network.encode(source, lengths))
        return logits[0].double().log_softmax(-1).gather(1, gold[:, None])[:, 0]
