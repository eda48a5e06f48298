"""The gradients of an update, summed over batches that may have to be split for lack of memory."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import UserError
from saccade.machine import lacks_memory
from saccade.training.batch import Share
from saccade.training.distributed import Group


class GradientStep:
    """The part that all steps share. A batch that does not fit into memory is split into `micro_batches`."""

    def __init__(
        self,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        group: Group,
        clip_norm: float,
        autocast: bool,
        micro_batches: int = 1,
    ) -> None:
        self.parameters = [parameter for parameter in loss.parameters() if parameter.requires_grad]
        self.optimizer, self.group, self.micro_batches = optimizer, group, micro_batches
        self.clip_norm, self.autocast = clip_norm, autocast
        self.wrapping = group.wrapping
        self.loss = self.wrapping.wrap(loss)

    def gradients(self, shares: Sequence[Share[Any]], tokens: int) -> Tensor:
        """Sums the gradients of this process's rows; returns their summed loss, on the device.

        The loss is divided once, by the target tokens of all batches, so that k small batches equal one large
        batch. If a batch does not fit into memory, every batch is split into twice as many parts and the
        update starts over.
        """
        total = None
        while total is None:
            try:
                total = self._gradients(shares, tokens)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not lacks_memory(error):
                    raise
                self._split_further(shares, error)
        return total

    def _gradients(self, shares: Sequence[Share[Any]], tokens: int) -> Tensor:
        device = self.group.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        parts = [part for share in shares for part in self._parts(share)]
        for number, (batch, weight) in enumerate(parts, start=1):
            # Gradients are averaged over processes once, with the last part.
            last = number == len(parts)
            with contextlib.nullcontext() if last else self.wrapping.without_exchange(self.loss):
                with self._precision():
                    loss = self.loss(batch.to(device)) * weight
                (loss * (self.group.size / tokens)).backward()
            total += loss.detach()
        return total

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if not self.autocast:
            return contextlib.nullcontext()
        return torch.autocast(self.group.device.type, torch.bfloat16)

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
