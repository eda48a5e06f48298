"""Train one small Transformer without and with guided alignment, and compare AER and BLEU.

Both runs have the same seed, text and settings except for `training.guided_alignment`. The alignments are
those of eflomal (`saccade align MODEL --method eflomal`) or of any other program, in Pharaoh's format. The
error rate is that of the best head on the included English-German pairs; BLEU is that of greedy search on
the validation text. Pairs with more than --words words on a side are left out. If it is started again, it
resumes where it stopped.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.common import show
from saccade.alignment.gold import included_gold
from saccade.alignment.heads import candidates
from saccade.evaluation import evaluate
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.training.distributed import Group
from saccade.use.translator import Translator


def shortened(files: list[Path], out: Path, *, words: int) -> list[Path]:
    """The lines of parallel files whose first two have at most `words` words, written to a folder."""
    texts = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in files]
    rows = [row for row in zip(*texts, strict=True) if max(len(line.split()) for line in row[:2]) <= words]
    out.mkdir(parents=True, exist_ok=True)
    written = [out / path.name for path in files]
    for path, lines in zip(written, zip(*rows, strict=True), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return written


def train(run: Path, text: list[Path], *, weight: float, options: argparse.Namespace) -> None:
    """One run, or the rest of it."""
    group = Group(device=torch.device("cpu"))
    if (run / "config.toml").is_file():
        resume_run(run, group, overrides=[f"training.steps={options.steps}"])
        return
    guided = {"guided_alignment": weight} if weight else {}
    links = {"alignments": str(text[2])} if weight else {}
    sides = {"source_language": "en", "target_language": "de", "holdout": 500}
    layers = {"encoder_layers": options.layers, "decoder_layers": options.layers}
    width = {"width": options.width, "feed_forward": 2 * options.width, "heads": 4}
    experiment = read_experiment(
        tables={
            "data": {"source": str(text[0]), "target": str(text[1]), **links, **sides},
            "tokenizer": {"vocab_size": options.vocabulary},
            "model": {**width, **layers, "dropout": 0.1},
            "training": {
                **guided,
                "steps": options.steps,
                "batch_tokens": 2048,
                "peak_rate": 5e-3,
                "warmup": 200,
                "save_every": 50,
            },
            "validation": {"every": 100_000},
        }
    )
    start_run(experiment, run, group)


def measure(run: Path, *, lines: int) -> dict[str, object]:
    """The scores of a run's last model."""
    translator = Translator.load(run / "checkpoints" / "last", device="cpu")
    gold = included_gold("en", "de")
    assert gold is not None
    best = candidates(translator, gold)[0]
    source, target = (
        (run / "data" / f"valid.{side}").read_text(encoding="utf-8").split("\n")[:lines]
        for side in ("source", "target")
    )
    scores, _ = evaluate(translator, source, target, beam=1)
    return {
        "run": run.name,
        "AER": f"{best.scores.aer:.1%}",
        "precision": f"{best.scores.precision:.1%}",
        "recall": f"{best.scores.recall:.1%}",
        "by": str(best.heads),
        "BLEU": f"{scores.bleu:.2f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("alignments", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/guided-alignment"))
    parser.add_argument("--words", type=int, default=12)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=2000)
    parser.add_argument("--lines", type=int, default=200, help="validation pairs that are translated")
    parser.add_argument("--weight", type=float, default=0.05)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = [options.source, options.target, options.alignments]
    text = shortened(files, options.out / "text", words=options.words)
    rows = []
    for name, weight in (("plain", 0.0), ("guided", options.weight)):
        train(options.out / name, text, weight=weight, options=options)
        rows.append(measure(options.out / name, lines=options.lines))
    show(f"guided alignment, {options.steps:,} updates", rows, None)


if __name__ == "__main__":
    main()
