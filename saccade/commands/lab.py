"""saccade lab: claims about attention, each measured by an experiment."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from saccade.commands.options import choice
from saccade.commands.parameters import option
from saccade.errors import Interrupted

if TYPE_CHECKING:
    from saccade.lab.experiment import Experiment, Language
    from saccade.lab.results import Result


def lab(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", show_default=False, help="Experiments to run; none: all of them."
        ),
    ] = None,
    *,
    listed: Annotated[bool, typer.Option("--list", help="List the experiments and what was found.")] = False,
    lang: Annotated[str, choice("en", "zh", help="Language of the output: English or Chinese.")] = "en",
    out: Annotated[Path, option("DIR", "Folder for results, pages and pictures.")] = Path("runs/lab"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what has a result in DIR.")] = False,
) -> None:
    """Measure what is claimed about attention.

    Runs experiments on small models, computes a verdict on each claim from the figures, and writes pages with
    pictures in English and Chinese. All of them together take at most 15 minutes on two cores. An
    experiment that is named is always measured; without names, those that have a result in DIR are not
    repeated, so that an interrupted run continues.

    \b
    Examples:
      saccade lab --list
      saccade lab future
      saccade lab --out runs/lab
    """
    from saccade.lab.catalogue import EXPERIMENTS, find
    from saccade.lab.experiment import Settings
    from saccade.lab.results import read_result
    from saccade.lab.running import run

    language = cast("Language", lang)
    chosen = find(names) if names else EXPERIMENTS
    if listed:
        for experiment in chosen:
            typer.echo(_row(experiment, read_result(out, experiment.name), language))
        return
    progress = _Progress()

    def done(experiment: "Experiment", result: "Result", measured: bool) -> None:
        progress.clear()
        if names:
            typer.echo(_report(experiment, result, language))
        elif measured:
            typer.echo(f"{_row(experiment, result, language)}  ({result.seconds:.0f} s)")
        else:
            typer.echo(f"{_row(experiment, result, language)}")

    try:
        run(chosen, out, Settings(say=progress.show), again=fresh or bool(names), done=done)
    except Interrupted as stopped:
        progress.clear()
        rest = " ".join(["saccade lab", *(names or ()), "--out", str(out)])
        raise Interrupted(f"{stopped} Continue with: {rest}") from None
    _write(out)


def _write(out: Path) -> None:
    """Draws the pages from all results in the folder."""
    from saccade.errors import Unsupported
    from saccade.lab.catalogue import EXPERIMENTS
    from saccade.lab.drawing import require_drawing
    from saccade.lab.pages import write_pages
    from saccade.lab.results import read_result

    found = [
        (experiment, result)
        for experiment in EXPERIMENTS
        if (result := read_result(out, experiment.name)) is not None
    ]
    pictures = True
    try:
        require_drawing()
    except Unsupported as error:
        pictures = False
        typer.echo(f"Note: {error} The pages have no pictures without it.", err=True)
    write_pages(found, out, pictures=pictures)
    typer.echo(f"Pages: {out / 'index.md'}, {out / 'index.zh.md'}", err=True)


def _row(experiment: "Experiment", result: "Result | None", language: "Language") -> str:
    from saccade.lab.pages import OUTCOMES

    found = "–" if result is None else OUTCOMES[experiment.judge(result.figures).outcome].in_(language)
    return f"{experiment.name:<18} {found:<16} {experiment.title.in_(language)}"


def _report(experiment: "Experiment", result: "Result", language: "Language") -> str:
    """The experiment in full, for a terminal."""
    from saccade.lab.pages import OUTCOMES, figures_table

    verdict = experiment.judge(result.figures)
    heads = _HEADS[language]
    texts = (experiment.claim, experiment.source, experiment.prediction)
    lines = [f"{experiment.name}: {experiment.title.in_(language)}", ""]
    lines += [f"{head}: {text.in_(language)}" for head, text in zip(heads, texts, strict=False)]
    lines += ["", *figures_table(experiment.chart(result.figures), language), ""]
    lines.append(f"{heads[3]}: {OUTCOMES[verdict.outcome].in_(language)}. {verdict.because.in_(language)}")
    lines.append(f"{heads[4]}: {experiment.correction.in_(language)}")
    for code in experiment.code:
        file, number, text = code.place()
        lines.append(f"{heads[5]}: {file}:{number}: {text}")
    return "\n".join([*lines, ""])


_HEADS: dict[str, tuple[str, ...]] = {
    "en": ("Claim", "Source", "Prediction", "Verdict", "Instead", "Code"),
    "zh": ("论断", "出处", "预测", "结论", "更准确的说法", "代码"),
}


class _Progress:
    """One line on standard error that changes in place, if that is a terminal."""

    def __init__(self) -> None:
        self.visible = sys.stderr is not None and sys.stderr.isatty()

    def show(self, line: str) -> None:
        """Shows what is being measured."""
        if self.visible:
            sys.stderr.write(f"\r\x1b[K{line[:100]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Removes the line."""
        if self.visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
