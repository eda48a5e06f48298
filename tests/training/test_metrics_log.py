"""Metrics survive interruption; the live line is silent away from a terminal."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from saccade.errors import UserError
from saccade.training.counters import Window
from saccade.training.meter import Meter
from saccade.training.metrics_log import MetricsLog, forget_after
from saccade.training.step import UpdateResult


def test_a_resumed_run_writes_each_step_once_and_a_cut_line_goes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "".join(json.dumps({"kind": "train", "step": step}) + "\n" for step in (1, 2, 3)) + '{"kind": "tr'
    )
    forget_after(path, 2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_lines_that_are_no_metrics_go_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    good = [json.dumps({"kind": "train", "step": step}).encode() for step in (1, 2)]
    damaged = [
        *(
            b"\xff\xfe\x00",
            b'{"kind": "tr\xe4in", "step": 1}',
            b"",
            b"3",
            b"[1]",
            b"null",
            b'{"kind": "valid"}',
        ),
        *(b'{"step": "1"}', b'{"step": null}', b'{"step": NaN}', b'{"step": -1}', b'{"step": true}'),
        *(b"[" * 100_000, b'{"step": {"step": 1}}', b'{"kind": "train", "step": 1'),
    ]
    path.write_bytes(b"\n".join([good[0], *damaged, good[1], *damaged]))
    forget_after(path, 5)
    assert path.read_bytes() == b"\n".join(good) + b"\n"


def test_metrics_that_are_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"metrics\.jsonl: not a file"):
        MetricsLog(tmp_path, step=0, steps=5)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match=r"metrics\.jsonl: not a file"):
        MetricsLog(tmp_path / "other", step=0, steps=5)
    assert not (tmp_path / "victim").exists()


def test_nothing_is_displayed_away_from_a_terminal(tmp_path: Path) -> None:
    screen = io.StringIO()
    with MetricsLog(tmp_path, step=0, steps=5, console=Console(file=screen)) as report:
        report.progress(1, "loss 3")
    assert screen.getvalue() == ""


def test_a_terminal_shows_progress_and_keeps_what_is_said(tmp_path: Path) -> None:
    screen = io.StringIO()
    with MetricsLog(
        tmp_path, step=0, steps=5, console=Console(file=screen, force_terminal=True, width=100)
    ) as report:
        report.progress(3, "loss 3.000")
        report.say("step 3 [best]")
    assert "loss 3.000" in screen.getvalue()
    assert "step 3 [best]" in screen.getvalue()


def test_a_quiet_report_touches_no_file(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, step=0, steps=5, quiet=True) as report:
        report.record("train", 1, {"loss": 1.0})
        report.say("nothing")
    assert list(tmp_path.iterdir()) == []


def test_the_meter_weighs_losses_by_tokens_and_leaves_skipped_updates_out() -> None:
    meter = Meter(Window())
    meter.add(UpdateResult(loss=1.0, tokens=100, gradient_norm=2.0, applied=True))
    meter.add(UpdateResult(loss=4.0, tokens=300, gradient_norm=4.0, applied=True))
    meter.add(UpdateResult(loss=float("nan"), tokens=300, gradient_norm=float("nan"), applied=False))
    values = meter.take()
    assert values["loss"] == (100 * 1.0 + 300 * 4.0) / 400
    assert values["gradient_norm"] == 3.0
    assert meter.take()["tokens_per_second"] == 0
