"""The tables of factors are made of configurations that exist, and count right."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.factors import GRID, MIDDLE, SETTINGS, SIZES, Case, Outcome, cases, low_resource, outcome, row

ROOT = Path(__file__).parents[2]


def test_every_factor_is_a_configuration_of_its_own() -> None:
    found = cases(ROOT / "examples" / "multi30k-en-de.toml", SETTINGS, [1, 2], [])
    assert len(found) == len(SETTINGS)
    tables = [str(plan.tables()) for case in found for plan in case.runs.values()]
    assert len(set(tables)) == 2 * len(SETTINGS)


def test_the_recipe_in_the_examples_is_the_factor_of_that_name() -> None:
    [best] = cases(ROOT / "examples" / "multi30k-en-de.toml", ["best"], [1], [])
    [recipe] = cases(ROOT / "examples" / "multi30k-en-de-best.toml", ["base"], [1], [])
    [plan], [other] = best.runs.values(), recipe.runs.values()
    assert plan.tables() == other.tables()


def test_little_text_is_the_first_pairs_and_each_setting_comes_once(tmp_path: Path) -> None:
    for side in ("en", "zh"):
        for part, lines in (("train", 20_100), ("dev", 3), ("test", 3)):
            text = "".join(f"{side} {number}\n" for number in range(lines))
            (tmp_path / f"{part}.{side}").write_text(text, encoding="utf-8")
    found = [*low_resource(tmp_path, ("en", "zh"), out=tmp_path / "cut", seeds=[1], overrides=[])]
    middle = sum("dropout 0.3" in case.name for case in found)
    assert middle <= len(SIZES)
    values = sum(map(len, GRID.values())) - len(GRID) + 1  # the middle is one of the values of each
    assert len(found) == len(SIZES) * values
    assert len({name for case in found for name in case.runs}) == len(found)
    lines = (tmp_path / "cut" / "5000.zh").read_text(encoding="utf-8").splitlines()
    assert lines == [f"zh {number}" for number in range(5000)]
    assert "model.dropout=0.3" in MIDDLE


def test_a_row_has_the_mean_of_what_is_finished() -> None:
    case = Case("some", {})
    done = {
        "a": Outcome(minutes=10, updates=100, valid=40.0, chrf=60.0, test=41.0),
        "b": Outcome(minutes=30, updates=300, valid=42.0, chrf=62.0),
        "c": None,
    }
    cells = row(case, done, test=True)
    assert cells["seeds"] == "2 of 3"
    assert cells["minutes"] == "20"
    assert cells["validation BLEU"] == "41.00 ±1.41"
    assert cells["test BLEU"] == "41.00"
    assert row(case, {"c": None}, test=False)["validation BLEU"] == ""


def test_a_run_that_is_not_there_has_no_outcome(tmp_path: Path) -> None:
    [case] = cases(ROOT / "examples" / "multi30k-en-de.toml", ["base"], [1], [])
    [plan] = case.runs.values()
    assert outcome(tmp_path, plan, test=False) is None


@pytest.mark.parametrize("name", SETTINGS)
def test_names_of_factors_make_names_of_folders(name: str) -> None:
    [case] = cases(ROOT / "examples" / "multi30k-en-de.toml", [name], [7], [])
    [folder] = case.runs
    assert "/" not in folder
    assert " " not in folder
