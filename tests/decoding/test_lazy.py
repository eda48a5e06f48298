from __future__ import annotations

import threading
import time

import pytest

from saccade.decoding.lazy import Lazy


def test_threads_that_ask_at_once_get_one_value_that_is_made_once() -> None:
    made: list[object] = []

    def make() -> object:
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    lazy, start, found = Lazy(make), threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        found.append(lazy.get())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all(one is made[0] for one in found)


def test_after_an_error_the_next_call_tries_again() -> None:
    answers = iter([RuntimeError("no memory"), 7])

    def make() -> int:
        answer = next(answers)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    lazy = Lazy(make)
    with pytest.raises(RuntimeError, match="no memory"):
        lazy.get()
    assert lazy.get() == lazy.get() == 7
