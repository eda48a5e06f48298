"""What helps when there is little text: one factor at a time, over several seeds, with minutes beside BLEU.

Each factor is a configuration with a few settings changed. A run that was stopped is resumed when the command
is given again, a finished one is scored once, and the table shows what there is so far. Factors are compared
on the validation text; --test also scores the test text, for those that were chosen.

    python -m benchmarks.factors --config examples/multi30k-en-de.toml --runs runs/factors --seeds 1 2
    python -m benchmarks.factors --config examples/multi30k-en-de.toml --runs runs/factors --only best --test
    python -m benchmarks.factors --low-resource ../shared/data/tatoeba-en-zh en zh --runs runs/low-resource
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.common import show
from benchmarks.systems.runs import is_finished, train
from saccade.evaluation import score_text
from saccade.machine import use_threads
from saccade.model_folder.checkpoint import read_json
from saccade.runs.experiment import read_experiment
from saccade.storage.files import replace_file
from saccade.tasks.interface import Experiment
from saccade.text.corpus import DataConfig
from saccade.text.reading import read_text
from saccade.use.translator import Translator

SETTINGS: dict[str, tuple[str, ...]] = {
    "base": (),
    "r-drop 1": ("training.r_drop=1",),
    "r-drop 5": ("training.r_drop=5",),
    "bpe-dropout 0.05": ("tokenizer.sampling=0.05",),
    "bpe-dropout 0.1": ("tokenizer.sampling=0.1",),
    "layer dropout 0.1": ("model.layer_dropout=0.1",),
    "attention and inner dropout 0.1": ("model.attention_dropout=0.1", "model.activation_dropout=0.1"),
    "6 + 2 layers": ("model.encoder_layers=6", "model.decoder_layers=2"),
    "vocabulary of 6,000": ("tokenizer.vocab_size=6000",),
    "moving average 0.999": ("training.ema=0.999", "training.average=1"),
    "average of 20": ("training.average=20",),
    "longer": ("training.steps=16000", "validation.patience=20"),
    "best": ("training.r_drop=5", "tokenizer.sampling=0.1", "training.steps=16000", "validation.patience=20"),
}
"""The factors, by the name that the table shows."""

SIZES = (1_000, 5_000, 20_000)
GRID: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "vocabulary": tuple((f"{size:,}", (f"tokenizer.vocab_size={size}",)) for size in (500, 1000, 2000, 4000)),
    "dropout": tuple((str(rate), (f"model.dropout={rate}",)) for rate in (0.1, 0.3, 0.5)),
    "layers": tuple(
        (f"{a} + {b}", (f"model.encoder_layers={a}", f"model.decoder_layers={b}"))
        for a, b in ((2, 2), (4, 4), (6, 2))
    ),
    "sub-word sampling": tuple((str(p), (f"tokenizer.sampling={p}",)) for p in (0.0, 0.1, 0.2)),
    "r-drop": tuple((str(a), (f"training.r_drop={a}",)) for a in (0, 5)),
}
"""Settings that vary for little text, each by itself around `MIDDLE`."""
MIDDLE = (
    *("tokenizer.vocab_size=2000", "tokenizer.character_coverage=0.9995", "model.preset=tiny"),
    *("model.dropout=0.3", "training.batch_tokens=4096", "training.peak_rate=3e-3", "training.warmup=400"),
    *("training.steps=6000", "training.average=5", "validation.every=100", "validation.patience=15"),
    *("decoding.beam=5", "decoding.length_penalty=power", "decoding.alpha=1.0"),
)


@dataclass(frozen=True)
class Case:
    """A row of the table: its name, and the experiment of each seed by the name of its run folder."""

    name: str
    runs: Mapping[str, Experiment]


@dataclass(frozen=True)
class Outcome:
    """One finished run. valid, test: BLEU under the model's own decoding settings; test: None if not asked
    for."""

    minutes: float
    updates: int
    valid: float
    chrf: float
    test: float | None = None


def cases(config: Path, chosen: Iterable[str], seeds: Sequence[int], overrides: Sequence[str]) -> list[Case]:
    """The factors of `SETTINGS` over a configuration."""
    return [
        Case(
            name, {f"{_slug(name)}-{seed}": _plan(config, overrides, SETTINGS[name], seed) for seed in seeds}
        )
        for name in chosen
    ]


def low_resource(
    folder: Path, sides: tuple[str, str], *, out: Path, seeds: Sequence[int], overrides: Sequence[str]
) -> Iterator[Case]:
    """The cases of `GRID` for a corpus cut to its first pairs; settings that are `MIDDLE` come once."""
    for size in SIZES:
        files = [_cut(folder / f"train.{side}", size, out / f"{size}.{side}") for side in sides]
        data = [
            *(f"data.{name}={path}" for name, path in zip(("source", "target"), files, strict=True)),
            *(
                f"data.valid_{name}={folder / f'dev.{side}'}"
                for name, side in zip(_SIDES, sides, strict=True)
            ),
            *(
                f"data.test_{name}={folder / f'test.{side}'}"
                for name, side in zip(_SIDES, sides, strict=True)
            ),
        ]
        seen: set[str] = set()
        for factor, (value, settings) in ((f, one) for f, values in GRID.items() for one in values):
            plans = {
                f"{size}-{_slug(factor)}-{_slug(value)}-{seed}": _plan(
                    None, [*MIDDLE, *data, *overrides], settings, seed
                )
                for seed in seeds
            }
            key = json.dumps([one.tables() for one in plans.values()], sort_keys=True, default=str)
            if key not in seen:
                seen.add(key)
                yield Case(f"{size:,} pairs, {factor} {value}", plans)


_SIDES = ("source", "target")


def _plan(config: Path | None, overrides: Sequence[str], settings: Sequence[str], seed: int) -> Experiment:
    return read_experiment(config, overrides=[*overrides, *settings, f"training.seed={seed}"])


def _cut(file: Path, lines: int, to: Path) -> Path:
    """The first lines of a file as a file of their own."""
    if not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        first = itertools.islice(read_text(file), lines)
        with replace_file(to) as stream:
            stream.write("".join(f"{line}\n" for line in first).encode())
    return to


def outcome(run: Path, plan: Experiment, *, test: bool) -> Outcome | None:
    """The scores of a run, which stay in its folder; None for a run that is not finished."""
    if not (run / "config.toml").is_file() or not is_finished(run):
        return None
    place = run / "factors.json"
    kept = Outcome(**read_json(place)) if place.is_file() else None
    if kept is not None and (kept.test is not None or not test):
        return kept
    counters = read_json(run / "checkpoints" / "last" / "training.json")["counters"]
    average = run / "checkpoints" / "average"
    translator = Translator.load(average if average.is_dir() else run, device="cpu")
    data, tokenize = cast(DataConfig, plan.data), cast(Any, plan.validation).tokenize
    valid = _score(translator, data.valid_source, data.valid_target, tokenize)
    found = Outcome(
        minutes=counters["seconds"] / 60,
        updates=counters["step"],
        valid=valid.bleu,
        chrf=valid.chrf,
        test=_score(translator, data.test_source, data.test_target, tokenize).bleu if test else None,
    )
    with replace_file(place) as stream:
        stream.write(json.dumps(asdict(found)).encode())
    return found


def _score(translator: Translator, source: Any, target: Any, tokenize: str | None) -> Any:
    sources, references = (
        [line for file in _files(side) for line in read_text(file)] for side in (source, target)
    )
    texts = [one.text for one in translator.translate(sources)]
    return score_text(texts, references, tokenize=tokenize)


def _files(value: Any) -> list[Path]:
    return [Path(value)] if isinstance(value, str | Path) else [Path(one) for one in value]


def row(case: Case, found: Mapping[str, Outcome | None], *, test: bool) -> dict[str, object]:
    """A row of the table: means over the seeds that are finished, with the standard deviation."""
    done = [one for one in found.values() if one is not None]
    cells: dict[str, object] = {"factor": case.name, "seeds": f"{len(done)} of {len(found)}"}
    cells["minutes"] = _mean([one.minutes for one in done], 0)
    cells["updates"] = _mean([one.updates for one in done], 0)
    cells["validation BLEU"] = _mean([one.valid for one in done])
    cells["validation chrF"] = _mean([one.chrf for one in done])
    if test:
        cells["test BLEU"] = _mean([one.test for one in done if one.test is not None])
    return cells


def _mean(values: Sequence[float], digits: int = 2) -> str:
    if not values:
        return ""
    middle = f"{statistics.mean(values):,.{digits}f}"
    return middle if len(values) == 1 or not digits else f"{middle} ±{statistics.stdev(values):.{digits}f}"


def _slug(name: str) -> str:
    return "".join(one if one.isalnum() or one in ".-" else "-" for one in name.lower())


def main() -> None:
    """Trains what is missing, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("examples/multi30k-en-de.toml"))
    parser.add_argument("--low-resource", nargs=3, metavar=("FOLDER", "SOURCE", "TARGET"))
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--only", nargs="+", choices=[*SETTINGS], help="factors; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--report", action="store_true", help="train nothing, print the table alone")
    parser.add_argument("--test", action="store_true", help="also score the test text")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSONL file for the table")
    options = parser.parse_args()
    use_threads(options.threads)
    if options.low_resource:
        folder, *sides = options.low_resource
        every: list[Case] = [
            *low_resource(
                Path(folder),
                (sides[0], sides[1]),
                out=options.runs / "text",
                seeds=options.seeds,
                overrides=options.overrides,
            )
        ]
    else:
        every = cases(options.config, options.only or SETTINGS, options.seeds, options.overrides)
    # All factors with the first seed come before the second: the table is of use before all is done.
    for number in range(0 if options.report else len(options.seeds)):
        for case in every:
            name, plan = [*case.runs.items()][number]
            train(options.runs / name, plan)
            outcome(options.runs / name, plan, test=options.test)
    rows = [
        row(
            case,
            {name: outcome(options.runs / name, plan, test=options.test) for name, plan in case.runs.items()},
            test=options.test,
        )
        for case in every
    ]
    show("Factors", rows, options.out)


if __name__ == "__main__":
    main()
