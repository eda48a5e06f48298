"""What pre-training an encoder buys a tagger: accuracy at several shares of the labels.

FOLDER holds en_ewt-ud-{train,dev,test}.conllu of https://github.com/UniversalDependencies/UD_English-EWT
(CC BY-SA 4.0); ENCODER is a run of kind bert, such as that of examples/wikitext-2-bert.toml. For each share
of the training sentences and each seed, which draws the sentences and the weights, three taggers are trained:
the pre-trained encoder, the same encoder with random weights, and the tagger of words and spellings
(examples/ewt-tagger.toml). The dev text chooses the checkpoint. If it is started again, it resumes where it
stopped.
"""

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import show
from saccade.inspection.picture import save
from saccade.model_folder.checkpoint import load_model, save_model
from saccade.models import build_model
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.training.distributed import Group
from saccade.use.tagger import WordLabeller

WAYS = ("pre-trained", "random encoder", "words and spelling")
SHARES = {1: (200, 1024), 10: (500, 2048), 100: (1000, 4096)}
"""Updates and pieces of a batch for each share of the sentences, in percent."""
WORDS = {"kind": "tagger", "encoder": "transformer", "kernel": 3, "width": 128, "feed_forward": 128}


def drawn(folder: Path, out: Path, *, share: int, seed: int) -> Path:
    """A file with a share of the training sentences, in percent, at least one."""
    sentences = (folder / "en_ewt-ud-train.conllu").read_text(encoding="utf-8").strip().split("\n\n")
    kept = random.Random(seed).sample(sentences, max(len(sentences) * share // 100, 1))
    path = out / f"train-{share}-{seed}.conllu"
    path.write_text("".join(f"{one}\n\n" for one in kept), encoding="utf-8")
    return path


def untrained(encoder: Path, out: Path, *, seed: int) -> Path:
    """A model folder with the encoder's vocabulary and sizes, and random weights."""
    folder = out / f"random-{seed}"
    if not folder.exists():
        model = load_model(encoder)
        torch.manual_seed(seed)
        network = build_model(model.config, model.network.vocabulary)
        save_model(folder, replace(model, network=network))
    return folder


def tables(text: Path, options: argparse.Namespace, *, way: str, share: int, seed: int) -> dict[str, Any]:
    """The configuration of one run."""
    steps, batch_tokens = SHARES[share]
    pace = {"steps": steps, "batch_tokens": batch_tokens, "warmup": steps // 10, "schedule": "cosine"}
    training = {"seed": seed, "clip_norm": 1.0, "save_every": max(steps // 4, 50), **pace}
    if way == "words and spelling":
        model, training["peak_rate"] = WORDS, 2e-3
    else:
        encoder = (
            options.encoder if way == "pre-trained" else untrained(options.encoder, options.runs, seed=seed)
        )
        model, training["peak_rate"] = {"kind": "bert-tagger"}, 5e-4
        training["encoder_from"] = str(encoder)
    return {
        "data": {"text": str(text), "valid_text": str(options.folder / "en_ewt-ud-dev.conllu")},
        "model": model,
        "training": training,
        "validation": {"every": max(steps // 5, 40)},
    }


def accuracy(options: argparse.Namespace, *, way: str, share: int, seed: int) -> float:
    """The accuracy on the test text, in percent, of a run, which is trained unless it has been."""
    run = options.runs / f"{way.replace(' ', '-')}-{share}-{seed}"
    scores = run / "test.json"
    if not scores.is_file():
        group = Group(device=torch.device("cpu"))
        if (run / "config.toml").is_file():
            resume_run(run, group)
        else:
            text = drawn(options.folder, options.runs, share=share, seed=seed)
            start_run(
                read_experiment(tables=tables(text, options, way=way, share=share, seed=seed)), run, group
            )
        labeller = WordLabeller.load(run, device="cpu")
        found = labeller.score(labeller.read(options.folder / "en_ewt-ud-test.conllu", answers=True))
        scores.write_text(json.dumps(100 * found.accuracy))
    value: float = json.loads(scores.read_text())
    return value


def draw(found: dict[str, dict[int, list[float]]], out: Path) -> None:
    """Draws accuracy against the share of the sentences: each seed as a point, their mean as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, (way, by_share) in enumerate(found.items()):
        shares = sorted(by_share)
        means = [statistics.mean(by_share[share]) for share in shares]
        axes.plot(shares, means, marker="o", markersize=4, color=f"C{number}", label=way)
        for share in shares:
            points = by_share[share]
            axes.plot([share] * len(points), points, "x", markersize=5, color=f"C{number}", alpha=0.7)
    axes.set_xscale("log")
    axes.set_xticks(list(SHARES), [f"{share} %" for share in SHARES])
    axes.set_xlabel("share of the labelled sentences")
    axes.set_ylabel("accuracy on the test text, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save(figure, out)


def rows_of(found: dict[str, dict[int, list[float]]]) -> list[dict[str, object]]:
    """One row for each way and share: the mean and the spread of accuracy over seeds, in percent."""
    return [
        {
            "start": way,
            "share": f"{share} %",
            "accuracy": f"{statistics.mean(values):.2f}",
            "seeds": f"{min(values):.2f} to {max(values):.2f}",
        }
        for way, by_share in found.items()
        for share, values in sorted(by_share.items())
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/pretraining"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--shares", type=int, nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--picture", type=Path, help="draw the curves to this file")
    parser.add_argument("--out", dest="rows", type=Path, help="append the rows to this JSONL file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.runs.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[int, list[float]]] = {way: {share: [] for share in options.shares} for way in WAYS}
    for seed in options.seeds:
        for share in sorted(options.shares):
            for way in WAYS:
                found[way][share].append(accuracy(options, way=way, share=share, seed=seed))
                print(f"{way}, {share} %, seed {seed}: {found[way][share][-1]:.2f} %", flush=True)
    show("accuracy of taggers of universal parts of speech", rows_of(found), options.rows)
    if options.picture is not None:
        draw(found, options.picture)


if __name__ == "__main__":
    main()
