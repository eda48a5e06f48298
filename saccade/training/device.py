"""The training step for GPUs: it never waits for the device, and may run compiled."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.training.batch import Share
from saccade.training.compiling import CompiledRegions
from saccade.training.distributed import Group
from saccade.training.gradients import GradientStep
from saccade.training.step import UpdateResult


@dataclass(frozen=True)
class Pending:
    """The result of an update that the device may still be computing. Satisfies `Outcome`.

    values (3,): loss, gradient norm and `applied`, on the way to the host. copied: when they have arrived.
    """

    tokens: int
    applied: Tensor
    values: Tensor
    copied: torch.cuda.Event | None

    ready = False

    @classmethod
    def of(cls, loss: Tensor, norm: Tensor, applied: Tensor, *, tokens: int) -> "Pending":
        """Starts the copy to the host, behind the work that the device has been given so far."""
        values = torch.stack([loss, norm.to(loss.dtype), applied.to(loss.dtype)])
        if values.device.type != "cuda":
            return cls(tokens, applied, values, None)
        host = torch.empty(3, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        return cls(tokens, applied, host, copied)

    def read(self) -> UpdateResult:
        """Waits for the result."""
        if self.copied is not None:
            self.copied.synchronize()
        loss, norm, applied = self.values.tolist()
        return UpdateResult(loss, self.tokens, norm, bool(applied))


class DeviceStep(GradientStep):
    """A `Step` whose decisions stay on the device.

    An update whose loss or gradient is not finite is skipped there: the fused optimiser then leaves weights
    and moments as they are.
    """

    fixed_shapes = True

    def __init__(
        self,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        group: Group,
        clip_norm: float,
        autocast: bool,
        micro_batches: int = 1,
        regions: CompiledRegions | None = None,
    ) -> None:
        """regions: the compiled regions of the model; None: it runs as it is."""
        super().__init__(
            loss,
            optimizer,
            group=group,
            clip_norm=clip_norm,
            autocast=autocast,
            micro_batches=micro_batches,
        )
        self.regions = regions

    def __call__(self, shares: Sequence[Share[Any]], *, rate: float) -> Pending:
        """Performs an update; see `Step`."""
        tokens = sum(share.target_tokens for share in shares)
        with self._compiled():
            total = self.gradients(shares, tokens)
        loss = self.group.sum(total) / tokens
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm or math.inf)
        applied = loss.isfinite() & norm.isfinite()
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        # The protocol of torch's gradient scaler, which fused optimisers follow.
        setattr(self.optimizer, "found_inf", (~applied).float())  # noqa: B010 - it is not declared
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Pending.of(loss, norm, applied, tokens=tokens)

    def _compiled(self) -> AbstractContextManager[object]:
        return nullcontext() if self.regions is None else self.regions
