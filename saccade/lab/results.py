"""Results on disk: the figures of an experiment with machine, date and settings, one JSON file each."""

import json
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from saccade.distribution import version
from saccade.errors import DamagedFile
from saccade.lab.experiment import Experiment, Figures, Settings
from saccade.storage.files import write_text
from saccade.storage.structured import read_object

_ADVICE = "Delete it and measure again."


@dataclass(frozen=True)
class Result:
    """The figures of one experiment and how they came about; outcome: that of the verdict.

    seconds: by the clock; cpu_seconds: of processor time, which on a busy machine says more; older results
    lack it.
    """

    name: str
    outcome: str
    figures: Figures
    small: bool
    seeds: Sequence[int]
    seconds: float
    date: str
    machine: dict[str, Any]
    cpu_seconds: float | None = None

    def fits(self, settings: Settings) -> bool:
        """Whether these settings and this version would measure the same."""
        same = self.small == settings.small and tuple(self.seeds) == settings.seeds
        return same and self.machine.get("saccade") == version()


def new_result(
    experiment: Experiment, figures: Figures, settings: Settings, *, seconds: float, cpu_seconds: float
) -> Result:
    """The result of a measurement that has just ended on this machine."""
    return Result(
        experiment.name,
        experiment.judge(figures).outcome,
        figures,
        settings.small,
        settings.seeds,
        round(seconds, 1),
        datetime.now(UTC).date().isoformat(),
        this_machine(),
        round(cpu_seconds, 1),
    )


def this_machine() -> dict[str, Any]:
    """The processor, its cores, the threads that torch uses, and the versions of what computes."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "saccade": version(),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    return name[1].strip() if name else platform.machine()


def result_file(out: Path, name: str) -> Path:
    """The file of an experiment's result in the folder of the lab."""
    return out / "results" / f"{name}.json"


def write_result(out: Path, result: Result) -> None:
    """Writes the result into the folder of the lab. Raises StorageError if that is not possible."""
    text = json.dumps(asdict(result), ensure_ascii=False, indent=1, allow_nan=False)
    write_text(result_file(out, result.name), f"{_compact(text)}\n")


def _compact(text: str) -> str:
    """The JSON with lists of numbers on one line each, so that a file can be read and compared."""
    return re.sub(r"\[[^\[\]{}\"]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)


def read_result(out: Path, name: str) -> Result | None:
    """The result of an experiment, None if it was not measured. Raises DamagedFile for another file."""
    path = result_file(out, name)
    if not path.exists():
        return None
    content = read_object(path, advice=_ADVICE)
    try:
        result = Result(**content)
    except TypeError as error:
        raise DamagedFile(f"{path}: not a result of the lab. {_ADVICE}") from error
    if result.name != name or not isinstance(result.figures, dict) or not isinstance(result.machine, dict):
        raise DamagedFile(f"{path}: not the result of {name}. {_ADVICE}")
    return result
