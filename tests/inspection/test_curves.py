"""Curves of a run: what metrics.jsonl says, nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saccade.errors import UserError
from saccade.inspection.curves import draw_curves, read_metrics

RECORDS = [
    {"kind": "train", "step": 10, "loss": 5.0, "rate": 1e-3},
    {"kind": "valid", "step": 10, "loss": 4.5, "bleu": 1.0, "chrf": 20.0, "exact": 0.0},
    {"kind": "skipped", "step": 11, "loss": "nan"},
    {"kind": "train", "step": 20, "loss": 3.0, "rate": 2e-3},
]


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    return path


def test_lines_are_sorted_by_kind_and_a_half_written_one_is_left_out(metrics: Path) -> None:
    with metrics.open("a", encoding="utf-8") as stream:
        stream.write('{"kind": "train", "st')
    found = read_metrics(metrics)
    assert [record["step"] for record in found["train"]] == [10, 20]
    assert found["valid"] == [RECORDS[1]]


def test_a_line_with_bad_bytes_is_left_out(metrics: Path) -> None:
    expected = read_metrics(metrics)
    metrics.write_bytes(b'{"kind": \xff}\n' + metrics.read_bytes())
    assert read_metrics(metrics) == expected


def test_the_picture_is_written(metrics: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_curves(metrics, out=tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_missing_or_empty_metrics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the metrics"):
        read_metrics(tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    with pytest.raises(UserError, match="holds no metrics"):
        read_metrics(tmp_path / "empty")
