"""Speed and memory of trained systems. Each measurement has a process of its own, and systems take turns,
so that other work on the machine affects all of them alike."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.systems.scores import test_text
from benchmarks.training_speed import peak_mb, training_speed
from saccade.runs.experiment import read_experiment
from saccade.use.translator import Translator

UPDATES, WARMUP = 20, 3
SINGLE = 100
"""Sentences that are translated one at a time."""


def measure(run: Path, part: str, *, threads: int) -> dict[str, float]:
    """part "training": tokens/s, MB at the peak; "decoding": greedy sentences/s one by one, in bulk, MB.

    Memory is what came on top of a process that had everything imported.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    empty = peak_mb(device)
    if part == "training":
        plan = read_experiment(run / "config.toml", resolved=True)
        speed = training_speed(
            run / "data",
            plan.model,
            precision=plan.training.precision,
            batch_tokens=plan.training.batch_tokens,
            updates=UPDATES,
            warmup=WARMUP,
        )
        return {"tokens_per_second": speed["tokens_per_second"], "training_mb": speed["peak_mb"] - empty}
    translator, (lines, _) = Translator.load(run, device=device), test_text(run)
    translator.translate(lines[:SINGLE], beam=1)
    one_by_one = _rate(translator, [[line] for line in lines[:SINGLE]])
    in_bulk = _rate(translator, [lines])
    return {"one_by_one": one_by_one, "in_bulk": in_bulk, "decoding_mb": peak_mb(device) - empty}


def _rate(translator: Translator, batches: Sequence[Sequence[str]]) -> float:
    """Sentences/s, greedy; pieces in and out are inside the timer."""
    started = time.perf_counter()
    for lines in batches:
        translator.translate(lines, beam=1)
    return sum(len(lines) for lines in batches) / (time.perf_counter() - started)


def compare(
    runs: Mapping[str, Path], out: Path, *, threads: int, repeats: int
) -> dict[str, dict[str, list[float]]]:
    """Every system `repeats` times in turn: system to measure to values. What `out` has already stays."""
    found: dict[str, dict[str, list[float]]] = {}
    if out.is_file():
        found = json.loads(out.read_text(encoding="utf-8"))
    for turn in range(repeats):
        for system, run in runs.items():
            values = found.setdefault(system, {})
            if min((len(each) for each in values.values()), default=0) > turn:
                continue
            for part in ("training", "decoding"):
                for name, value in _apart(run, part, threads=threads).items():
                    values.setdefault(name, []).append(value)
            out.write_text(json.dumps(found, indent=1), encoding="utf-8")
            print(system, {name: round(each[-1], 1) for name, each in values.items()}, flush=True)
    return found


def _apart(run: Path, part: str, *, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.systems.speed", str(run), part, str(threads)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def medians(found: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    """The middle one of each list of values."""
    return {
        system: {name: statistics.median(values) for name, values in measures.items()}
        for system, measures in found.items()
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], threads=int(sys.argv[3]))))
