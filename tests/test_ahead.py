"""Work ahead: the same items in the same order, errors in their place, and threads that end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.use.ahead import ahead
from saccade.use.text_decoder import TextDecoder
from saccade.use.translator import Translator
from tests.tiny import model


@given(st.lists(st.integers() | st.none(), max_size=20))
def test_the_items_come_in_their_order(items: list[int | None]) -> None:
    assert list(ahead(items)) == items
    assert list(ahead(ahead(items))) == items


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    taken = ahead(broken())
    assert [next(taken), next(taken)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(taken)


def test_the_next_item_is_made_while_the_present_one_is_in_use() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    taken = ahead(items())
    assert next(taken) == 0
    assert made[1].wait(10)


def test_a_taker_that_stops_ends_the_thread() -> None:
    taken = ahead(iter(int, 1))  # without end
    next(taken)
    taken.close()
    for thread in threading.enumerate():
        if thread.name == "ahead":
            thread.join(10)
            assert not thread.is_alive()


def test_a_stream_gives_the_same_translations_however_it_is_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    translator = Translator.of(model(), device="cpu", engine="torch")
    chunks = [["the dog sees an apple.", ""], ["a cat eats seven books!"], [], ["nobody"]]
    expected = [[one.text for one in found] for found in translator.stream_chunks(chunks, max_length=4)]
    other = Translator.of(model(), device="cpu", engine="torch")
    other.device = torch.device("meta")  # no CPU, as far as the stream can see
    text = TextDecoder(other.decoder, other.tokenizer, torch.device("cpu"))
    monkeypatch.setattr(Translator, "_text", text)  # but the ids stay here
    assert [[one.text for one in found] for found in other.stream_chunks(chunks, max_length=4)] == expected
