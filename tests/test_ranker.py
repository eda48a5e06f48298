"""Rankers: alone as in bulk, what order and padding change, scores, and tables that are refused."""

from __future__ import annotations

import math
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import saccade
from saccade.errors import UserError
from saccade.model_folder.checkpoint import save_model
from saccade.text.table import FieldsConfig, TableFields, read_table
from saccade.use.ranking_scores import RankingScores, ndcg_and_hit
from saccade.use.table_ranker import TableRanker
from tests.labelled import classifier
from tests.tables import FIELDS, HEADER, PAST, ranker, tokenizer, write_lists

ATTENDS = ("fields", "history", "list")


def lists(tmp_path: Path, use: TableRanker) -> list[Any]:
    write_lists(tmp_path / "a.csv", count=7, seed=3)
    return list(use.read(tmp_path / "a.csv", answers=True))


@pytest.mark.parametrize("listwise", [True, False])
@pytest.mark.parametrize("attends", ATTENDS)
def test_a_list_is_the_same_alone_and_in_bulk(tmp_path: Path, attends: str, listwise: bool) -> None:
    use = TableRanker(ranker(attends, listwise=listwise))
    every = lists(tmp_path, use)
    for one, together in zip(every, use.run(every), strict=True):
        [alone] = use.run([one])
        assert together.probabilities == pytest.approx(alone.probabilities, abs=1e-9)
        if listwise:
            assert sum(together.probabilities) == pytest.approx(1.0)
        assert sorted(together.ranks) == list(range(1, len(one.rows) + 1))


@pytest.mark.parametrize("attends", ATTENDS)
def test_padding_changes_nothing_and_every_parameter_takes_part(tmp_path: Path, attends: str) -> None:
    use = TableRanker(ranker(attends))
    every = lists(tmp_path, use)
    inputs = use._inputs(every)
    before = use.network.scores(inputs)
    for column in inputs.values():
        for row, length in enumerate(column.lengths.tolist()):
            column.values[row, length:] = 1
    after = use.network.scores(inputs)
    for row, one in enumerate(every):
        torch.testing.assert_close(after[row, : len(one.rows)], before[row, : len(one.rows)])
    after.square().sum().backward()
    assert not [key for key, one in use.network.named_parameters() if one.grad is None]


@pytest.mark.parametrize("attends", ATTENDS)
def test_the_order_of_the_rows_does_not_matter(attends: str) -> None:
    use = TableRanker(ranker(attends))
    rows = [
        {"brand": b, "shop": s, "price": p, "past": "a c"}
        for b, s, p in (("a", "x", 1), ("b", "y", 2), ("c", "x", 3))
    ]
    [one], [other] = use.predict([rows]), use.predict([rows[::-1]])
    assert one.probabilities == pytest.approx(other.probabilities[::-1], abs=1e-9)


def test_each_way_sees_what_it_attends_to() -> None:
    row = {"brand": "a", "shop": "x", "price": 1.0, "past": "a b"}
    other = {**row, "brand": "c", "price": 9.0}
    for attends in ATTENDS:
        use = TableRanker(ranker(attends))
        alone = use.predict([[row]])[0].probabilities[0]
        beside = use.predict([[row, other]])[0].probabilities[0]
        assert (alone == pytest.approx(beside, abs=1e-9)) == (attends != "list")
        turned = use.predict([[{**row, "past": "b a"}]])[0].probabilities[0]
        assert (alone == pytest.approx(turned, abs=1e-9)) == (attends != "history")


def test_what_training_lacks_is_read_as_unknown_and_a_number_is_scaled() -> None:
    own = tokenizer(PAST)
    use = TableRanker(ranker("history"))
    [one] = [use._candidates(0, [{"brand": "z", "shop": "y", "price": "3", "past": "c z"}])]
    assert own.source_pieces(own.ids(one)[0].tolist()) == ["brand=?", "shop=y", "price"]
    assert own.weights(one).tolist() == [[1.0, 1.0, 2.0]]
    assert own.source_pieces(own.past(one)) == ["<pad>", "brand=c", "brand=?"]


def test_a_history_that_is_too_long_for_learned_positions_loses_its_oldest_items() -> None:
    use = TableRanker(ranker("history", positions="learned", max_positions=5))
    row = {"brand": "a", "shop": "x", "price": 1.0, "past": "c a b"}
    [one] = use.predict([[row]])
    [other] = use.predict([[{**row, "past": "b b b b b b c a b"}]])
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-9)


@pytest.mark.parametrize("attends", ATTENDS)
def test_rows_of_recorded_attention_sum_to_1(tmp_path: Path, attends: str) -> None:
    use = TableRanker(ranker(attends))
    lists(tmp_path, use)
    record = use.inspect(str(tmp_path / "a.csv"))
    assert {one.kind for one in record.maps} == {"encoder", "cross"}
    for one in record.maps:
        torch.testing.assert_close(one.weights.sum(-1), torch.ones(one.weights.shape[:2]), atol=1e-5, rtol=0)
    encoder = next(one for one in record.maps if one.kind == "encoder")
    assert encoder.weights.size(-1) == len(record.tokens["source"].pieces)
    assert record.to_json()["records"]


