"""saccade lab: what was measured stays, what cannot be done is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from saccade.errors import DamagedFile, Interrupted, NotFound, UserError
from saccade.lab.catalogue import EXPERIMENTS, find
from saccade.lab.experiment import Experiment, Figures, Settings, Verdict, Words, plain
from saccade.lab.experiments.future import EXPERIMENT as FUTURE
from saccade.lab.experiments.lookup import EXPERIMENT as LOOKUP
from saccade.lab.results import read_result, result_file
from saccade.lab.running import run
from tests.commands.conftest import Run, environment, refused


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


def alive(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def waits_for(condition: Callable[[], bool], *, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@pytest.mark.slow
def test_an_interrupt_ends_all_processes_and_keeps_what_they_had_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "saccade", "lab", "future", "padding", "data", "--out", str(tmp_path)]
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "OMP_NUM_THREADS": "2"},
        start_new_session=True,
    )
    quick = [result_file(tmp_path, name) for name in ("future", "padding")]
    while started.poll() is None and not all(file.exists() for file in quick):
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "2 of 3 experiments have results" in err and f"saccade lab data --out {tmp_path}" in err
    assert "Traceback" not in err
    assert waits_for(lambda: not alive(started.pid)), "a process of the group is left"
    assert all(read_result(tmp_path, file.stem) is not None for file in quick)


def test_a_process_that_was_killed_is_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            found: Future[Any] = Future()
            found.set_exception(BrokenProcessPool("a child process terminated abruptly"))
            return found

    monkeypatch.setattr("saccade.lab.running.ProcessPoolExecutor", lambda count, **_: Broken(count))
    with pytest.raises(UserError, match="lack of memory"):
        run(
            find(["future", "padding"]),
            tmp_path,
            Settings(small=True),
            again=False,
            done=lambda *_: None,
            processes=2,
        )


@pytest.mark.slow
def test_several_processes_measure_what_one_measures(tmp_path: Path) -> None:
    settings, chosen = Settings(small=True, seeds=(1,)), find(["future", "query-key", "padding"])
    for folder, processes in (("one", 1), ("two", 2)):
        run(chosen, tmp_path / folder, settings, again=False, done=lambda *_: None, processes=processes)
    for experiment in chosen:
        one, two = (read_result(tmp_path / folder, experiment.name) for folder in ("one", "two"))
        assert one is not None and two is not None and one.figures == two.figures


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
    def stop(score: float, keys: int) -> float:
        signal.raise_signal(signal.SIGINT)
        return 0.0

    monkeypatch.setattr("saccade.lab.experiments.lookup.weight_of_match", stop)
    result = saccade("lab", "lookup", "future", "--out", tmp_path)
    assert result.code == 130
    assert "1 of 2 experiments have results" in result.err
    assert f"Continue with: saccade lab lookup --out {tmp_path}" in result.err
    assert read_result(tmp_path, "future") is not None and read_result(tmp_path, "lookup") is None
