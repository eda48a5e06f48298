"""Tables and pictures into docs/, of every stage that has results.

A table stands between <!-- NAME --> and <!-- /NAME -->; what is around it is written by hand.
"""

import json
import re
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.systems.catalogue import SYSTEMS
from benchmarks.systems.layers import KINDS, SHORT, crossover
from benchmarks.systems.pictures import LABELS, draw_layers, draw_lengths, draw_progress
from benchmarks.systems.scores import Result, bucket_names
from benchmarks.systems.speed import medians
from saccade.errors import UserError

THRESHOLDS = (10, 20, 30)
"""BLEU scores of the validation text for which the number of updates is shown."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown, numbers as they come."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def insert(page: Path, name: str, text: str) -> None:
    """Put `text` in its place on the page; UserError where the page has none."""
    content = page.read_text(encoding="utf-8")
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    if not re.search(pattern, content, re.DOTALL):
        raise UserError(
            f"{page}: no place for the table {name}: it needs <!-- {name} --> and <!-- /{name} -->."
        )
    new = re.sub(pattern, lambda found: f"{found[1]}{text}\n{found[2]}", content, flags=re.DOTALL)
    page.write_text(new, encoding="utf-8")


# --- one layer -----------------------------------------------------------------------------------

Found = Mapping[str, Mapping[str, Mapping[str, float]]]


def layer_tables(found: Found) -> str:
    """Measures by length, and the length from which attention costs more."""
    measures: dict[str, Callable[[Mapping[str, float]], str]] = {
        "Multiplications of a forward pass, millions": lambda v: f"{v['multiplications'] / 1e6:,.1f}",
        "Milliseconds, forward / with gradient": lambda v: f"{_short(v['forward'])} / {_short(v['both'])}",
        "MB at the peak of both": lambda v: f"{v['peak_mb']:,.1f}",
        "Operations in the longest chain": lambda v: f"{v['chain']:,.0f}",
    }
    parts = []
    for title, cell in measures.items():
        rows = ([f"{int(n):,}", *(cell(kinds[kind]) for kind in KINDS)] for n, kinds in found.items())
        parts.append(f"{title}:\n\n{table(['length', *LABELS.values()], rows)}")
    return "\n\n".join([*parts, f"What each layer is made of and reaches:\n\n{_reach_table(found)}"])


def _reach_table(found: Found) -> str:
    head = ["", *LABELS.values()]
    some = found[max(found, key=int)]
    last = min(max(map(int, found)), 512)
    rows = [
        ["parameters", *(f"{some[kind]['parameters']:,.0f}" for kind in KINDS)],
        [
            f"positions that one layer reaches back, of {last - 1}",
            *(f"{some[kind]['reach']:.0f}" for kind in KINDS),
        ],
        [
            f"layers (GRU: steps) between the ends of {SHORT} positions; local: window 8",
            *(f"{some[kind]['path']:.0f}" for kind in KINDS),
        ],
    ]
    return table(head, rows)


def _short(seconds: float) -> str:
    milliseconds = 1e3 * seconds
    return f"{milliseconds:,.2f}" if milliseconds < 10 else f"{milliseconds:,.0f}"


def crossover_table(found: Found) -> str:
    """From which length on self-attention costs more than each other kind: the notes' table, and measured."""
    names = {
        "predicted": "the notes' table",
        "multiplications": "multiplications",
        "forward": "time, forward",
        "both": "time, with gradient",
        "peak_mb": "memory",
    }
    lengths = sorted(map(int, found))

    def cell(kind: str, name: str) -> str:
        ours, theirs = ([found[str(n)][one][name] for n in lengths] for one in ("attention", kind))
        place = crossover(lengths, ours, theirs)
        if place is None:
            return f"not up to {lengths[-1]:,}"
        return f"always (from {lengths[0]})" if place == lengths[0] else f"{place:,.0f}"

    others = [kind for kind in KINDS if kind != "attention"]
    rows = [[LABELS[kind], *(cell(kind, name) for name in names)] for kind in others]
    return table(["self-attention costs more than ... from length", *names.values()], rows)


# --- whole systems -------------------------------------------------------------------------------


def _mean(values: Sequence[float], digits: int = 2) -> str:
    text = f"{statistics.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _updates(seeds: Sequence[Result], bleu: float) -> str:
    reached = [result.updates_to(bleu) for result in seeds]
    known = [updates for updates in reached if updates is not None]
    if not known:
        return "never"
    text = f"{statistics.mean(known):,.0f}"
    return text if len(known) == len(reached) else f"{text} ({len(known)} of {len(reached)} runs)"


