"""saccade compare: whether a difference between systems means anything."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saccade.commands.options import Json, Lowercase, References, Tokenize, Use, load_translator
from saccade.commands.parameters import Offer, Settings, option
from saccade.commands.problems import ProblemReport
from saccade.decoding.options import DecodingConfig

if TYPE_CHECKING:
    from saccade.comparison import Comparison


def compare(
    systems: Annotated[
        list[Path],
        typer.Argument(
            metavar="HYP_OR_RUN",
            show_default=False,
            help="Two or more text files, or run or model folders. The first is the baseline.",
        ),
    ],
    *,
    reference: References,
    source: Annotated[
        Path | None, option("FILE", "Text to translate; needed if a folder is compared.")
    ] = None,
    lines: Annotated[
        int, option("N", "Number of lines to show that differ most by sentence chrF.", min=0)
    ] = 5,
    samples: Annotated[int, option("N", "Number of bootstrap resamples.", min=10, max=100_000)] = 1000,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    as_json: Json = False,
    settings: Annotated[Settings, Offer(DecodingConfig, "beam", "max_source_length")],
    use: Use,
) -> None:
    """Test whether systems differ by more than chance.

    Prints BLEU and chrF of each system with a 95% confidence interval, and the p-value of its difference from
    the first one: a paired bootstrap over the test set (Koehn 2004), as sacreBLEU computes it. Then it shows
    the lines that differ most.

    \b
    Examples:
      saccade compare baseline.txt new.txt --reference test.de
      saccade compare a.txt b.txt --reference first.de --reference second.de
      saccade compare runs/a runs/b --source test.en --reference test.de --lines 10
    """
    from saccade import comparison
    from saccade.text.corpus import read_side_by_side

    if len(systems) < 2 or len(set(systems)) < len(systems):
        raise typer.BadParameter(
            "give two or more different systems; `saccade evaluate HYP_OR_RUN --reference FILE` scores one",
            param_hint="HYP_OR_RUN",
        )
    if source is None and (folder := next((path for path in systems if path.is_dir()), None)):
        raise typer.BadParameter(f"needed to translate with {folder}", param_hint="--source")
    if source is None:
        sources, (first, *more) = None, read_side_by_side(reference)
    else:
        sources, first, *more = read_side_by_side([source, *reference])
    outputs = {str(path): _output(path, sources, settings, use) for path in systems}
    found = comparison.compare(
        outputs,
        first,
        more_references=more,
        sources=sources,
        tokenize=tokenize,
        lowercase=lowercase,
        samples=samples,
        most=lines,
    )
    typer.echo(json.dumps(found.as_dict(), ensure_ascii=False) if as_json else "\n".join(_table(found)))


def _output(path: Path, sources: list[str] | None, settings: Settings, use: Use) -> list[str]:
    """The lines of a system: those of a text file, or the translations by the model in a folder."""
    from saccade.text.reading import read_text

    if sources is None or not path.is_dir():
        return read_text(path)
    translator = load_translator(path, use, settings)
    results = translator.translate(sources, **settings["decoding"])
    problems = ProblemReport(str(path))
    for number, result in enumerate(results, start=1):
        problems.at(number, result)
    problems.end()
    return [result.text for result in results]


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
    table += ["", f"p: p-value of the difference from {found.systems[0].name}; * marks p < 0.05"]
    table += list(found.signatures)
    for line in found.differences:
        chrf = f"chrF {line.baseline_chrf:.1f} and {line.chrf:.1f}"
        table += ["", f"line {line.line}, {found.systems[0].name} and {line.system}: {chrf}"]
        table += [] if line.source is None else [f"  source     {line.source}"]
        table += [
            *(f"  reference  {text}" for text in (line.reference, *line.more_references)),
            f"  first      {line.baseline_text}",
            f"  second     {line.text}",
        ]
    return table
