"""Batches that are decoded side by side give what they give one after the other."""

import threading
from collections.abc import Iterator

import pytest
import torch

from saccade.native.library import library
from saccade.use import text_decoder
from saccade.use.translator import Translator
from saccade.use.workers import each, workers_here
from tests import tiny

pytestmark = pytest.mark.skipif(library() is None, reason="without kernels, nothing is decoded side by side")


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_are_in_the_order_of_the_items(count: int, workers: int) -> None:
    assert list(each(lambda x: x * x, range(count), workers=workers)) == [x * x for x in range(count)]


def test_workers_share_out_the_threads_and_others_keep_theirs() -> None:
    met = threading.Barrier(2, timeout=60)

    def threads_seen(_: int) -> int:
        met.wait()  # both workers are here
        return torch.get_num_threads()

    assert list(each(threads_seen, range(2), workers=2)) == [2, 2]
    assert torch.get_num_threads() == 4
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [4]


def test_an_error_comes_after_the_results_before_it_and_ends_the_work() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise KeyError(item)
        return item

    results = each(work, range(100), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)
    assert len(begun) < 10


def test_work_that_has_not_begun_is_given_up_when_the_taker_stops() -> None:
    begun: list[int] = []
    results = each(begun.append, range(100), workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 4 and threading.active_count() < 10


@pytest.mark.parametrize("options", [{}, {"beam": 3, "nbest": 2}, {"sample": True, "nbest": 3}])
def test_translations_do_not_depend_on_the_number_of_workers(
    options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = Translator.of(tiny.model(dtype=torch.float32, width=64, heads=2, feed_forward=64))
    lines = tiny.LINES[::3]
    counts: list[int] = []

    def counted(*args: object, workers: int) -> Iterator[object]:
        counts.append(workers)
        return each(*args, workers=workers)  # type: ignore[arg-type]

    monkeypatch.setattr(text_decoder, "each", counted)
    own = {**options, "max_length": 12, "batch_tokens": 40}
    monkeypatch.setattr(text_decoder, "workers_here", lambda: 1)
    alone = translator.translate(lines, **own)
    monkeypatch.setattr(text_decoder, "workers_here", workers_here)
    together = translator.translate(lines, **own)
    assert counts == [1, 4]
    assert [one.text for one in together] == [one.text for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
