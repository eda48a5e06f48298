"""saccade lab: claims about attention, each measured by an experiment."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast
from unicodedata import east_asian_width

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
    pictures in English and Chinese. All of them together take at most 15 minutes on two cores, and two are
    measured at the same time there. An experiment that is named is always measured; without names, those that
    have a result in DIR are not repeated, so that an interrupted run continues.

    \b
    Examples:
      saccade lab --list
      saccade lab future
      saccade lab --out runs/lab
    """
    import torch

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
    left = [experiment.name for experiment in chosen]

    def done(experiment: "Experiment", result: "Result", measured: bool) -> None:
        progress.clear()
        left.remove(experiment.name)
        if names:
            typer.echo(_report(experiment, result, language))
        elif measured:
            typer.echo(f"{_row(experiment, result, language)}  ({result.seconds:.0f} s)")
        else:
            typer.echo(f"{_row(experiment, result, language)}")

    try:
        processes = torch.get_num_threads()
        settings = Settings(say=progress.show)
        run(chosen, out, settings, again=fresh or bool(names), done=done, processes=processes)
    except Interrupted as stopped:
        progress.clear()
        # Named experiments are measured again, so those that are done are left out.
        rest = " ".join(["saccade lab", *(left if names else ()), "--out", str(out)])
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
    """Name, outcome and title; if there is no result, also about how long it takes."""
    from saccade.lab.pages import OUTCOMES

    outcomes = {outcome: name.in_(language) for outcome, name in OUTCOMES.items()}
    found = "–" if result is None else outcomes[experiment.judge(result.figures).outcome]
    gap = " " * (max(map(_columns, outcomes.values())) - _columns(found))
    start = f"{experiment.name:<13}  {found}{gap}  {experiment.title.in_(language)}"
    if result is not None:
        return start
    return start + (
        f" (about {experiment.seconds} s)" if language == "en" else f"（约 {experiment.seconds} 秒）"
    )


def _columns(text: str) -> int:
    """Width of a text in letters; Chinese characters are two letters wide."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _report(experiment: "Experiment", result: "Result", language: "Language") -> str:
    """The experiment in full, for a terminal."""
    from saccade.lab.pages import OUTCOMES, figures_table

    colon, period = (": ", ". ") if language == "en" else ("：", "。")
    claim, source, prediction, found, instead, line = _HEADS[language]
    verdict = experiment.judge(result.figures)
    outcome = OUTCOMES[verdict.outcome].in_(language)
    lines = [f"{experiment.name}{colon}{experiment.title.in_(language)}", ""]
    statements = {claim: experiment.claim, source: experiment.source, prediction: experiment.prediction}
    lines += [f"{head}{colon}{text.in_(language)}" for head, text in statements.items()]
    for shown in (experiment.chart(result.figures), *experiment.more(result.figures)):
        lines += ["", *figures_table(shown, language)]
    lines += ["", f"{found}{colon}{outcome}{period}{verdict.because.in_(language)}"]
    lines.append(f"{instead}{colon}{experiment.correction.in_(language)}")
    for code in experiment.code:
        file, number, text = code.place()
        lines.append(f"{line}{colon}{file}:{number}: {text}")
    return "\n".join([*lines, ""])


_HEADS: dict[str, tuple[str, str, str, str, str, str]] = {
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
