"""Train every kind of positions on short sentences, translate sentences up to four times as long.

The task is to reverse a row of random digits (or to copy it, --task copy). Both have a known ceiling, every
line right and a loss of 0, and a known floor, ln 10 = 2.30 nats a digit for guessing. The systems
differ by `model.positions` alone; --window sets `model.window` of all. Draws a curve for each into
OUT/extrapolation.png, writes the figures into OUT/extrapolation.json, and prints them as a table. If it is
started again, it resumes where it stopped, because runs and measurements stay in OUT.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import show
from saccade.errors import Interrupted, UserError
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.training.distributed import Group
from saccade.use.translator import Translator

KINDS = ("sinusoidal", "learned", "relative", "rotary", "alibi", "none")
PAIRS = 50_000


def digits(generator: random.Random, length: int) -> list[str]:
    return [str(generator.randrange(10)) for _ in range(length)]


def answer(row: Sequence[str], task: str) -> list[str]:
    return list(reversed(row)) if task == "reverse" else list(row)


def write(folder: Path, *, task: str, longest: int) -> None:
    """Training text: lengths 1 to `longest`, all equally frequent."""
    generator = random.Random(1)
    rows = [digits(generator, generator.randint(1, longest)) for _ in range(PAIRS)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("source", rows), ("target", [answer(row, task) for row in rows])):
        text = "".join(" ".join(line) + "\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def train(data: Path, run: Path, kind: str, *, options: argparse.Namespace) -> Translator:
    model: dict[str, Any] = {
        "width": 64,
        "heads": 4,
        "feed_forward": 256,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "norm": "pre",
        "dropout": 0.0,
        "positions": kind,
    }
    if kind == "learned":  # those beyond the training length exist, but nothing is learned there
        model["max_positions"] = 4 * options.length + 1
    if options.window is not None:
        model["window"] = options.window
    experiment = read_experiment(
        tables={
            "data": {"source": str(data / "source"), "target": str(data / "target"), "holdout": 0},
            "model": model,
            "training": {
                "steps": options.steps,
                "batch_tokens": 1024,
                "peak_rate": 2e-3,
                "warmup": 400,
                "schedule": "cosine",
                "label_smoothing": 0.0,
                "clip_norm": 1.0,
                "seed": options.seed,
            },
            "validation": {"every": options.steps},
            "decoding": {"beam": 1, "max_ratio": 1.0, "max_extra": 10},
        }
    )
    group = Group(device=torch.device("cpu"))
    if (run / "config.toml").is_file():
        resume_run(run, group)
    else:
        start_run(experiment, run, group)
    return Translator.load(run / "checkpoints" / "last", device="cpu")


def measure(translator: Translator, *, task: str, length: int, lines: int) -> dict[str, float]:
    """On unseen rows of one length: share of lines that are right, and nats a digit given those before it."""
    generator = random.Random(1000 + length)
    rows = [digits(generator, length) for _ in range(lines)]
    sources, targets = ([" ".join(row) for row in side] for side in (rows, [answer(r, task) for r in rows]))
    found = translator.translate(sources)
    right = sum(one.text == target for one, target in zip(found, targets, strict=True))
    loss = -sum(translator.score(sources, targets)) / (lines * (length + 1))
    return {"exact": right / lines, "loss": loss}


def draw(curves: dict[str, list[dict[str, float]]], out: Path, *, trained: int, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(title)
    names = {"exact": "lines entirely right", "loss": "nats a token, teacher-forced"}
    for axes, (key, name) in zip(figure.subplots(1, 2), names.items(), strict=True):
        axes.axvspan(0, trained, color="0.93", lw=0)
        for kind, rows in curves.items():
            lengths, values = [row["length"] for row in rows], [row[key] for row in rows]
            axes.plot(lengths, values, marker="o", ms=3, label=kind)
        if key == "loss":
            axes.axhline(2.302585, color="0.6", lw=0.8, ls=":")
            axes.set_yscale("symlog", linthresh=0.01)
            axes.set_ylim(0, 20)
        else:
            axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("digits in a line (grey: lengths of the training text)")
        axes.set_ylabel(name)
        axes.legend(fontsize=8)
    figure.savefig(out, dpi=110)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/extrapolation"))
    parser.add_argument("--task", choices=("reverse", "copy"), default="reverse")
    parser.add_argument("--length", type=int, default=16, help="longest row of the training text")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--lines", type=int, default=100, help="test rows of each length")
    parser.add_argument("--window", type=int, help="model.window")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    return parser


def curve(kind: str, options: argparse.Namespace) -> list[dict[str, float]]:
    """Train one kind and measure it at each length, once: OUT/KIND.json keeps the result."""
    result = options.out / f"{kind}.json"
    if result.is_file():
        rows: list[dict[str, float]] = json.loads(result.read_text(encoding="utf-8"))
        return rows
    translator = train(options.out / "text", options.out / "runs" / kind, kind, options=options)
    lengths = [round(options.length * share) for share in (0.5, 1, 1.0625, 1.125, 1.25, 1.5, 2, 3, 4)]
    settings = {"task": options.task, "lines": options.lines}
    rows = [{"length": n, **measure(translator, length=n, **settings)} for n in lengths]
    result.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(kind, {row["length"]: f"{row['exact']:.0%}" for row in rows}, file=sys.stderr, flush=True)
    return rows


def agree(options: argparse.Namespace) -> None:
    """Keep the options in OUT; UserError where it holds runs with others."""
    kept, own = options.out / "options.json", {"out", "kinds", "threads"}
    asked = {name: value for name, value in vars(options).items() if name not in own}
    if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != asked:
        raise UserError(f"{options.out}: holds runs with other options ({kept}); choose another --out.")
    options.out.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asked), encoding="utf-8")


def main() -> int:
    """One run for each kind, in turn; exit code 2 for what the user can repair, 130 when interrupted."""
    options = arguments().parse_args()
    torch.set_num_threads(options.threads)
    try:
        agree(options)
        write(options.out / "text", task=options.task, longest=options.length)
        report({kind: curve(kind, options) for kind in options.kinds}, options)
    except (UserError, Interrupted) as error:
        print(error, file=sys.stderr)
        return 130 if isinstance(error, Interrupted) else 2
    return 0


def report(curves: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    """A table on the screen, a picture, and the figures for whoever draws another."""
    title = f"{options.task} digits, trained on 1 to {options.length}, {options.steps} steps"
    title += f", seed {options.seed}" + (f", window {options.window}" if options.window else "")
    rows: list[dict[str, object]] = []
    for kind, lengths in curves.items():
        cells = {str(row["length"]): f"{row['exact']:.0%} {row['loss']:.3f}" for row in lengths}
        rows.append({"positions": kind, **cells})
    show(f"{title}: lines right, nats a token", rows, None)
    record = {"title": title, "options": {k: str(v) for k, v in vars(options).items()}, "curves": curves}
    (options.out / "extrapolation.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    draw(curves, options.out / "extrapolation.png", trained=options.length, title=title)
    print(f"{options.out / 'extrapolation.png'}")


if __name__ == "__main__":
    sys.exit(main())
