"""Training in several processes, which torchrun starts and numbers.

    torchrun --nproc-per-node N -m saccade train CONFIG.toml

Every process follows the same plan and takes its share of the rows of each batch, so that an update does not
depend on the number of processes, up to rounding.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from saccade.errors import UserError
from saccade.training.batch import BatchT, Share
from saccade.training.wrapping import Replicated, Unwrapped, Wrapping


@dataclass(frozen=True)
class Group:
    """The processes of a run, seen from this one. A single process is a group of size 1."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    local_rank: int = 0
    """Number of this process among those of its machine."""
    node: int = 0
    """Number of this machine among those of the run."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.rank == 0

    @property
    def wrapping(self) -> Wrapping:
        """The strategy that joins the models of the processes."""
        return Unwrapped() if self.size == 1 else Replicated()

    def share(self, batch: BatchT) -> Share[BatchT]:
        """This process's share of a batch: every `size`-th row."""
        tokens = batch.target_tokens
        if self.size == 1:
            return Share(batch, 1.0, tokens)
        if self.rank < batch.rows:
            return Share(batch.take(range(self.rank, batch.rows, self.size)), 1.0, tokens)
        return Share(batch.take(slice(0, 1)), 0.0, tokens)

    def join(self, rows: Tensor) -> Tensor:
        """All rows (rows, ...), of which each rank has computed its own: the inverse of `share`."""
        if self.size == 1:
            return rows
        whole = torch.empty_like(rows, device="cpu")
        for rank, own in enumerate(self.gather(rows[self.rank :: self.size].cpu())):
            whole[rank :: self.size] = own
        return whole

    def sum(self, values: Tensor) -> Tensor:
        """Sums values over all ranks, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """The leader's value."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box)
        return box[0]

    def lead(self, work: Callable[[], None]) -> None:
        """Runs `work` in the leading process while the others wait. Its UserError ends every process.

        Only the leader raises the error, so that it is printed once; the others exit with the same code.
        """
        problem: UserError | None = None
        if self.leads:
            try:
                work()
            except UserError as error:
                problem = error
        failed: bool = self.broadcast(problem is not None)
        if problem is not None:
            raise problem
        if failed:
            raise SystemExit(2)

    def wait(self) -> None:
        """Waits until all ranks have called this."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def process_group() -> Iterator[Group]:
    """The group that torchrun describes in the environment; a group of one without torchrun."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    node = int(os.environ.get("GROUP_RANK", "0"))
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if size == 1:
        yield Group(device=device)
        return
    # The timeout is long because one rank prepares a large corpus while the others wait.
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(hours=4))
    try:
        yield Group(rank, size, device, local_rank=local, node=node)
    finally:
        distributed.destroy_process_group()
