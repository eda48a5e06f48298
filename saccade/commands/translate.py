"""saccade translate: lines in, translations out, one for each whatever the line."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.options import (
    CANDIDATES,
    FERTILITIES,
    ITERATIONS,
    SEARCH,
    Model,
    PrecisionName,
    Reranker,
    Use,
    choice,
    load_translator,
)
from saccade.commands.output import CHUNK, Progress, output_file
from saccade.commands.parameters import Offer, Settings, option
from saccade.decoding.options import DecodingConfig
from saccade.errors import UserError

if TYPE_CHECKING:
    from saccade.translator import Translation

SAMPLING = Offer(DecodingConfig, "nbest", "sample", "temperature", "top_k", "top_p", "seed", "min_length")


def translate(
    model: Model,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            show_default="standard input",
            help="Text, one sentence a line; a .gz file is unpacked.",
        ),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        option(
            "FILE",
            "File for the translations; it appears under this name when all lines are done.",
            "--output",
            "-o",
            default="standard output",
        ),
    ] = None,
    settings: Annotated[Settings, SEARCH, SAMPLING, CANDIDATES, ITERATIONS, FERTILITIES],
    reranker: Reranker = None,
    prefix_file: Annotated[
        Path | None,
        option(
            "FILE", "Text that each translation must begin with, one line for each input line; may be empty."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a JSON object for each line: text, score, log_prob (nats), tokens, alternatives, "
            "problem.",
        ),
    ] = False,
    engine: Annotated[
        str | None,
        choice(
            "saccade",
            "torch",
            "ctranslate2",
            "onnx",
            show_default="saccade; for an exported folder, its own",
            help="Inference backend. With ctranslate2, the model is converted when it is loaded.",
        ),
    ] = None,
    precision: PrecisionName = None,
    use: Use,
) -> None:
    """Translate text line by line.

    Each input line gives one output line. An empty line stays empty. A line that cannot be translated gives
    an empty line, and a message with its number on standard error. Only the newline character ends a line.
    Bytes that are not UTF-8 are replaced, with a message. With --nbest, each translation is printed as
    `index ||| text ||| score`, where the index counts input lines from 0.

    \b
    Examples:
      echo "A dog runs." | saccade translate runs/model
      saccade translate runs/model input.txt --beam 5 --output translations.txt
      saccade translate runs/model input.txt --precision int8
      saccade translate runs/model input.txt --sample --top-k 10 --seed 7
    """
    file = None if file == Path("-") else file
    prefixes = _prefixes(prefix_file, file)
    translator = load_translator(model, use, settings, engine=engine, precision=precision, reranker=reranker)
    interactive = file is None and sys.stdin.isatty()
    if interactive:
        typer.echo("Type a line and press Enter; Ctrl-D ends.", err=True)
    chunk, options = 1 if interactive else CHUNK, settings["decoding"]
    results = translator.stream(_lines(file), prefixes=prefixes, chunk=chunk, **options)
    summed = translator.decoder.sums_over(translator.options(**options), given=False)
    show = partial(_as_json, summed=summed) if as_json else _as_nbest if "nbest" in options else _as_text
    visible = sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())
    progress = Progress(_count(file)) if visible and file is not None else None
    _write(results, show, output, flush_every=chunk, progress=progress)


def _write(
    results: Iterable["Translation"],
    show: Callable[[int, "Translation"], str],
    output: Path | None,
    *,
    flush_every: int,
    progress: Progress | None,
) -> None:
    with output_file(output) as stream:
        for number, result in enumerate(results):
            if result.problem is not None:
                typer.echo(f"line {number + 1}: {result.problem}", err=True)
            stream.write(show(number, result).encode("utf-8", errors="replace"))
            if (number + 1) % flush_every == 0:
                stream.flush()
                if progress is not None:
                    progress.at(number + 1)
        if progress is not None:
            progress.end()


def _lines(file: Path | None) -> Iterator[str]:
    """The input; a generator, so that an error elsewhere is not taken for a reading error."""
    for number, (line, is_utf8) in enumerate(_decoded(file), start=1):
        if not is_utf8:
            typer.echo(f"line {number}: not UTF-8; the bad bytes were replaced", err=True)
        yield line


def _decoded(file: Path | None) -> Iterator[tuple[str, bool]]:
    from saccade.text.corpus import decoded_lines, opened

    if file is None:
        yield from decoded_lines(sys.stdin.buffer)
        return
    with opened(file) as stream:
        yield from decoded_lines(stream)


def _count(file: Path) -> int:
    from saccade.text.corpus import opened

    with opened(file) as stream:
        return sum(1 for _ in stream)


def _prefixes(prefix_file: Path | None, file: Path | None) -> list[str] | None:
    """Read before the model is loaded, so that missing files and unequal counts are reported at once."""
    from saccade.text.corpus import opened, read_text

    if file is not None:
        with opened(file):
            pass
    if prefix_file is None:
        return None
    prefixes = read_text(prefix_file)
    if file is not None and (count := _count(file)) != len(prefixes):
        raise UserError(
            f"{prefix_file} has {len(prefixes):,} lines, {file} has {count:,}: each line needs one prefix."
        )
    return prefixes


def _as_text(_: int, translation: "Translation") -> str:
    return translation.text + "\n"


def _as_nbest(number: int, translation: "Translation") -> str:
    found = [(choice.text, choice.score) for choice in translation.alternatives] or [("", 0.0)]
    return "".join(f"{number} ||| {text} ||| {score:.6f}\n" for text, score in found)


def _as_json(number: int, translation: "Translation", *, summed: str) -> str:
    fields: dict[str, Any] = {
        "line": number + 1,
        "source": translation.source,
        "text": translation.text,
        "score": translation.score,
        "log_prob": translation.log_prob,
        "tokens": translation.tokens,
    }
    if summed:
        fields["log_prob_sums_over"] = summed
    if translation.problem is not None:
        fields["problem"] = translation.problem
    if len(translation.alternatives) > 1:
        fields["alternatives"] = [vars(choice) for choice in translation.alternatives]
    return json.dumps(fields, ensure_ascii=False) + "\n"
