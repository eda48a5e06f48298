"""The comparison from end to end, tiny: stages leave results, and go on where they stopped."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.systems.__main__ import main
from saccade.training.eager import EagerStep
from tests.training.conftest import write_corpus
from tests.training.test_resume import assert_same_run

CONFIG = """
[data]
source = "{folder}/train.en"
target = "{folder}/train.de"
valid_source = "{folder}/train.en"
valid_target = "{folder}/train.de"
test_source = "{folder}/train.en"
test_target = "{folder}/train.de"

[tokenizer]
vocab_size = 60
byte_fallback = false

[model]
preset = "tiny"

[training]
steps = 4
batch_tokens = 200
warmup = 2
log_every = 1

[validation]
every = 2
max_sentences = 3

[decoding]
max_length = 5
"""
PLACES = ("layers", "crossovers", "systems", "lengths")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    write_corpus(tmp_path, count=60)
    (tmp_path / "config.toml").write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    (tmp_path / "docs").mkdir()
    page = "".join(f"<!-- {name} -->\nnothing\n<!-- /{name} -->\n" for name in PLACES)
    (tmp_path / "docs" / "systems.md").write_text(page, encoding="utf-8")
    monkeypatch.setattr("benchmarks.systems.layers.LENGTHS", (8, 16))
    options = {"--config": "config.toml", "--runs": "runs", "--docs": "docs"}
    paths = [word for name, path in options.items() for word in (name, str(tmp_path / path))]
    return ["systems", "--systems", "recurrent", "rotary", "--seeds", "1", "2", "--repeats", "1", *paths]


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", words)
    return main()


@pytest.mark.slow
def test_stages_leave_results_and_start_nothing_anew(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = ["layers", "train", "score", "speed", "report"]
    assert run([*command[:1], *stages, *command[1:]], monkeypatch) == 0
    page = (tmp_path / "docs" / "systems.md").read_text(encoding="utf-8")
    assert "nothing" not in page
    assert page.count("recurrent, additive attention") == 2
    for name in ("layers", "lengths", "progress"):
        assert (tmp_path / "docs" / "systems" / f"{name}.png").stat().st_size > 10_000
    record = json.loads((tmp_path / "docs" / "systems" / "results.json").read_text(encoding="utf-8"))
    assert record["layers"]["lengths"].keys() == {"8", "16"}
    assert [len(seeds) for seeds in record["systems"]["runs"].values()] == [2, 2]
    speed = record["systems"]["speed"]
    assert all(value > 0 for one in speed.values() for values in one.values() for value in values)

    results = [path for path in (tmp_path / "runs").rglob("*.json*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in results}
    assert run([*command[:1], *stages, *command[1:]], monkeypatch) == 0
    assert {path: path.read_bytes() for path in results} == {path: text for path, (_, text) in before.items()}
    trained = [path for path in results if path.name in ("metrics.jsonl", "training.json", "test.json")]
    assert {path: path.stat().st_mtime_ns for path in trained} == {path: before[path][0] for path in trained}

    capsys.readouterr()
    words = [*command[:1], "train", "--set", "training.steps=6", *command[1:]]
    assert run(words, monkeypatch) == 2
    assert "was made with training.steps = 4, and 6 is asked for" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_was_stopped_is_picked_up(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = [*command[:1], "train", *(word for word in command[1:] if word not in ("rotary", "2"))]
    assert run(one, monkeypatch) == 0
    whole = (tmp_path / "runs" / "recurrent-1").rename(tmp_path / "whole")
    update, calls = EagerStep.__call__, iter(range(100))

    def stopping(self: EagerStep, shares: Any, *, rate: float) -> Any:
        if next(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, shares, rate=rate)

    with monkeypatch.context() as patch:
        patch.setattr(EagerStep, "__call__", stopping)
        assert run(one, monkeypatch) == 130
    assert run(one, monkeypatch) == 0
    assert_same_run(whole, tmp_path / "runs" / "recurrent-1")


def test_an_unknown_stage_and_a_wrong_setting_are_told(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run([*command[:1], "trian", *command[1:]], monkeypatch)
    assert "no such stage: trian" in capsys.readouterr().err
    assert run([*command[:1], "train", "--set", "model.window=x", *command[1:]], monkeypatch) == 2
    assert "model.window" in capsys.readouterr().err
