"""The loader gives what the data give, whatever its worker is ahead, and ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.training.batch import Share
from saccade.training.data import TrainingData
from saccade.training.distributed import Group
from saccade.training.loader import Loader
from saccade.training.streams import TextStreams
from tests.models.test_language_models import network
from tests.training.test_streams import IDS


@dataclass(frozen=True)
class Numbered:
    """A batch that is a number. Satisfies `TrainingBatch`."""

    number: int
    taken: tuple[int, ...] = ()
    pinned: bool = False
    rows: int = 4
    target_tokens: int = 7

    def to(self, device: torch.device | str) -> Numbered:
        return self

    def pin(self) -> Numbered:
        return Numbered(self.number, self.taken, pinned=True)

    def take(self, rows: slice | Sequence[int]) -> Numbered:
        return Numbered(self.number, tuple(range(self.rows)[rows] if isinstance(rows, slice) else rows))


@dataclass
class Numbers:
    """Updates of two batches, numbered; remembers who did what. Satisfies `TrainingData`."""

    count: int = 10
    broken: int | None = None
    made: list[int] = field(default_factory=list)
    attached: list[tuple[str, int]] = field(default_factory=list)
    begun_by: list[str] = field(default_factory=list)

    def epoch(self, epoch: int, *, done: int, fixed: bool = False) -> Iterator[list[Numbered]]:
        self.begun_by.append(threading.current_thread().name)
        return self._updates(epoch, done)

    def attach(self, shares: list[Share[Any]]) -> list[Share[Any]]:
        self.attached.append((threading.current_thread().name, shares[0].batch.number))
        return shares

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def restore(self, state: Any) -> None: ...

    def _updates(self, epoch: int, done: int) -> Iterator[list[Numbered]]:
        for update in range(done, self.count):
            if update == self.broken:
                raise UserError(f"update {update}: the text is gone")
            self.made.append(update)
            number = 1000 * epoch + 2 * update
            yield [Numbered(number), Numbered(number + 1)]


def numbers(updates: Iterator[Sequence[Share[Any]]]) -> list[list[int]]:
    return [[share.batch.number for share in shares] for shares in updates]


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = len(loaders())
    yield
    assert len(loaders()) == before


@given(count=st.integers(0, 7), done=st.integers(0, 8), ahead=st.integers(1, 5), epochs=st.integers(1, 3))
def test_updates_come_in_the_order_of_the_data_from_where_a_run_stands(
    count: int, done: int, ahead: int, epochs: int
) -> None:
    data = Numbers(count)
    with Loader(data, Group(), ahead=ahead) as loader:
        for epoch in range(epochs):
            expected = [[1000 * epoch + 2 * n, 1000 * epoch + 2 * n + 1] for n in range(done, count)]
            assert numbers(loader.epoch(epoch, done=done)) == expected


def test_the_worker_is_ahead_but_not_further_than_asked() -> None:
    data = Numbers(10)
    with Loader(data, Group(), ahead=3) as loader:
        updates = loader.epoch(0, done=0)
        for consumed in range(1, 6):
            next(updates)
            assert len(data.made) <= consumed + 3
            assert len(data.attached) == consumed
        done = threading.Event()
        loader._worker.submit(done.set)
        assert done.wait(10)
        assert len(data.made) == 5 + 3


def test_epochs_begin_and_memory_is_attached_where_the_batches_are_asked_for() -> None:
    data = Numbers(4)
    with Loader(data, Group()) as loader:
        for epoch in range(2):
            list(loader.epoch(epoch, done=0))
    here = threading.current_thread().name
    assert data.begun_by == [here] * 2
    assert data.attached == [(here, number) for number in (0, 2, 4, 6, 1000, 1002, 1004, 1006)]


def test_an_error_of_the_worker_is_raised_where_the_batches_are_asked_for() -> None:
    with Loader(Numbers(10, broken=3), Group()) as loader:
        updates = loader.epoch(0, done=1)
        assert numbers(iter([next(updates), next(updates)])) == [[2, 3], [4, 5]]
        with pytest.raises(UserError, match="update 3: the text is gone"):
            next(updates)
        assert next(updates, None) is None


def test_a_run_that_ends_within_an_epoch_leaves_no_thread() -> None:
    def run() -> None:
        with Loader(Numbers(1_000_000), Group()) as loader:
            for count, _ in enumerate(loader.epoch(0, done=0)):
                if count == 2:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert not loaders()


def test_an_epoch_that_is_left_does_not_disturb_the_next() -> None:
    with Loader(Numbers(8), Group(), ahead=2) as loader:
        left = loader.epoch(0, done=0)
        next(left)
        assert len(numbers(loader.epoch(1, done=0))) == 8


def test_each_process_gets_its_rows_pinned_where_there_is_a_gpu() -> None:
    group = Group(rank=1, size=3, device=torch.device("cuda", 1))
    with Loader(Numbers(1), group) as loader:
        [shares] = loader.epoch(0, done=0)
    assert [share.batch for share in shares] == [Numbered(n, taken=(1,), pinned=True) for n in (0, 1)]
    assert [(share.weight, share.target_tokens) for share in shares] == [(1.0, 7)] * 2


@pytest.mark.parametrize("ahead", [1, 2, 9])
def test_memory_is_the_same_however_far_the_worker_is_ahead(ahead: int) -> None:
    model = network("transformer-xl")

    def data() -> TextStreams:
        return TextStreams(
            ids=IDS, start=model.start, segment=5, rows=3, accumulate=2, seed=1, pad=0, group=Group()
        )

    def memories(source: TrainingData, ahead: int) -> list[torch.Tensor]:
        found = []
        with Loader(source, Group(), ahead=ahead) as loader, torch.no_grad():
            for shares in loader.epoch(0, done=0):
                for share in shares:
                    found += share.batch.memory
                    share.batch.carry(model.read(share.batch.tokens, share.batch.memory)[1])
        return found

    one_by_one = []
    plain = data()
    for batches in plain.epoch(0, done=0):
        with torch.no_grad():
            for share in plain.attach([Group().share(batch) for batch in batches]):
                one_by_one += share.batch.memory
                share.batch.carry(model.read(share.batch.tokens, share.batch.memory)[1])
    for one, other in zip(one_by_one, memories(data(), ahead), strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
def test_segments_travel_to_the_gpu_through_pinned_memory() -> None:
    model = network("transformer-xl").cuda()
    group = Group(device=torch.device("cuda"))
    data = TextStreams(
        ids=IDS, start=model.start, segment=5, rows=3, accumulate=1, seed=1, pad=0, group=group
    )
    with Loader(data, group) as loader:
        shares = next(loader.epoch(0, done=0))
    assert shares[0].batch.tokens.is_pinned() and shares[0].batch.gold.is_pinned()
    moved = shares[0].batch.to("cuda")
    assert moved.tokens.is_cuda and torch.equal(moved.tokens.cpu(), shares[0].batch.tokens)