def test_a_folder_is_loaded_as_what_the_model_is_for(tmp_path: Path) -> None:
    model = ranker("history")
    save_model(tmp_path / "model", model)
    use = saccade.load(tmp_path / "model", device="cpu")
    assert type(use) is saccade.TableRanker
    every = lists(tmp_path, use)
    assert [one.as_dict()["ranks"] for one in use.run(every)] == [
        list(one.ranks) for one in TableRanker(model).run(every)
    ]
    with pytest.raises(UserError, match="this needs a ranker"):
        TableRanker(classifier())


def test_a_tokeniser_learns_values_and_scales_and_comes_back(tmp_path: Path) -> None:
    write_lists(tmp_path / "a.csv", count=30, seed=1)
    made = TableFields.learn(FIELDS, lambda: read_table(tmp_path / "a.csv", FIELDS, answers=True))
    prices = [float(line.split(",")[3]) for line in (tmp_path / "a.csv").read_text().split("\n")[1:-1]]
    assert made.values == [("a", "b", "c"), ("x", "y")]
    assert made.scales[0] == pytest.approx((np.mean(prices), np.std(prices)))
    made.save(tmp_path)
    again = TableFields.load(tmp_path)
    assert (again.values, again.scales, again.config) == (made.values, made.scales, made.config)
    (tmp_path / "fields.json").write_text('{"values": [["a"]], "scales": []}')
    with pytest.raises(UserError, match="does not fit the columns"):
        TableFields.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("query,brand,price,past,chosen\n", r"a\.csv:1: no column shop; the columns are query, brand"),
        ("a,a\n", r"a\.csv:1: no column brand, shop"),
        (HEADER + "1,a,x,2,,1\n1,a,x\n", r"a\.csv:3: 3 values for 6 columns"),
        (HEADER + "1,a,x,cheap,,1\n", r"a\.csv:2: price is 'cheap' and no number"),
        (HEADER + "1,a,x,nan,,1\n", r"a\.csv:2: price is 'nan' and no number"),
        (HEADER + "1,a,x,1e300,,1\n", r"a\.csv:2: price is '1e300', which is too large"),
        (HEADER + "1,a,x,2,,yes\n", r"a\.csv:2: chosen is 'yes'; it has to be 0 or 1"),
        (HEADER + "1,a,x,2,,1\n2,a,x,2,,1\n1,a,x,2,,0\n", r"a\.csv:4: the list '1' began earlier"),
        (HEADER + '1,"a,x,2,,1\n', "not CSV"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        list(read_table(tmp_path / "a.csv", FIELDS, answers=True))


def test_a_list_that_is_too_long_to_be_shown_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + "1,a,x,2,,1\n" * 300)
    with pytest.raises(UserError, match="at most 256 can be shown"):
        TableRanker(ranker("list")).inspect(str(tmp_path / "a.csv"))


def test_a_number_far_from_those_of_training_is_bounded() -> None:
    rows = [[{"brand": "a", "shop": "x", "price": price} for price in (3e38, -3e38, 2)]]
    [found] = TableRanker(ranker("list")).predict(rows)
    assert all(0 <= share <= 1 for share in found.probabilities)


def test_rows_in_python_need_their_columns() -> None:
    use = TableRanker(ranker())
    with pytest.raises(UserError, match=r"lists\[0\]: a row has no column shop"):
        use.predict([[{"brand": "a", "price": 1}]])
    with pytest.raises(UserError, match=r"lists\[1\]: a list without rows"):
        use.predict([[{"brand": "a", "shop": "x", "price": 1}], []])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fields": ("a",), "numbers": ("a",)}, "a column stands twice"),
        ({"fields": ("label",)}, "label is the label, which the model must not read"),
        ({"fields": ("a",), "history": "past"}, "history and item belong together"),
        ({"fields": ("a",), "history": "past", "item": "b"}, "history and item belong together"),
    ],
)
def test_columns_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FieldsConfig(**settings)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5])), min_size=2, max_size=5).filter(
        lambda rows: any(one for one, _ in rows)
    )
)
def test_ndcg_is_the_mean_over_all_orders_of_equal_scores(rows: list[tuple[bool, float]]) -> None:
    gains, hits = [], []
    for order in permutations(rows):
        if all(a[1] >= b[1] for a, b in pairwise(order)):
            gains.append(sum(one / math.log2(k + 2) for k, (one, _) in enumerate(order)))
            hits.append(float(order[0][0]))
    ideal = sum(1 / math.log2(k + 2) for k in range(sum(one for one, _ in rows)))
    found = ndcg_and_hit([one for one, _ in rows], [score for _, score in rows])
    assert found == pytest.approx((np.mean(gains) / ideal, np.mean(hits)))


def test_scores_are_those_of_their_definition() -> None:
    scores = RankingScores.of([([1, 0], [0.8, 0.3]), ([0], [0.25]), ([0, 1], [0.6, 0.4])])
    loss = -(math.log(0.8) + math.log(0.7) + math.log(0.75) + math.log(0.4) + math.log(0.4)) / 5
    assert scores.log_loss == pytest.approx(loss) and scores.candidates == 5 and scores.lists == 2
    assert scores.hit == 0.5 and scores.ndcg == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert len(scores.lines()) == 3 and RankingScores.of([([1], [0.5])]).ndcg is None
    with pytest.raises(UserError, match="nothing to score"):
        RankingScores.of([])
