"""Train small Transformers without and with guided alignment, and compare AER and BLEU.

The two runs of a seed have the same text and settings except for `training.guided_alignment`; different seeds
have different weights and another order of the text. The alignments are those of eflomal (`saccade align
MODEL --method eflomal`) or of any other program, in Pharaoh's format. The error rate is that of the best head
on the included English-German pairs; BLEU is that of greedy search on the held-out text. Pairs with more than
--words words on a side are left out. --at prints the error rate of every head after some numbers of updates.
If it is started again, it resumes where it stopped.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.alignment import gold_set, head_table
from benchmarks.common import show
from saccade.alignment.heads import candidates
from saccade.evaluation import evaluate
from saccade.model_folder.manifest import read_description
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.training.distributed import Group
from saccade.use.translator import Translator


def shortened(files: Sequence[Path], out: Path, *, words: int) -> list[Path]:
    """The lines of parallel files whose first two have at most `words` words, written to a folder."""
    texts = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in files]
    rows = [row for row in zip(*texts, strict=True) if max(len(line.split()) for line in row[:2]) <= words]
    out.mkdir(parents=True, exist_ok=True)
    written = [out / path.name for path in files]
    for path, lines in zip(written, zip(*rows, strict=True), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return written


def tables_of(
    text: Sequence[Path], *, weight: float, seed: int, steps: int, options: argparse.Namespace
) -> dict[str, dict[str, object]]:
    """The configuration of one run; a weight of 0 trains without guided alignment."""
    guided = {"guided_alignment": weight} if weight else {}
    links = {"alignments": str(text[2])} if weight else {}
    sides = {"source_language": "en", "target_language": "de", "holdout": options.holdout}
    layers = {"encoder_layers": options.layers, "decoder_layers": options.layers}
    width = {"width": options.width, "feed_forward": 2 * options.width, "heads": 4}
    pace = {"steps": steps, "batch_tokens": 2048, "peak_rate": 5e-3, "warmup": 200, "save_every": 50}
    return {
        "data": {"source": str(text[0]), "target": str(text[1]), **links, **sides},
        "tokenizer": {"vocab_size": options.vocabulary},
        "model": {**width, **layers, "dropout": 0.1},
        "training": {"seed": seed, **pace, **guided},
        "validation": {"every": 1_000_000, "max_sentences": 1},
    }


def train(run: Path, text: Sequence[Path], *, weight: float, seed: int, options: argparse.Namespace) -> None:
    """Trains a run, or the rest of it; prints the error rates of its heads at each of `options.at`."""
    group = Group(device=torch.device("cpu"))
    for step in [*sorted(one for one in options.at if one < options.steps), options.steps]:
        if not (run / "config.toml").is_file():
            tables = tables_of(text, weight=weight, seed=seed, steps=step, options=options)
            start_run(read_experiment(tables=tables), run, group)
        elif done(run) < step:
            resume_run(run, group, overrides=[f"training.steps={step}"])
        else:
            continue
        title = f"alignment error rate of each head, {run.name}, {step:,} updates"
        show(title, head_table(loaded(run), gold_set()), options.rows)


def done(run: Path) -> int:
    """The number of updates of a run's last checkpoint; 0 if it has none."""
    last = run / "checkpoints" / "last"
    return int(read_description(last)["provenance"]["step"]) if (last / "model.json").is_file() else 0


def loaded(run: Path) -> Translator:
    """The last model of a run."""
    return Translator.load(run / "checkpoints" / "last", device="cpu")


def measure(run: Path, *, seed: int) -> dict[str, object]:
    """The scores of a run's last model; BLEU on its held-out text."""
    translator = loaded(run)
    best = candidates(translator, gold_set())[0]
    source, target = (
        (run / "data" / f"valid.{side}").read_text(encoding="utf-8").split("\n")[:-1]
        for side in ("source", "target")
    )
    scores, _ = evaluate(translator, source, target, beam=1)
    rates = {name: f"{getattr(best.scores, name):.1%}" for name in ("aer", "precision", "recall")}
    return {
        "run": run.name,
        "seed": seed,
        **rates,
        "by": str(best.heads),
        "BLEU": f"{scores.bleu:.2f}",
        "pairs": len(source),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("alignments", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/guided-alignment"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--at", type=int, nargs="*", default=[], help="numbers of updates")
    parser.add_argument("--words", type=int, default=12)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=2000)
    parser.add_argument("--holdout", type=int, default=500, help="pairs that are held out and translated")
    parser.add_argument("--weight", type=float, default=0.05)
    parser.add_argument("--out", dest="rows", type=Path, help="append the rows to this JSONL file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = [options.source, options.target, options.alignments]
    text = shortened(files, options.runs / "text", words=options.words)
    rows = []
    for seed in options.seeds:
        for name, weight in (("plain", 0.0), ("guided", options.weight)):
            run = options.runs / f"{name}-{seed}"
            train(run, text, weight=weight, seed=seed, options=options)
            rows.append(measure(run, seed=seed))
        show(f"guided alignment, {options.steps:,} updates", rows, None)
    if options.rows is not None:
        show(f"guided alignment, {options.steps:,} updates", rows, options.rows)


if __name__ == "__main__":
    main()
