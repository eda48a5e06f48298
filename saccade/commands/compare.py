"""saccade compare: whether a difference between systems means anything."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saccade.commands.options import (
    Beam,
    Device,
    Json,
    Lowercase,
    SourceLanguage,
    TargetLanguage,
    Threads,
    Tokenize,
    given,
    load_translator,
)

if TYPE_CHECKING:
    from saccade.comparison import Comparison


def compare(
    systems: Annotated[
        list[Path],
        typer.Argument(
            metavar="HYP_OR_RUN",
            show_default=False,
            help="Two or more: text files, or run or model folders. The first is the baseline.",
        ),
    ],
    *,
    reference: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="The right translations, one a line, as people write them.",
        ),
    ],
    source: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text to translate; needed where a folder is compared."),
    ] = None,
    lines: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show so many lines that differ most, by sentence chrF.")
    ] = 5,
    samples: Annotated[int, typer.Option(min=10, metavar="N", help="Bootstrap resamples.")] = 1000,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    as_json: Json = False,
    beam: Beam = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Tell whether systems differ by more than chance.

    Paired bootstrap over the test set: for each system BLEU and chrF with a 95% interval, and the p-value
    of its difference from the first one (Koehn 2004, as sacreBLEU computes it). Then the lines that differ
    most.

    \b
    Examples:
      saccade compare baseline.txt new.txt --reference test.de
      saccade compare runs/a runs/b --source test.en --reference test.de --lines 10
    """
    from saccade import comparison
    from saccade.text.corpus import read_parallel, read_text

    if len(systems) < 2 or len(set(systems)) < len(systems):
        raise typer.BadParameter(
            "give two or more different ones; `saccade evaluate` scores one", param_hint="HYP_OR_RUN"
        )
    if source is None and (folder := next((path for path in systems if path.is_dir()), None)):
        raise typer.BadParameter(f"needed to translate with {folder}", param_hint="--source")
    if source is None:
        sources, references = None, read_text(reference)
    else:
        sources, references = read_parallel(source, reference)
    outputs = {}
    for path in systems:
        if sources is not None and path.is_dir():
            translator = load_translator(path, device=device, threads=threads)
            translator = translator.between(source_language, target_language)
            outputs[str(path)] = [result.text for result in translator.translate(sources, **given(beam=beam))]
        else:
            outputs[str(path)] = read_text(path)
    found = comparison.compare(
        outputs,
        references,
        sources=sources,
        tokenize=tokenize,
        lowercase=lowercase,
        samples=samples,
        most=lines,
    )
    typer.echo(json.dumps(found.as_dict(), ensure_ascii=False) if as_json else "\n".join(_table(found)))


def _table(found: "Comparison") -> list[str]:
    width = max(len(system.name) for system in found.systems)
    heads = "".join(f"  {name + ' (95%)':>16}  {'p':>7}" for name in ("BLEU", "chrF"))
    table = [f"{'system':<{width}}{heads}"]
    for system in found.systems:
        cells = ""
        for value in (system.bleu, system.chrf):
            chance = "" if value.p is None else f"{value.p:.4f}" + ("*" if value.p < 0.05 else " ")
            cells += f"  {f'{value.score:.2f} ± {value.interval:.2f}':>16}  {chance:>7}"
        table.append(f"{system.name:<{width}}{cells}".rstrip())
    table += ["", f"p: of the difference from {found.systems[0].name}; * below 0.05, unlikely to be chance"]
    table += list(found.signatures)
    for line in found.differences:
        chrf = f"chrF {line.baseline_chrf:.1f} and {line.chrf:.1f}"
        table += ["", f"line {line.line}, {found.systems[0].name} and {line.system}: {chrf}"]
        table += [] if line.source is None else [f"  source     {line.source}"]
        table += [
            f"  reference  {line.reference}",
            f"  first      {line.baseline_text}",
            f"  second     {line.text}",
        ]
    return table
