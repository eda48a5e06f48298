"""Perplexity of trained language models against the length of their memory at evaluation.

    python -m benchmarks.language_models runs/wikitext-2-* --text wikitext-2/test.txt --out figures

Each run's best model reads the text from beginning to end, once for each memory length. The length is the
number of states that Transformer-XL remembers and of tokens that a Transformer without memory reads once more
(a sliding window); a recurrent model has only one memory. Writes perplexity.png and perplexity.json into OUT
and prints the table, with the time that reading took. --same-length is for Transformer-XL.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import show
from saccade.nn.reading import MemoryConfig
from saccade.text.reading import read_text
from saccade.use.generator import TextGenerator

LENGTHS = (0, 16, 32, 64, 128, 256, 512, 1024)


def measure(run: Path, lines: list[str], *, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each memory length that the model can have."""
    plain = TextGenerator.load(run)
    kind = plain.config.model_dump()["kind"]
    looks_back = isinstance(plain.config, MemoryConfig)
    rows = []
    for memory in options.memory if looks_back else [None]:
        settings: dict[str, Any] = {} if memory is None else {"memory": memory}
        if options.segment is not None:
            settings["segment"] = options.segment
        if options.same_length and kind == "transformer-xl" and memory:
            settings["same_length"] = True
        writer = TextGenerator.load(run, **settings)
        started = time.perf_counter()
        score = writer.score(lines, streams=options.streams)
        seconds = time.perf_counter() - started
        rows.append(
            {
                "run": run.name,
                "kind": kind,
                "parameters": sum(weights.numel() for weights in plain.model.network.parameters()),
                "memory": memory,
                "word perplexity": round(score.word_perplexity, 3),
                "token perplexity": round(score.perplexity, 3),
                "bits a character": round(score.bits_per_character, 4),
                "seconds": round(seconds, 2),
            }
        )
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A curve for each run; a level line where memory has no length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for run in dict.fromkeys(row["run"] for row in rows):
        own = [row for row in rows if row["run"] == run]
        label = f"{run} ({own[0]['parameters'] / 1e6:.2f}M)"
        values = [row["word perplexity"] for row in own]
        if own[0]["memory"] is None:
            axes.axhline(values[0], linestyle="--", color="grey", label=label)
        else:
            axes.plot([row["memory"] for row in own], values, marker="o", label=label)
    axes.set_xscale("symlog", base=2, linthresh=16)
    lengths = sorted({row["memory"] for row in rows} - {None})
    axes.set_xticks(lengths, labels=[str(length) for length in lengths])
    axes.set_xlabel("memory at evaluation, tokens")
    axes.set_ylabel("perplexity per word")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure all runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--memory", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--segment", type=int, help="tokens read at a time; else each model's own")
    parser.add_argument("--same-length", action="store_true")
    parser.add_argument("--streams", type=int, default=1, help="1 is exact")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = read_text(options.text)
    rows = [row for run in options.runs for row in measure(run, lines, options=options)]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "perplexity.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    draw(rows, options.out / "perplexity.png")
    show(f"perplexity of {options.text.name}", rows, None)


if __name__ == "__main__":
    main()
