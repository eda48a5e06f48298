"""The benchmarks of alignments in a small form: links by every way, tables of heads, guided training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from benchmarks import alignment, guided_alignment
from saccade.alignment.error_rate import alignment_scores
from saccade.alignment.gold import GoldSet
from saccade.text.pharaoh import gold_of
from saccade.use.translator import Translator
from tests.tiny import LINES, model

SMALL = GoldSet(
    "small",
    ("the dog sees", "a cat"),
    ("the dog sees", "a cat"),
    tuple(gold_of(line, place="small") for line in ("0-0 1-1 2-2", "0-0 1-1")),
)


def test_the_diagonal_links_each_word_to_the_same_share_of_the_other_side() -> None:
    assert alignment.diagonal("a b c", "a b c") == [(0, 0), (1, 1), (2, 2)]
    assert alignment.diagonal("a b c d e", "x y z") == [(0, 0), (2, 1), (4, 2)]
    assert alignment.diagonal("a", "x y") == [(0, 0), (0, 1)]


def test_each_way_to_align_gets_a_row_with_its_scores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    to_source, to_target = [((0, 0), (1, 1), (1, 2))], [((0, 0), (2, 2))]

    def counted(sources: Any, targets: Any) -> Any:
        assert len(sources) == len(targets) == 3 and list(sources[1:]) == list(SMALL.sources)
        return [[(), *to_source, ((0, 0),)], [(), *to_target, ((0, 0),)]]

    monkeypatch.setattr(alignment, "both_ways", counted)
    for side in ("source", "target"):
        (tmp_path / side).write_text("the apple\n", encoding="utf-8")
    text = (tmp_path / "source", tmp_path / "target")
    found = alignment.alignments(Translator.of(model()), SMALL, text)
    assert len(found) == 8 and all(len(links) == 2 for links in found.values())
    assert sorted(found["eflomal, intersection"][0]) == [(0, 0)]
    rows = {row["links"]: row for row in alignment.link_table(found, SMALL)}
    assert rows["along the diagonal"]["AER"] == "0.0%"
    scores = alignment_scores(found["attention"], SMALL.links)
    assert rows["attention"]["precision"] == f"{scores.precision:.1%}"


def test_every_head_has_a_cell_with_its_error_rate() -> None:
    translator = Translator.of(model())
    rows = alignment.head_table(translator, SMALL)
    layers = [len(one) for one in next(translator.word_weights(SMALL.sources, SMALL.targets))[1]]
    assert [row["layer"] for row in rows] == list(range(1, len(layers) + 1))
    assert all(len(row) == 2 + heads for row, heads in zip(rows, layers, strict=True))


@pytest.mark.slow
def test_guided_and_unguided_runs_are_trained_measured_and_resumed(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("text.en", "text.de", "text.align")]
    lines = [line for line in LINES if len(line.split()) > 1] * 8
    for path in files[:2]:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    links = (" ".join(f"{place}-{place}" for place in range(len(line.split()))) for line in lines)
    files[2].write_text("".join(f"{line}\n" for line in links), encoding="utf-8")
    sizes = {"width": 16, "layers": 2, "vocabulary": 300, "holdout": 4, "steps": 4, "at": [2], "rows": None}
    options = argparse.Namespace(**sizes)
    text = guided_alignment.shortened(files, tmp_path / "text", words=30)
    for weight in (0.0, 0.05):
        run = tmp_path / f"run-{weight}"
        guided_alignment.train(run, text, weight=weight, seed=3, options=options)
        assert guided_alignment.done(run) == 4
        row = guided_alignment.measure(run, seed=3)
        assert row["seed"] == 3 and row["pairs"] == 4 and str(row["aer"]).endswith("%")
