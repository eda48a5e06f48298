import dataclasses
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saccade.text.batching import (
    Batch,
    Plan,
    collate,
    padding_share,
    plan_batches,
    plan_for_inference,
)
from saccade.text.cache import EncodedPairs, write_cache

PAD, START, END = 0, 2, 3
LENGTHS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=300)


def sides(lengths: list[tuple[int, int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    array = np.asarray(lengths, dtype=np.int32).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def realistic(pairs: int, seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Lengths as sentences have them: skewed, and similar on both sides."""
    generator = np.random.default_rng(seed)
    source = generator.gamma(6.0, 3.0, pairs)
    target = source * generator.normal(1.05, 0.2, pairs)
    return tuple(np.clip(side, 2, 100).astype(np.int32) for side in (source, target))  # type: ignore[return-value]


def same(first: Plan, second: Plan) -> bool:
    return len(first) == len(second) and all(map(np.array_equal, first, second))


class TestPlan:
    @given(
        lengths=LENGTHS,
        batch_tokens=st.integers(1, 500),
        max_rows=st.none() | st.integers(1, 20),
        seed=st.integers(0, 2**40),
        epoch=st.integers(0, 1000),
    )
    def test_every_pair_once_within_the_budget(
        self, lengths: list[tuple[int, int]], batch_tokens: int, max_rows: int | None, seed: int, epoch: int
    ) -> None:
        source, target = sides(lengths)
        plan = plan_batches(
            source, target, batch_tokens=batch_tokens, seed=seed, epoch=epoch, max_rows=max_rows
        )
        assert sorted(i for rows in plan for i in rows.tolist()) == list(range(len(lengths)))
        for rows in plan:
            longest = max(source[rows].max(), target[rows].max())
            assert len(rows) * longest <= batch_tokens or len(rows) == 1
            assert max_rows is None or len(rows) <= max_rows

    def test_it_does_not_depend_on_what_drew_random_numbers_before(self) -> None:
        source, target = realistic(500)
        plans = []
        for state in (1, 2):
            np.random.seed(state)  # noqa: NPY002  # the global generator is the point
            torch.manual_seed(state)
            plans.append(plan_batches(source, target, batch_tokens=200, seed=5, epoch=2))
        assert same(*plans)

    def test_another_seed_or_epoch_gives_other_batches_in_another_order(self) -> None:
        source, target = realistic(3000)
        first = plan_batches(source, target, batch_tokens=1000, seed=1, epoch=0)
        assert same(first, plan_batches(source, target, batch_tokens=1000, seed=1, epoch=0))
        for seed, epoch in [(1, 1), (2, 0)]:
            other = plan_batches(source, target, batch_tokens=1000, seed=seed, epoch=epoch)
            known = {frozenset(rows.tolist()) for rows in first}
            repeated = sum(frozenset(rows.tolist()) in known for rows in other)
            assert repeated < 0.1 * len(other)

    def test_the_order_of_batches_says_nothing_about_their_length(self) -> None:
        source, target = realistic(20_000)
        plan = plan_batches(source, target, batch_tokens=1000, seed=1, epoch=0)
        correlation = np.corrcoef(np.arange(len(plan)), [target[rows].mean() for rows in plan])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(len(plan))

    def test_there_is_little_padding_on_both_sides_together(self) -> None:
        source, target = realistic(30_000)
        plan = plan_batches(source, target, batch_tokens=4096, seed=1, epoch=0)
        assert padding_share(plan, source, target) < 0.05
        by_target = np.array_split(np.argsort(target, kind="stable"), len(plan))
        assert padding_share(plan, source, target) < 0.5 * padding_share(by_target, source, target)

    def test_the_budget_is_used(self) -> None:
        source, target = realistic(30_000)
        plan = plan_batches(source, target, batch_tokens=4096, seed=1, epoch=0)
        cells = [len(rows) * max(source[rows].max(), target[rows].max()) for rows in plan]
        assert np.mean(cells) > 0.9 * 4096

    def test_planning_takes_seconds_for_millions(self) -> None:
        source, target = realistic(400_000)
        begin = time.perf_counter()
        plan_batches(source, target, batch_tokens=25_000, seed=1, epoch=0)
        assert time.perf_counter() - begin < 5.0  # about 0.1; the bound is for a busy machine

    def test_no_pairs_give_no_batches(self) -> None:
        nothing = np.zeros(0, dtype=np.int32)
        assert plan_batches(nothing, nothing, batch_tokens=100, seed=0, epoch=0) == []
        assert plan_for_inference(nothing, batch_tokens=100) == []
        assert padding_share([], nothing, nothing) == 0.0

    @given(
        lengths=st.lists(st.integers(0, 80), max_size=200),
        batch_tokens=st.integers(1, 400),
        max_rows=st.none() | st.integers(1, 20),
    )
    def test_inference_reads_the_longest_first_within_the_budget(
        self, lengths: list[int], batch_tokens: int, max_rows: int | None
    ) -> None:
        plan = plan_for_inference(lengths, batch_tokens=batch_tokens, max_rows=max_rows)
        order = [i for rows in plan for i in rows.tolist()]
        assert order == sorted(range(len(lengths)), key=lambda i: -lengths[i])
        for rows in plan:
            assert len(rows) * max(lengths[i] for i in rows) <= batch_tokens or len(rows) == 1
            assert max_rows is None or len(rows) <= max_rows

    def test_inference_fills_its_batches(self) -> None:
        plan = plan_for_inference([5] * 10, batch_tokens=20)
        assert [len(rows) for rows in plan] == [4, 4, 2]

    @given(lengths=LENGTHS.filter(bool))
    def test_the_padding_share_is_that_of_the_cells(self, lengths: list[tuple[int, int]]) -> None:
        source, target = sides(lengths)
        plan = plan_batches(source, target, batch_tokens=200, seed=0, epoch=0)
        cells = padding = 0
        for rows in plan:
            for side in (source, target):
                for i in rows:
                    cells += int(side[rows].max())
                    padding += int(side[rows].max()) - int(side[i])
        assert padding_share(plan, source, target) == pytest.approx(padding / cells)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> EncodedPairs:
    generator = np.random.default_rng(0)
    sentences = [
        [[*generator.integers(4, 100, int(n)).tolist(), END] for n in side]
        for side in generator.integers(0, 12, (2, 40))
    ]
    folder = tmp_path_factory.mktemp("cache") / "cache"
    with write_cache(folder, source_vocab_size=100, target_vocab_size=100) as writer:
        writer.add(*sentences)
    return EncodedPairs.open(folder)


def naive(pairs: EncodedPairs, indices: list[int]) -> Batch:
    """The definition, row by row."""
    sources = [pairs.source(i).tolist() for i in indices]
    targets = [pairs.target(i).tolist() for i in indices]
    width = max(map(len, sources), default=0), max(map(len, targets), default=0)

    def matrix(rows: list[list[int]], columns: int) -> torch.Tensor:
        padded = [row + [PAD] * (columns - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64).reshape(len(rows), columns)

    return Batch(
        source=matrix(sources, width[0]),
        source_lengths=torch.tensor([len(row) for row in sources], dtype=torch.int64),
        target_in=matrix([[START, *row[:-1]] for row in targets], width[1]),
        gold=matrix(targets, width[1]),
        target_lengths=torch.tensor([len(row) for row in targets], dtype=torch.int64),
        pad=PAD,
        target_tokens=sum(map(len, targets)),
    )


def assert_equal(first: Batch, second: Batch) -> None:
    for field in dataclasses.fields(Batch):
        left, right = getattr(first, field.name), getattr(second, field.name)
        if isinstance(left, torch.Tensor):
            assert left.dtype == right.dtype
            assert torch.equal(left, right), field.name
        else:
            assert left == right and type(left) is type(right), field.name


INDICES = st.lists(st.integers(0, 39), min_size=1, max_size=12)
HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class TestBatch:
    @given(indices=INDICES)
    def test_collating_equals_the_naive_loop(self, pairs: EncodedPairs, indices: list[int]) -> None:
        assert_equal(collate(pairs, indices, pad=PAD, start=START), naive(pairs, indices))

    @given(indices=INDICES, data=st.data())
    def test_taking_rows_equals_collating_them(
        self, pairs: EncodedPairs, indices: list[int], data: st.DataObject
    ) -> None:
        batch = collate(pairs, indices, pad=PAD, start=START)
        rows = data.draw(st.lists(st.integers(0, len(indices) - 1), min_size=1))
        assert_equal(batch.take(rows), naive(pairs, [indices[i] for i in rows]))
        cut = data.draw(st.slices(len(indices)).filter(lambda s: (s.step or 1) > 0))
        if indices[cut]:
            assert_equal(batch.take(cut), naive(pairs, indices[cut]))

    def test_halves_hold_the_tokens_of_the_whole(self, pairs: EncodedPairs) -> None:
        batch = collate(pairs, range(40), pad=PAD, start=START)
        halves = batch.take(slice(0, 20)), batch.take(slice(20, None))
        assert sum(half.target_tokens for half in halves) == batch.target_tokens
        assert [half.rows for half in halves] == [20, 20]

    def test_no_rows_make_an_empty_batch(self, pairs: EncodedPairs) -> None:
        batch = collate(pairs, [], pad=PAD, start=START)
        assert batch.rows == batch.target_tokens == 0
        assert collate(pairs, [3, 4], pad=PAD, start=START).take([]).source.shape == (0, 0)

    def test_moving_keeps_everything(self, pairs: EncodedPairs) -> None:
        batch = collate(pairs, [1, 2, 3], pad=PAD, start=START)
        assert_equal(batch.to("cpu"), batch)
        assert batch.to("meta").source.device.type == "meta"

    @pytest.mark.gpu
    def test_a_batch_travels_to_the_gpu_and_can_be_split_there(self, pairs: EncodedPairs) -> None:
        batch = collate(pairs, [1, 2, 3], pad=PAD, start=START)
        assert batch.pin().source.is_pinned()
        moved = batch.pin().to("cuda")
        assert moved.source.is_cuda
        assert_equal(moved.take([2, 0]).to("cpu"), naive(pairs, [3, 1]))
