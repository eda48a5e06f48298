"""An exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor
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
        self.begun: bool | Tensor = False
        """Whether the average has begun; the first weights are copied. A tensor () after updates of which the
        host does not know whether they were applied."""
        self._weights, self._averages = unique_tensors(network), unique_tensors(self.network)
        self._averaged = [name for name, tensor in self._weights.items() if tensor.is_floating_point()]
        self.decay = decay
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, applied: bool | Tensor = True) -> None:
        """Moves the average towards the present weights: decay * average + (1 - decay) * weights.

        applied: whether the update before changed the weights; if not, the average stays as it is.
        """
        if isinstance(applied, Tensor):
            self._update_on_device(applied)
            return
        if not applied:
            return
        averaged = self._averaged if self.begun else []
        for name in self._weights.keys() - set(averaged):
            self._averages[name].copy_(self._weights[name])
        if averaged:
            averages = [self._averages[name] for name in averaged]
            self._average(averages, [self._weights[name] for name in averaged], 0)
        self.begun = True

    def _update_on_device(self, applied: Tensor) -> None:
        begun = self.begun
        if not isinstance(begun, Tensor):
            begun = torch.full_like(applied, begun)
        first = torch.ones_like(applied, dtype=torch.float64)
        share = torch.where(begun, (1.0 - self.decay) * first, first) * applied
        for name, weight in self._weights.items():
            average = self._averages[name]
            if average.is_floating_point():
                average.lerp_(weight, share.to(average.dtype))
            else:
                average.copy_(torch.where(applied, weight, average))
        self.begun = begun | applied
