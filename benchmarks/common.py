"""The text, the description of the machine and the repeated timings that all benchmarks share."""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from saccade.distribution import version
from saccade.text.corpus import DataConfig
from saccade.text.numbers import write_corpus
from saccade.text.prepare import prepare
from saccade.text.tokenizer import TokenizerConfig

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Corpus:
    """Training and test text, source and target."""

    name: str
    train: tuple[Path, Path]
    test: tuple[Path, Path]

    def test_lines(self) -> list[str]:
        """Source side of the test text."""
        return self.test[0].read_text(encoding="utf-8").split("\n")[:-1]

    def references(self) -> list[str]:
        """Target side of the test text."""
        return self.test[1].read_text(encoding="utf-8").split("\n")[:-1]


def arguments(description: str) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data", type=Path, default=ROOT / "../shared/data/multi30k", help="folder of Multi30k"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="timed repetitions, after one of warm-up")
    parser.add_argument("--out", type=Path, help="append the rows to this JSONL file")
    return parser


def corpus(folder: Path, scratch: Path) -> Corpus:
    """Multi30k in `folder`, or number words written into `scratch`."""
    if (folder / "train.en").exists():
        parts = ("train", "test_2016_flickr")
        return Corpus(
            "multi30k en-de", *(((folder / f"{part}.en"), (folder / f"{part}.de")) for part in parts)
        )
    write_corpus(scratch)
    return Corpus(
        "number words", *(((scratch / f"{part}.en"), (scratch / f"{part}.de")) for part in ("train", "test"))
    )


def prepare_corpus(folder: Path, scratch: Path) -> Corpus:
    """`corpus`, prepared in `scratch`/data: Multi30k with 8,000 pieces."""
    text = corpus(folder, scratch / "text")
    prepare(
        DataConfig(source=(text.train[0],), target=(text.train[1],), holdout=0),
        TokenizerConfig(vocab_size=8000 if "multi30k" in text.name else None),
        out=scratch / "data",
    )
    return text


def machine() -> dict[str, str | int]:
    """Hardware and versions, for the record."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 0,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": str(torch.__version__),
        "saccade": version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def spread(values: Sequence[float]) -> str:
    """Median [lowest-highest]."""
    return f"{statistics.median(values):,.0f} [{min(values):,.0f}-{max(values):,.0f}]"


def command() -> str:
    """What was typed, for the record: where results go left out, of absolute paths the last part alone."""
    spec = sys.modules["__main__"].__spec__
    module = "benchmarks" if spec is None else spec.name.removesuffix(".__main__")
    words = iter(sys.argv[1:])
    kept = [word for word in words if word != "--out" or not next(words)]
    shown = [Path(word).name if Path(word).is_absolute() else word for word in kept]
    return shlex.join(["python", "-m", module, *shown])


def show(title: str, rows: Sequence[dict[str, object]], out: Path | None) -> None:
    """Print the rows as a table and append them to a JSONL file with the machine."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console = Console()
    console.print(table)
    console.print(machine())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8") as file:
            for row in rows:
                record = {"benchmark": title, "command": command(), **row, **machine()}
                file.write(json.dumps(record) + "\n")
