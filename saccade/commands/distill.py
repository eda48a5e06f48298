"""saccade distill: a teacher's translations and fertilities for a student to learn from."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.options import SEARCH, Models, Source, Use, choice, load_translator
from saccade.commands.output import CHUNK, Progress, check_outputs, output_file
from saccade.commands.parameters import Settings, option
from saccade.commands.problems import ProblemReport

if TYPE_CHECKING:
    from saccade.use.translator import Translator

Method = Annotated[
    str,
    choice(
        "attention",
        "eflomal",
        help="How source and target are aligned: by the model's cross-attention, or by counting in this text "
        "(eflomal; needs the extra `align`).",
    ),
]
Layer = Annotated[
    int | None, option("N", "Decoder layer whose attention is used, from 1.", default="the last", min=1)
]


def distill(
    model: Models,
    *,
    source: Source,
    out: Annotated[Path, option("FILE", "File for the translations.", "--out", "-o")],
    fertilities: Annotated[
        Path | None, option("FILE", "File for the fertilities of source and translations.")
    ] = None,
    method: Method = "attention",
    layer: Layer = None,
    settings: Annotated[Settings, SEARCH],
    use: Use,
) -> None:
    """Translate training text for a student to learn from.

    A student learns better from a teacher's translations than from human ones. Line N of the output
    translates line N of the source; it is empty where the source cannot be translated, and training skips
    such pairs. Each file appears under its name when it is complete.

    \b
    Examples:
      saccade distill runs/teacher --source train.en --out distilled.de
      saccade distill runs/teacher --source train.en --out distilled.de --fertilities distilled.fert --beam 5
    """
    from saccade.alignment.fertilities import check_method
    from saccade.text.reading import read_text

    check_method(method, layer)
    check_outputs(out, fertilities, inputs=(source,))
    lines = read_text(source)
    translator = load_translator(model, use, settings)
    translations = _translated(translator, lines, out, **settings["decoding"])
    if fertilities is not None:
        # A line that the model can't read has no translation, and no fertilities.
        readable = [line if text else "" for line, text in zip(lines, translations, strict=True)]
        write_fertilities(translator, readable, translations, fertilities, method=method, layer=layer)


def _translated(translator: "Translator", lines: Sequence[str], out: Path, **options: Any) -> list[str]:
    texts: list[str] = []
    progress = Progress(len(lines)) if sys.stderr.isatty() else None
    problems = ProblemReport()
    with output_file(out) as stream:
        for number, translation in enumerate(translator.stream(lines, chunk=CHUNK, **options), start=1):
            problems.at(number, translation)
            texts.append(translation.text)
            stream.write(f"{translation.text}\n".encode("utf-8", errors="replace"))
            if progress is not None and number % CHUNK == 0:
                progress.at(number)
    if progress is not None:
        progress.end()
    problems.end()
    return texts


def write_fertilities(
    translator: "Translator",
    sources: Sequence[str],
    targets: Sequence[str],
    out: Path,
    *,
    method: str,
    layer: int | None,
) -> None:
    """Write the fertilities of a text and its translation to a file."""
    from saccade.alignment.fertilities import fertilities
    from saccade.text.fertilities import fertilities_line

    found = fertilities(translator, sources, targets, method=method, layer=layer)
    with output_file(out) as stream:
        for row in found:
            stream.write(f"{fertilities_line(row)}\n".encode())
    pieces, words = sum(map(len, found)), sum(map(sum, found))
    typer.echo(f"{out}: {pieces:,} source pieces, {words:,} target pieces", err=True)
