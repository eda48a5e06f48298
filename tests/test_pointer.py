"""Using pointer networks: alone as in bulk, scores, polygons, and inputs that are refused."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import saccade
from saccade.errors import UserError
from saccade.model_folder.checkpoint import save_model
from saccade.use.pointed_scores import PointedScores
from saccade.use.pointer import InputPointer
from saccade.use.polygons import area, is_simple, same_round
from tests.labelled import pointer, tagger

TASKS = ["0.1,0.5 0.9,0.2 0.4,0.8", "0.3,0.3", "", "0.5,0.1 0.2,0.9 0.7,0.7 0.6,0.2 0.1,0.1"]


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3}, {"beam": 3, "distinct": True}])
def test_alone_as_in_bulk(options: dict[str, Any]) -> None:
    made = InputPointer(pointer(), **options)
    together = made.predict(TASKS)
    for task, one in zip(TASKS, together, strict=True):
        [alone] = made.predict([task])
        assert (one.text, one.positions) == (task, alone.positions)
        assert one.log_prob == pytest.approx(alone.log_prob, abs=1e-6)
        if options.get("distinct"):
            assert len(set(one.positions)) == len(one.positions)
    assert together[2].positions == ()


def test_arrays_are_as_good_as_text() -> None:
    made = InputPointer(pointer())
    points = np.array([[0.1, 0.5], [0.9, 0.2], [0.4, 0.8]])
    found = [made.predict([task])[0].positions for task in (TASKS[0], points, points.tolist())]
    assert found[0] == found[1] == found[2]
    numbers = InputPointer(pointer(numbers=1))
    assert (
        numbers.predict([[0.5, 0.25]]) == numbers.predict(["0.5 0.25"]) == numbers.predict([[[0.5], [0.25]]])
    )


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ([[0.1, 0.2, 0.3]], r"tasks\[0\]: an array of shape \(1, 3\)"),
        ([0.1, 0.2], r"tasks\[0\]: an array of shape \(2,\)"),
        ([[0.1, math.inf]], r"give finite numbers, \(inputs, 2\)"),
        ([["a", "b"]], r"tasks\[0\]: these are no inputs of 2 numbers each"),
        ("0.1", r"tasks\[0\]: input 1 is '0.1', which is 1 and not 2 numbers"),
    ],
)
def test_inputs_of_another_form_are_refused(task: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        InputPointer(pointer()).predict([task])


def test_too_many_inputs_are_a_problem_of_their_task_alone() -> None:
    made = InputPointer(pointer(positions="learned", max_positions=3))
    found = made.predict(TASKS)
    assert [one.problem is None for one in found] == [True, True, True, False]
    assert "5 inputs, but the model reads at most 3" in str(found[3].problem)


def test_a_folder_is_loaded_as_what_the_model_is_for(tmp_path: Path) -> None:
    model = pointer()
    save_model(tmp_path / "model", model)
    made = saccade.load(tmp_path / "model", device="cpu", beam=2)
    assert isinstance(made, saccade.InputPointer)
    assert [one.positions for one in made.predict(TASKS)] == [
        one.positions for one in InputPointer(model, beam=2).predict(TASKS)
    ]
    wider = made.with_settings({"decoding": {"beam": 9}})
    assert (wider.options.beam, made.options.beam) == (9, 2)
    with pytest.raises(UserError, match="decoding.beams = 2: no such setting"):
        saccade.load(tmp_path / "model", device="cpu", beams=2)
    with pytest.raises(UserError, match="a tagger.*but this needs a pointer network"):
        InputPointer(tagger())


def test_the_record_shows_what_is_pointed_at() -> None:
    made = InputPointer(pointer())
    record = made.inspect(TASKS[0])
    [found] = made.predict(TASKS[:1])
    assert record.output == " ".join(map(str, found.positions))
    assert record.tokens["source"].pieces == ("end", *TASKS[0].split())
    assert record.tokens["target"].pieces == (*map(str, found.positions), "end")
    pointed = record.maps[-1].weights[0]
    assert pointed.shape == (len(found.positions) + 1, 4)
    assert record.to_json()["records"][0]["source"] == TASKS[0]


def test_scores_count_exact_answers_by_length_and_polygons_whatever_the_start() -> None:
    square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]]
    gold = [1, 2, 3, 4]
    scores = PointedScores.of(
        [
            (square, gold, (1, 2, 3, 4)),
            (square, gold, (3, 4, 1, 2)),  # the same, from another corner
            (square, gold, (1, 2, 3)),  # half of the area
            (square, gold, (1, 3, 2, 4)),  # crosses itself
            (square[:3], [1, 2, 3], (1, 2, 3)),
        ]
    )
    assert scores.exact == 2 / 5
    assert scores.by_length == {3: (1, 1), 5: (4, 1)}
    assert scores.polygons is not None
    assert (scores.polygons.same, scores.polygons.invalid) == (3, 1)
    assert scores.polygons.covered == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert scores.as_dict()["area"] == scores.polygons.covered
    assert PointedScores.of([([[0.3], [0.1]], [2, 1], (2, 1))]).polygons is None


def test_scores_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    PointedScores({3: (4, 4), 9: (4, 1)}).draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_an_answer_that_the_file_lacks_is_refused_with_its_place(tmp_path: Path) -> None:
    made, file = InputPointer(pointer()), tmp_path / "a.txt"
    file.write_text("0.1,0.2\t1\n0.1,0.2\n")
    with pytest.raises(UserError, match=r"a\.txt:2: 1 columns; a line must be the inputs, a tab"):
        made.score(made.read(file, answers=True))


# --- polygons ------------------------------------------------------------------------------------

STAR = [(math.cos(4 * math.pi * n / 5), math.sin(4 * math.pi * n / 5)) for n in range(5)]
CORNERS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=7)


def crosses(polygon: list[tuple[int, int]]) -> bool:
    """Whether two sides have a point in common that is not their common corner, by rational arithmetic."""
    from fractions import Fraction

    count = len(polygon)
    sides = [(polygon[n], polygon[(n + 1) % count]) for n in range(count)]
    for (n, (a, b)), (m, (c, d)) in itertools.combinations(enumerate(sides), 2):
        across = (b[0] - a[0]) * (d[1] - c[1]) - (b[1] - a[1]) * (d[0] - c[0])
        if across:
            s = Fraction((c[0] - a[0]) * (d[1] - c[1]) - (c[1] - a[1]) * (d[0] - c[0]), across)
            t = Fraction((c[0] - a[0]) * (b[1] - a[1]) - (c[1] - a[1]) * (b[0] - a[0]), across)
            common = (
                {(a[0] + s * (b[0] - a[0]), a[1] + s * (b[1] - a[1]))}
                if 0 <= s <= 1 and 0 <= t <= 1
                else set()
            )
        else:
            grid = [Fraction(k, 5040) for k in range(0, 5041, 84)]
            on_first = {(a[0] + s * (b[0] - a[0]), a[1] + s * (b[1] - a[1])) for s in grid}
            common = {point for point in on_first if _between(c, d, point)}
        shared = ({b} if m == n + 1 else set()) | ({a} if n == 0 and m == count - 1 else set())
        if common - shared:
            return True
    return False


def _between(c: tuple[int, int], d: tuple[int, int], point: Any) -> bool:
    flat = (d[0] - c[0]) * (point[1] - c[1]) == (d[1] - c[1]) * (point[0] - c[0])
    return flat and all(min(p, q) <= r <= max(p, q) for p, q, r in zip(c, d, point, strict=True))


@given(CORNERS)
def test_simple_polygons_are_those_whose_sides_meet_at_corners_only(polygon: list[tuple[int, int]]) -> None:
    expected = len(set(polygon)) == len(polygon) and not crosses(polygon)
    assert is_simple(polygon) == expected


def test_a_star_is_no_simple_polygon_and_its_hull_is() -> None:
    assert not is_simple(STAR)
    hull = sorted(STAR, key=lambda point: math.atan2(point[1], point[0]))
    assert is_simple(hull)
    assert area(hull) == pytest.approx(5 / 2 * math.sin(2 * math.pi / 5))
    assert area(hull[::-1]) == pytest.approx(-area(hull))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6, unique=True), st.integers(0, 5))
def test_a_round_is_the_same_from_any_start(positions: list[int], start: int) -> None:
    turned = positions[start % len(positions) :] + positions[: start % len(positions)]
    assert same_round(positions, turned)
    assert same_round(positions, [*turned, turned[0]])
    if len(positions) > 2:
        assert not same_round(positions, turned[::-1])
        assert not same_round(positions, turned[1:])
