"""saccade distill and saccade align: a teacher's translations and fertilities for a student to learn from."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.options import (
    Alpha,
    BatchTokens,
    Beam,
    Device,
    LengthPenalty,
    MaxLength,
    Model,
    SourceLanguage,
    TargetLanguage,
    Threads,
    given,
    load_translator,
)
from saccade.commands.output import Progress, output_file

if TYPE_CHECKING:
    from saccade.translator import Translator

CHUNK = 500
"""Lines translated together: enough to sort by length, few enough to show progress."""

Source = Annotated[
    Path, typer.Option(metavar="FILE", show_default=False, help="Text to translate, one sentence a line.")
]
Method = Annotated[
    str,
    typer.Option(
        metavar="attention|eflomal",
        help="Align by the model's cross-attention, or by counting in this text (needs saccade[align]).",
    ),
]
Layer = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", show_default="the last", help="Decoder layer whose attention aligns."),
]


def distill(
    model: Model,
    *,
    source: Source,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", show_default=False, help="The translations.")
    ],
    fertilities: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write fertilities of source and translations here, too."),
    ] = None,
    method: Method = "attention",
    layer: Layer = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    alpha: Alpha = None,
    max_length: MaxLength = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    device: Device = None,
    threads: Threads = None,
    batch_tokens: BatchTokens = None,
) -> None:
    """Translate training text for a student to learn from.

    A student learns better from a teacher's translations than from people's. Line N of the output is the
    translation of line N; a line that cannot be translated is empty, and training leaves such pairs out.
    Files are written beside their names as FILE.partial, and put in place when they are complete.

    \b
    Examples:
      saccade distill runs/teacher --source train.en --out distilled.de
      saccade distill runs/teacher --source train.en --out distilled.de --fertilities distilled.fert --beam 5
    """
    from saccade.alignment.fertilities import check_method
    from saccade.text.corpus import read_text

    check_method(method, layer)
    lines = read_text(source)
    options = given(
        beam=beam,
        length_penalty=length_penalty,
        alpha=alpha,
        max_length=max_length,
        batch_tokens=batch_tokens,
    )
    translator = load_translator(model, device=device, threads=threads)
    translator = translator.between(source_language, target_language)
    translator.options(**options)
    translations = _translated(translator, lines, out, **options)
    if fertilities is not None:
        # A line that the model can't read has no translation, and no fertilities.
        readable = [line if text else "" for line, text in zip(lines, translations, strict=True)]
        _write_fertilities(translator, readable, translations, fertilities, method=method, layer=layer)


def align(
    model: Model,
    *,
    source: Source,
    target: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Its translation, line N to line N.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", show_default=False, help="The fertilities.")
    ],
    method: Method = "attention",
    layer: Layer = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Count the target pieces of each source piece.

    Writes a line of whole numbers for each pair, one for each source piece as the model cuts it: what
    data.fertilities and data.valid_fertilities of a non-autoregressive model ask for.

    \b
    Example:
      saccade align runs/teacher --source valid.en --target valid.de --out valid.fert
    """
    from saccade.alignment.fertilities import check_method
    from saccade.text.corpus import read_parallel

    check_method(method, layer)
    sources, targets = read_parallel(source, target)
    translator = load_translator(model, device=device, threads=threads)
    translator = translator.between(source_language, target_language)
    _write_fertilities(translator, sources, targets, out, method=method, layer=layer)


def _translated(translator: "Translator", lines: Sequence[str], out: Path, **options: Any) -> list[str]:
    texts: list[str] = []
    progress = Progress(len(lines)) if sys.stderr.isatty() else None
    with output_file(out) as stream:
        for number, translation in enumerate(translator.stream(lines, chunk=CHUNK, **options), start=1):
            if translation.problem is not None:
                typer.echo(f"line {number}: {translation.problem}", err=True)
            texts.append(translation.text)
            stream.write(f"{translation.text}\n".encode("utf-8", errors="replace"))
            if progress is not None and number % CHUNK == 0:
                progress.at(number)
    if progress is not None:
        progress.end()
    return texts


def _write_fertilities(
    translator: "Translator",
    sources: Sequence[str],
    targets: Sequence[str],
    out: Path,
    *,
    method: str,
    layer: int | None,
) -> None:
    from saccade.alignment.fertilities import fertilities
    from saccade.text.fertilities import fertilities_line

    found = fertilities(translator, sources, targets, method=method, layer=layer)
    with output_file(out) as stream:
        for row in found:
            stream.write(f"{fertilities_line(row)}\n".encode())
    pieces, words = sum(map(len, found)), sum(map(sum, found))
    typer.echo(f"{out}: fertilities of {pieces:,} source pieces, {words:,} target pieces together", err=True)
