"""Seconds from starting `saccade translate` to the first translation of a fresh process."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import arguments, corpus, show
from translation import random_model

from saccade.checkpoint import save_model

WAYS = {
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "saccade --help": ["-m", "saccade", "--help"],
    "saccade translate, one line": ["-m", "saccade", "translate"],
}


def main() -> None:
    """Time each command `--runs` times, in turn."""
    options = arguments(__doc__ or "").parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as scratch:
        text = corpus(options.data, Path(scratch) / "text")
        model = Path(scratch) / "model"
        save_model(model, random_model(text.train, "small", 8000 if "multi30k" in text.name else None))
        for repetition in range(options.runs + 1):
            for name, command in WAYS.items():
                extra = [str(model), "--max-length", "15"] if "translate" in command else []
                started = time.perf_counter()
                subprocess.run(
                    [sys.executable, *command, *extra],
                    input=b"A dog runs.\n",
                    capture_output=True,
                    check=True,
                )
                if repetition:  # the first warms the page cache
                    seconds[name].append(time.perf_counter() - started)
    rows: list[dict[str, object]] = [
        {
            "process": name,
            "seconds": f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]",
        }
        for name, values in seconds.items()
    ]
    show("start-up, small preset", rows, options.out)


if __name__ == "__main__":
    main()
