"""One update of the weights: forward, backward, clip, step; safe against overflow and lack of memory."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from saccade.errors import UserError
from saccade.training.data import TrainingBatch
from saccade.training.distributed import BatchT, Group


@dataclass(frozen=True)
class UpdateResult:
    """loss: nats a target token before the update, over all ranks. applied: False if it was not finite."""

    loss: float
    tokens: int
    gradient_norm: float
    applied: bool


class Updater:
    """Applies updates to a model; `pieces` tells into how many parts memory makes it cut each batch."""

    def __init__(
        self,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        group: Group,
        clip_norm: float,
        autocast: bool,
        compiled: bool,
        pieces: int = 1,
    ) -> None:
        self.parameters = [parameter for parameter in loss.parameters() if parameter.requires_grad]
        self.optimizer, self.group, self.pieces = optimizer, group, pieces
        self.clip_norm, self.autocast = clip_norm, autocast
        self.loss = _compiled(loss) if compiled else loss
        self.joined: DistributedDataParallel | None = None
        if group.size > 1:
            # Buffers are tables that each rank computes alike, and grows when it meets a longer sentence.
            self.joined = DistributedDataParallel(self.loss, broadcast_buffers=False)

    def update(self, batches: Sequence[TrainingBatch], *, rate: float) -> UpdateResult:
        """One update from the batches of all ranks; each rank takes its rows of each batch.

        The loss is divided once, by the target tokens of all batches: k small batches equal one
        large one. Without memory for a batch it is cut in two and the update starts over.
        """
        tokens = sum(batch.target_tokens for batch in batches)
        total = None
        while total is None:
            try:
                total = self._gradients(batches, tokens)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _lacks_memory(error):
                    raise
                self._cut_batches(batches, error)
        loss = float(self.group.sum(total)) / tokens
        norm = self._clip()
        applied = math.isfinite(loss) and math.isfinite(norm)
        if applied:
            for parameters in self.optimizer.param_groups:
                parameters["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return UpdateResult(loss, tokens, norm, applied)

    def _gradients(self, batches: Sequence[TrainingBatch], tokens: int) -> Tensor:
        """Sum the gradients of this rank's rows; returns their summed loss."""
        total = torch.zeros((), dtype=torch.float64, device=self.group.device)
        shares = [self._pieces_of(batch) for batch in batches]
        parts = [part for share in shares for part in share]
        for number, (batch, weight) in enumerate(parts, start=1):
            # DDP averages over ranks and should do so once, with the last part.
            waits = self.joined is not None and number < len(parts)
            with self.joined.no_sync() if self.joined and waits else contextlib.nullcontext():
                with torch.autocast(self.group.device.type, torch.bfloat16, enabled=self.autocast):
                    loss = (self.joined or self.loss)(batch.to(self.group.device)) * weight
                (loss * (self.group.size / tokens)).backward()
            total += loss.detach()
        return total

    def _pieces_of(self, batch: BatchT) -> list[tuple[BatchT, float]]:
        mine, weight = self.group.share(batch)
        count = min(self.pieces, mine.rows)
        if count == 1:
            return [(mine, weight)]
        return [(mine.take(range(first, mine.rows, count)), weight) for first in range(count)]

    def _cut_batches(self, batches: Sequence[TrainingBatch], error: BaseException) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.group.size > 1:
            raise UserError(
                f"rank {self.group.rank} ran out of memory; the other ranks can't follow a cut batch. "
                "Lower training.batch_tokens (and raise training.accumulate to keep the update's size)."
            ) from error
        if all(batch.rows <= self.pieces for batch in batches):
            raise UserError(
                "out of memory with a single pair in the batch. Lower data.max_length or the model's size."
            ) from error
        self.pieces *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _clip(self) -> float:
        limit = self.clip_norm or math.inf
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, limit))


def _compiled(loss: nn.Module) -> nn.Module:
    """The loss under torch.compile, but for the methods that a module names in `uncompiled`: loops over
    positions, which would be unrolled anew for each length."""
    for module in loss.modules():
        for name in getattr(module, "uncompiled", ()):
            setattr(module, name, torch.compiler.disable(getattr(module, name)))
    # Static shapes would compile anew for each batch shape.
    compiled: nn.Module = torch.compile(loss, dynamic=True)  # type: ignore[assignment]
    return compiled


def _lacks_memory(error: BaseException) -> bool:
    """torch's CPU allocator has no exception type of its own; only its message tells."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
