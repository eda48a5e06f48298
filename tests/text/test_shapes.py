"""Batches of a few shapes: every line once, in a shape that fits it, with little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from saccade.text.shapes import Shapes, padding

length = st.integers(1, 90)
pairs = st.lists(st.tuples(length, length), min_size=1, max_size=300)


def sides(found: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    source, target = np.array(found).T
    return source, target


def typical(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    generator = np.random.default_rng(1)
    length = np.exp(generator.normal(3.0, 0.5, count))
    noise = generator.normal(0, 0.15, (2, count))
    source, target = (np.clip((length * np.exp(one)).astype(int) + 2, 2, 200) for one in noise)
    return source, target


@given(found=pairs, budget=st.integers(20, 2000), most=st.integers(1, 12), epoch=st.integers(0, 3))
def test_every_line_is_planned_once_in_a_shape_that_fits_it(
    found: list[tuple[int, int]], budget: int, most: int, epoch: int
) -> None:
    known = sides(found)
    shapes = Shapes.of(*known, batch_tokens=budget, most=most)
    assert 1 <= len(shapes.lengths) <= most
    plan = shapes.plan(*known, seed=1, epoch=epoch)
    assert sorted(line for lines, _ in plan for line in lines) == list(range(len(found)))
    for lines, shape in plan:
        assert len(lines) <= shape.rows
        assert shape.rows * max(shape.lengths) <= budget or shape.rows == 1
        for side, limit in zip(known, shape.lengths, strict=True):
            assert int(side[lines].max()) <= limit
    assert {shape.lengths for _, shape in plan} <= set(shapes.lengths)


@given(found=pairs, longer=st.integers(97, 400))
def test_lines_longer_than_those_that_the_shapes_were_chosen_for_form_one_more(
    found: list[tuple[int, int]], longer: int
) -> None:
    known = sides(found)
    shapes = Shapes.of(*known, batch_tokens=300)
    more = sides([*found, (longer, 3), (2, longer)])
    plan = shapes.plan(*more, seed=1, epoch=0)
    assert sorted(line for lines, _ in plan for line in lines) == list(range(len(found) + 2))
    assert len({shape.lengths for _, shape in plan} - set(shapes.lengths)) == 1


def test_a_plan_depends_on_seed_and_epoch_alone() -> None:
    known = typical(2000)
    shapes = Shapes.of(*known, batch_tokens=512)

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [lines.tolist() for lines, _ in shapes.plan(*known, seed=seed, epoch=epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


@pytest.mark.parametrize("budget", [2048, 8192])
def test_padding_is_little_and_few_batches_lack_lines(budget: int) -> None:
    known = typical(60_000)
    shapes = Shapes.of(*known, batch_tokens=budget)
    plan = shapes.plan(*known, seed=1, epoch=0)
    one_shape = Shapes.of(*known, batch_tokens=budget, most=1).plan(*known, seed=1, epoch=0)
    assert padding(plan, *known) < 0.13 < 0.5 < padding(one_shape, *known)
    assert sum(len(lines) < shape.rows for lines, shape in plan) <= len(shapes.lengths)
    assert all(shape.rows % 8 == 0 for _, shape in plan)


def test_padding_is_the_share_of_cells_without_a_token() -> None:
    known = sides([(3, 5), (2, 2), (4, 1)])
    shapes = Shapes.of(*known, batch_tokens=100, most=1)
    [(lines, shape)] = shapes.plan(*known, seed=1, epoch=0)
    assert (sorted(lines) == [0, 1, 2] and shape == (8, (4, 8))) or shape.rows == 12
    assert padding([(lines, shape)], *known) == pytest.approx(1 - 17 / (shape.rows * sum(shape.lengths)))
