"""How the lab measures: time on a busy machine, paths of gradients, and how translations go wrong."""

from __future__ import annotations

import base64
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from saccade.lab.experiments.cost import Dilated, crossing, layers_needed
from saccade.lab.experiments.ladder import CONFIG, ending, packed, rounded
from saccade.lab.ladder import RUNGS
from saccade.lab.numerals import vocabulary
from saccade.lab.timing import milliseconds, one_thread


def test_a_time_is_the_least_of_repeats_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    now, done = [0.0], []
    costs = {"quick": iter([9.0, 0.003, 0.001, 0.002]), "slow": iter([9.0, 0.03, 0.02, 0.05])}

    def work(name: str) -> None:
        done.append(name)
        now[0] += next(costs[name])

    monkeypatch.setattr("saccade.lab.timing.time", SimpleNamespace(process_time=lambda: now[0]))
    found = milliseconds({"quick": lambda: work("quick"), "slow": lambda: work("slow")}, repeats=3)
    assert found == pytest.approx({"quick": 1.0, "slow": 20.0})
    assert done == ["quick", "slow"] * 4, "the first time is not measured, and all works take turns"


def test_the_number_of_threads_is_what_it_was_after_an_error() -> None:
    before, inside = torch.get_num_threads(), []

    @one_thread()
    def failing() -> None:
        inside.append(torch.get_num_threads())
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        failing()
    assert inside == [1] and torch.get_num_threads() == before


def test_the_crossing_is_the_last_length_at_which_times_are_equal() -> None:
    lengths = [16, 64, 256, 1024]
    assert crossing(lengths, [n / 100 for n in lengths]) == pytest.approx(100)
    assert crossing(lengths, [0.5, 2.0, 0.5, 2.0]) == pytest.approx(math.sqrt(256 * 1024))
    assert crossing(lengths, [0.1, 0.2, 0.3, 0.4]) is None
    assert crossing(lengths, [0.5, 2.0, 3.0, 0.5]) is None
    assert crossing(lengths, [2.0, 3.0, 4.0, 5.0]) is None


@pytest.mark.parametrize("distance", [1, 3, 4, 16])
def test_dilated_convolutions_reach_twice_as_far_with_each_layer(distance: int) -> None:
    torch.manual_seed(0)
    needed = layers_needed(lambda layer: Dilated(8, 2**layer), distance)
    assert needed == math.ceil(math.log2(distance + 1)), "1 + 2 + 4 + ... reaches the distance"


def test_a_translation_ends_right_too_late_too_early_or_wrong() -> None:
    target = [5, 6, 7]
    found = [ending(written, target) for written in ([5, 6, 7], [5, 6, 7, 7], [5, 6], [], [5, 7, 6])]
    assert found == ["right", "long", "short", "short", "wrong"]


def test_a_rung_is_packed_as_it_is_after_rounding() -> None:
    torch.manual_seed(0)
    model = rounded(RUNGS[-1](CONFIG, vocabulary()))
    tables = packed(model)["weights"]
    assert tables.keys() == dict(model.named_parameters()).keys()
    for name, weight in model.named_parameters():
        values = np.frombuffer(base64.b64decode(tables[name]["float16"]), "<f2")
        kept = torch.tensor(values.astype(np.float32)).view(tables[name]["shape"])
        assert torch.equal(kept, weight)
