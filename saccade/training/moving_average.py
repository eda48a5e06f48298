"""An exponential moving average of a model's weights."""

import copy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from saccade.model_folder.checkpoint import unique_tensors
from saccade.models.families import Network


class MovingAverage:
    """A second network whose weights are the moving average of those of `network`, which must stay in place.

    Only what a checkpoint stores is averaged. Derived tables, such as sinusoids, are no state: each network
    extends its own when it reads a longer sentence, so that their sizes may differ.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network)
        self.begun = False
        """Whether the average has begun; the first weights are copied."""
        self._weights, self._averages = unique_tensors(network), unique_tensors(self.network)
        self._averaged = [name for name, tensor in self._weights.items() if tensor.is_floating_point()]
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the present weights: decay * average + (1 - decay) * weights."""
        averaged = self._averaged if self.begun else []
        for name in self._weights.keys() - set(averaged):
            self._averages[name].copy_(self._weights[name])
        if averaged:
            averages = [self._averages[name] for name in averaged]
            self._average(averages, [self._weights[name] for name in averaged], 0)
        self.begun = True
