"""The training step for CPUs, which handles overflow and lack of memory."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from saccade.training.batch import Share
from saccade.training.gradients import GradientStep
from saccade.training.step import UpdateResult


class EagerStep(GradientStep):
    """A `Step` that looks at each result before it changes the weights."""

    fixed_shapes = False

    def __call__(self, shares: Sequence[Share[Any]], *, rate: float) -> UpdateResult:
        """Performs an update; see `Step`."""
        tokens = sum(share.target_tokens for share in shares)
        total = self.gradients(shares, tokens)
        loss = float(self.group.sum(total)) / tokens
        norm = self._clip()
        applied = math.isfinite(loss) and math.isfinite(norm)
        if applied:
            for parameters in self.optimizer.param_groups:
                parameters["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return UpdateResult(loss, tokens, norm, applied)

    def _clip(self) -> float:
        limit = self.clip_norm or math.inf
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, limit))
