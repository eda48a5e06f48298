"""The loader, which makes the batches of the next updates while the device computes the present one."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from saccade.training.batch import Share
from saccade.training.data import TrainingData
from saccade.training.distributed import Group

AHEAD = 4
"""Number of updates whose batches are made ahead of time."""


class Loader:
    """Yields this process's shares of the batches of each update, in the order of the data.

    A worker thread collates a few updates ahead, takes this process's rows and, if the device is a GPU, puts
    them into page-locked memory. Results of the update before are attached just before a share is yielded, so
    that they do not depend on how far ahead the worker is. Errors of the worker are raised in the thread that
    iterates. Use it as a context manager, or call `close`, to end the worker.
    """

    def __init__(self, data: TrainingData, group: Group, *, ahead: int = AHEAD) -> None:
        self.data, self.group, self.ahead = data, group, ahead
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def epoch(self, epoch: int, *, done: int, fixed: bool = False) -> Iterator[Sequence[Share[Any]]]:
        """The shares for each update of an epoch, without its first `done` updates; see `TrainingData.epoch`.

        The epoch begins in the calling thread, because the processes may have to wait for each other.
        """
        updates = self.data.epoch(epoch, done=done, fixed=fixed)
        pending: deque[Future[list[Share[Any]] | None]] = deque()
        try:
            for _ in range(self.ahead):
                pending.append(self._worker.submit(self._next, updates))
            while (shares := pending.popleft().result()) is not None:
                pending.append(self._worker.submit(self._next, updates))
                yield self.data.attach(shares)
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """Ends the worker thread after the update that it is preparing."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self, updates: Iterator[Sequence[Any]]) -> list[Share[Any]] | None:
        """The next update's shares; None at the end of the epoch."""
        batches = next(updates, None)
        if batches is None:
            return None
        shares = [self.group.share(batch) for batch in batches]
        if self.group.device.type == "cuda":
            shares = [share.pin() for share in shares]
        return shares
