"""The eager training step, which handles overflow and lack of memory."""

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import UserError
from saccade.machine import lacks_memory
from saccade.storage.caches import place_others
from saccade.training.batch import Share
from saccade.training.distributed import Group
from saccade.training.settings import TrainingConfig, uses_bfloat16
from saccade.training.step import UpdateResult


class EagerStep:
    """An eager `Step`. A batch that does not fit into memory is split into `micro_batches` parts."""

    def __init__(
        self,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        group: Group,
        clip_norm: float,
        autocast: bool,
        compiled: bool,
        micro_batches: int = 1,
    ) -> None:
        self.parameters = [parameter for parameter in loss.parameters() if parameter.requires_grad]
        self.optimizer, self.group, self.micro_batches = optimizer, group, micro_batches
        self.clip_norm, self.autocast = clip_norm, autocast
        self.wrapping = group.wrapping
        self.loss = self.wrapping.wrap(_compiled(loss) if compiled else loss)

    def __call__(self, shares: Sequence[Share[Any]], *, rate: float) -> UpdateResult:
        """Performs an update; see `Step`.

        The loss is divided once, by the target tokens of all batches, so that k small batches equal one large
        batch. If a batch does not fit into memory, every batch is split into twice as many parts and the
        update starts over.
        """
        tokens = sum(share.target_tokens for share in shares)
        total = None
        while total is None:
            try:
                total = self._gradients(shares, tokens)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not lacks_memory(error):
                    raise
                self._split_further(shares, error)
        loss = float(self.group.sum(total)) / tokens
        norm = self._clip()
        applied = math.isfinite(loss) and math.isfinite(norm)
        if applied:
            for parameters in self.optimizer.param_groups:
                parameters["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return UpdateResult(loss, tokens, norm, applied)

    def _gradients(self, shares: Sequence[Share[Any]], tokens: int) -> Tensor:
        """Sums the gradients of this process's rows; returns their summed loss."""
        device = self.group.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        parts = [part for share in shares for part in self._parts(share)]
        for number, (batch, weight) in enumerate(parts, start=1):
            # Gradients are averaged over processes once, with the last part.
            last = number == len(parts)
            with contextlib.nullcontext() if last else self.wrapping.without_exchange(self.loss):
                with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
                    loss = self.loss(batch.to(device)) * weight
                (loss * (self.group.size / tokens)).backward()
            total += loss.detach()
        return total

    def _parts(self, share: Share[Any]) -> list[tuple[Any, float]]:
        batch = share.batch
        count = min(self.micro_batches, batch.rows)
        if count == 1:
            return [(batch, share.weight)]
        return [(batch.take(range(first, batch.rows, count)), share.weight) for first in range(count)]

    def _split_further(self, shares: Sequence[Share[Any]], error: BaseException) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.group.size > 1:
            raise UserError(
                f"rank {self.group.rank} ran out of memory, and several processes cannot split a batch. "
                "Lower training.batch_tokens (and raise training.accumulate to keep the update's size)."
            ) from error
        if all(share.batch.rows <= self.micro_batches for share in shares):
            raise UserError(
                "out of memory with a single pair in the batch. Lower data.max_length or the model's size."
            ) from error
        self.micro_batches *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _clip(self) -> float:
        limit = self.clip_norm or math.inf
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, limit))


def make_eager_step(
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    group: Group,
    config: TrainingConfig,
    micro_batches: int = 1,
) -> EagerStep:
    """Makes the step that a configuration describes. Satisfies `StepFactory`."""
    return EagerStep(
        loss,
        optimizer,
        group=group,
        clip_norm=config.clip_norm,
        autocast=uses_bfloat16(config.precision, group.device),
        compiled=config.compile,
        micro_batches=micro_batches,
    )


def _compiled(loss: nn.Module) -> nn.Module:
    """The loss under torch.compile, except the methods that a module lists in `uncompiled`.

    These loop over positions, and would be unrolled for each length.
    """
    for module in loss.modules():
        for name in getattr(module, "uncompiled", ()):
            setattr(module, name, torch.compiler.disable(getattr(module, name)))
    place_others()
    # With static shapes, each batch shape would be compiled separately.
    compiled: nn.Module = torch.compile(loss, dynamic=True)  # type: ignore[assignment]
    return compiled