def system_table(results: Mapping[str, Sequence[Result]], speed: Mapping[str, Mapping[str, float]]) -> str:
    """One row a system; speed and memory where they were measured."""
    head = ["system", "parameters", "runs", "BLEU", "BLEU, papers' scoring"]
    head += [f"updates to {bleu}" for bleu in THRESHOLDS]
    measures = {
        "tokens_per_second": "training tokens/s",
        "one_by_one": "sentences/s one by one",
        "in_bulk": "in bulk",
        "training_mb": "MB more, training",
        "decoding_mb": "MB more, decoding",
    }
    rows = []
    for system, seeds in results.items():
        row = [SYSTEMS[system].title, f"{seeds[0].parameters:,}", f"{len(seeds)}"]
        row += [_mean([result.bleu for result in seeds]), _mean([result.bleu_lower for result in seeds])]
        row += [_updates(seeds, bleu) for bleu in THRESHOLDS]
        row += [f"{speed[system][name]:,.0f}" if system in speed else "" for name in measures]
        rows.append(row)
    return table([*head, *measures.values()], rows)


def length_table(results: Mapping[str, Sequence[Result]]) -> str:
    """BLEU by length of the source, mean over seeds."""
    some = next(iter(results.values()))[0]
    names = bucket_names()
    buckets = [int(row["bucket"]) for row in some.lengths]
    rows = [["lines", *(f"{row['lines']:.0f}" for row in some.lengths)]]
    for system, seeds in results.items():
        columns = zip(*(result.lengths for result in seeds), strict=True)
        rows.append([SYSTEMS[system].title, *(_mean([row["bleu"] for row in column]) for column in columns)])
    return table(["words of the source", *(names[bucket] for bucket in buckets)], rows)


def extrapolation_table(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Lines entirely right and nats a token, by length."""
    head = ["positions", *(f"{row['length']:.0f}" for row in next(iter(curves.values())))]
    rows = [
        [kind, *(f"{row['exact']:.0%}, {row['loss']:.2f}" for row in each)] for kind, each in curves.items()
    ]
    return table(head, rows)


def write_report(folder: Path, results: Mapping[str, Sequence[Result]], *, docs: Path) -> None:
    """From the runs' folder into docs/systems.md, docs/positions.md and docs/systems/."""
    page, pictures = docs / "systems.md", docs / "systems"
    pictures.mkdir(parents=True, exist_ok=True)
    machine = _read(folder / "machine.json")
    where = ", ".join(str(machine.get(name)) for name in ("cpu", "date")) + f", torch {machine.get('torch')}"
    where += "" if machine.get("gpu") == "none" else f", {machine.get('gpu')}"
    record: dict[str, Any] = {}
    if found := _read(folder / "layers.json"):
        draw_layers(found, pictures / "layers.png")
        insert(page, "layers", f"{picture('layers')}\n\nOn {where}.\n\n{layer_tables(found)}")
        insert(page, "crossovers", crossover_table(found))
        record["layers"] = {"machine": machine, "lengths": found}
    if results:
        speed = _read(folder / "speed.json")
        draw_lengths(results, pictures / "lengths.png")
        draw_progress(results, pictures / "progress.png")
        whole = f"On {where}.\n\n{system_table(results, medians(speed))}\n\n{picture('progress')}"
        insert(page, "systems", whole)
        insert(page, "lengths", f"{length_table(results)}\n\n{picture('lengths')}")
        runs = {name: [asdict(one) for one in each] for name, each in results.items()}
        record["systems"] = {"machine": machine, "runs": runs, "speed": speed}
    if extrapolation := _read(folder / "extrapolation" / "extrapolation.json"):
        shutil.copyfile(folder / "extrapolation" / "extrapolation.png", pictures / "extrapolation.png")
        text = f"{picture('extrapolation')}\n\n{extrapolation_table(extrapolation['curves'])}"
        insert(docs / "positions.md", "extrapolation", f"On {where}; {extrapolation['title']}.\n\n{text}")
        record["extrapolation"] = {"machine": machine, **extrapolation}
    kept = _read(pictures / "results.json")  # of stages that were run elsewhere
    (pictures / "results.json").write_text(json.dumps(kept | record, indent=1), encoding="utf-8")


def picture(name: str) -> str:
    """The link to a picture, its name as the text for those who can't see it."""
    return f"![{name}](systems/{name}.png)"


def _read(path: Path) -> dict[str, Any]:
    """A stage's results; empty where it has not run."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
