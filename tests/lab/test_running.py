"""saccade lab: what was measured stays, what cannot be done is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from saccade.errors import DamagedFile, Interrupted, NotFound
from saccade.lab.catalogue import EXPERIMENTS, find
from saccade.lab.experiment import Experiment, Figures, Settings, Verdict, Words, plain
from saccade.lab.experiments.lookup import LOOKUP
from saccade.lab.experiments.masks import FUTURE
from saccade.lab.results import read_result, result_file
from saccade.lab.running import run
from tests.commands.conftest import Run, refused


def counting(name: str, calls: list[str], *, stop: bool = False) -> Experiment:
    def measure(settings: Settings) -> Figures:
        calls.append(name)
        if stop:
            raise KeyboardInterrupt
        return {"value": 1.0}

    def judge(figures: Figures) -> Verdict:
        return Verdict("holds", plain("so"))

    text = Words(name, name)
    return Experiment(name, text, text, text, text, measure, judge, LOOKUP.chart, text, LOOKUP.code)


def test_what_was_measured_before_an_interrupt_stays_and_the_rest_follows(tmp_path: Path) -> None:
    calls: list[str] = []
    first, last = counting("first", calls), counting("last", calls)
    stopping = counting("middle", calls, stop=True)
    with pytest.raises(Interrupted, match="1 of 3"):
        run([first, stopping, last], tmp_path, Settings(), again=False, done=lambda *_: None)
    seen: list[tuple[str, bool]] = []
    run(
        [first, counting("middle", calls), last],
        tmp_path,
        Settings(),
        again=False,
        done=lambda experiment, result, now: seen.append((experiment.name, now)),
    )
    assert seen == [("first", False), ("middle", True), ("last", True)]
    assert calls == ["first", "middle", "middle", "last"]


def test_results_of_other_settings_are_not_taken(tmp_path: Path) -> None:
    calls: list[str] = []
    for settings in (Settings(small=True), Settings(), Settings(seeds=(7,)), Settings(seeds=(7,))):
        run([counting("one", calls)], tmp_path, settings, again=False, done=lambda *_: None)
    assert len(calls) == 3


def test_a_result_holds_figures_settings_machine_and_date(tmp_path: Path) -> None:
    run([FUTURE], tmp_path, Settings(small=True, seeds=(4,)), again=False, done=lambda *_: None)
    content = json.loads(result_file(tmp_path, "future").read_text(encoding="utf-8"))
    assert content["small"] is True and content["seeds"] == [4] and len(content["date"]) == 10
    assert {"processor", "threads", "python", "torch", "saccade"} <= content["machine"].keys()
    result = read_result(tmp_path, "future")
    assert result is not None and FUTURE.judge(result.figures).outcome == result.outcome


@pytest.mark.parametrize("text", ["", "[]", '{"name": "future"}', '{"name"', "\x00"])
def test_a_file_that_is_no_result_is_one_clear_message(tmp_path: Path, text: str) -> None:
    path = result_file(tmp_path, "future")
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"future\.json"):
        read_result(tmp_path, "future")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(NotFound, match=r"feature: no such experiment\. Do you mean future\?"):
        find(["future", "feature"])
    with pytest.raises(NotFound, match="All are: scaling, future"):
        find(["qqqq"])
    assert find(["padding", "scaling", "padding"]) == tuple(EXPERIMENTS[place] for place in (0, 2))


def test_the_command_measures_one_and_writes_its_pages(saccade: Run, tmp_path: Path) -> None:
    result = saccade("lab", "lookup", "--out", tmp_path)
    assert result.code == 0, result.err
    assert "Verdict: holds only under a condition" in result.text
    assert "saccade/nn/attention.py:" in result.text
    page = (tmp_path / "lookup.md").read_text(encoding="utf-8")
    assert "pictures/lookup.en.svg" in page and (tmp_path / "pictures" / "lookup.zh.svg").is_file()
    listed = saccade("lab", "--list", "--out", tmp_path)
    assert len(listed.lines) == len(EXPERIMENTS)
    assert sum("holds" in line for line in listed.lines) == 1
    chinese = saccade("lab", "lookup", "--lang", "zh", "--out", tmp_path)
    assert "结论" in chinese.text and "有条件成立" in chinese.text


def test_without_matplotlib_there_are_pages_without_pictures(
    saccade: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    result = saccade("lab", "lookup", "--out", tmp_path)
    assert result.code == 0
    assert "[plot]" in result.err
    assert "pictures/" not in (tmp_path / "lookup.md").read_text(encoding="utf-8")


def test_the_command_refuses_what_it_does_not_know(saccade: Run, tmp_path: Path) -> None:
    refused(saccade("lab", "lockup", "--out", tmp_path), "lockup", "lookup", "--list")
    refused(saccade("lab", "lookup", "--lang", "fr", "--out", tmp_path), "fr")
    blocked = tmp_path / "file"
    blocked.write_text("mine", encoding="utf-8")
    refused(saccade("lab", "lookup", "--out", blocked), str(blocked))
    assert blocked.read_text(encoding="utf-8") == "mine"


def test_an_interrupted_command_says_how_to_continue(
    saccade: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("saccade.lab.running.new_result", stop)
    result = saccade("lab", "lookup", "future", "--out", tmp_path)
    assert result.code == 130
    assert (
        "0 of 2 experiments have results" in result.err
        and f"saccade lab lookup future --out {tmp_path}" in result.err
    )
