"""The script for a GPU, with tiny sizes on a CPU: it runs, keeps records, and goes on after an error."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as script


def test_parts_are_measured_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.jsonl"
    run = script.main(["--tiny", "--only", "scoring", "strings", "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["what"] for row in rows] == [row["what"] for row in run.rows]
    assert rows[0]["what"] == "ceiling" and rows[0]["tflops"] > 0
    assert not [row for row in rows if "failed" in row]
    same = {row["what"]: row for row in rows if "equal" in row}
    assert same["the same strings as float32: float32"]["equal"] == 8
    assert "scoring base float32" in capsys.readouterr().out


def test_an_error_is_a_row_and_the_other_parts_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setitem(script.PARTS, "scoring", broken)
    run = script.main(["--tiny", "--only", "scoring", "--budget", "0"])
    assert {"what": "scoring", "failed": "RuntimeError: no luck"} in run.rows


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_all_parts_run_on_a_cpu() -> None:
    run = script.main(["--tiny", "--budget", "100000"])
    assert not [row for row in run.rows if "failed" in row or "skipped" in row]
