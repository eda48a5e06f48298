"""saccade translate: lines in, translations out, one for each whatever the line."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.options import (
    Alpha,
    BatchTokens,
    Beam,
    Candidates,
    Device,
    Engine,
    Fertilities,
    Iterations,
    LengthPenalty,
    MaxLength,
    Model,
    PrecisionName,
    SourceLanguage,
    TargetLanguage,
    Teacher,
    Threads,
    given,
    load_translator,
)
from saccade.commands.output import Progress, output_file
from saccade.errors import UserError

if TYPE_CHECKING:
    from saccade.translator import Translation, Translator

CHUNK = 500
"""Lines translated together: enough to sort by length, few enough to show progress."""


def translate(
    model: Model,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", show_default="standard input", help="Text, one sentence a line; .gz is unpacked."
        ),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            show_default="standard output",
            help="Written beside its name as FILE.partial and put in place when all lines are done.",
        ),
    ] = None,
    beam: Beam = None,
    nbest: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Print the N best as `index ||| text ||| score`, index from 0."
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw tokens at random instead of searching for the best.")
    ] = False,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", show_default="1", help="Of sampling; below 1 sharpens.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", show_default="all", help="Sample among the K likeliest tokens."),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P", show_default="1", help="Sample among the fewest tokens that hold the share P."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="1",
            help="Of sampling; a line's draws depend on it and the line's number.",
        ),
    ] = None,
    length_penalty: LengthPenalty = None,
    alpha: Alpha = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    min_length: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", show_default="0", help="Fewest tokens before the end symbol."),
    ] = None,
    max_length: MaxLength = None,
    candidates: Candidates = None,
    iterations: Iterations = None,
    fertilities: Fertilities = None,
    teacher: Teacher = None,
    prefix_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Text that each translation must begin with, one a line; empty: none."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="One JSON object a line: text, score, log_prob (nats), tokens, alternatives, problem.",
        ),
    ] = False,
    engine: Engine = None,
    precision: PrecisionName = None,
    device: Device = None,
    threads: Threads = None,
    batch_tokens: BatchTokens = None,
) -> None:
    """Translate text line by line.

    One line in, one line out: an empty line stays empty, and a line that cannot be translated gives an
    empty one and a message with its number on standard error. Lines end at the newline character alone.
    Bytes that are not UTF-8 are replaced, with a message.

    \b
    Examples:
      echo "A dog runs." | saccade translate runs/model
      saccade translate runs/model input.txt --beam 5 --output translations.txt
      saccade translate runs/model input.txt --precision int8
      saccade translate runs/model input.txt --sample --top-k 10 --seed 7
    """
    options = given(
        beam=beam,
        nbest=nbest,
        sample=sample or None,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        length_penalty=length_penalty,
        alpha=alpha,
        min_length=min_length,
        max_length=max_length,
        candidates=candidates,
        iterations=iterations,
        fertilities=fertilities,
        batch_tokens=batch_tokens,
    )
    file = None if file == Path("-") else file
    prefixes = _prefixes(prefix_file, file)
    translator = load_translator(
        model, device=device, threads=threads, engine=engine, precision=precision, reranker=teacher
    )
    translator = translator.between(source_language, target_language)
    translator.options(**options)  # a wrong setting is told before any input is read
    interactive = file is None and sys.stdin.isatty()
    if interactive:
        typer.echo("Type a line and press Enter; Ctrl-D ends.", err=True)
    results = _translations(
        translator, _lines(file), prefixes, chunk=1 if interactive else CHUNK, options=options
    )
    show = _as_json if as_json else _as_nbest if nbest is not None else _as_text
    visible = sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())
    progress = Progress(_count(file)) if visible and file is not None else None
    _write(results, show, output, flush_every=1 if interactive else CHUNK, progress=progress)


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
    """The input; a generator, so that what goes wrong outside is not taken for a reading error."""
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
    """Read before the model is loaded: so are missing files told, and counts that differ."""
    from saccade.text.corpus import opened, read_text

    if file is not None:
        with opened(file):
            pass
    if prefix_file is None:
        return None
    prefixes = read_text(prefix_file)
    if file is not None and (count := _count(file)) != len(prefixes):
        raise UserError(
            f"{prefix_file} has {len(prefixes):,} lines, {file} has {count:,}: one prefix a line is needed."
        )
    return prefixes


def _translations(
    translator: "Translator",
    lines: Iterable[str],
    prefixes: Sequence[str] | None,
    *,
    chunk: int,
    options: dict[str, Any],
) -> Iterator["Translation"]:
    rest, first = iter(lines), 0
    while taken := list(islice(rest, chunk)):
        end = first + len(taken)
        if prefixes is not None and len(prefixes) < end:
            raise UserError(
                f"--prefix-file has {len(prefixes):,} lines, the input more: one prefix a line is needed."
            )
        forced = None if prefixes is None else prefixes[first:end]
        yield from translator.translate(taken, prefixes=forced, first_line=first, **options)
        first = end
    if prefixes is not None and first < len(prefixes):
        raise UserError(f"--prefix-file has {len(prefixes):,} lines, the input only {first:,}.")


def _as_text(_: int, translation: "Translation") -> str:
    return translation.text + "\n"


def _as_nbest(number: int, translation: "Translation") -> str:
    found = [(choice.text, choice.score) for choice in translation.alternatives] or [("", 0.0)]
    return "".join(f"{number} ||| {text} ||| {score:.6f}\n" for text, score in found)


def _as_json(number: int, translation: "Translation") -> str:
    fields: dict[str, Any] = {
        "line": number + 1,
        "source": translation.source,
        "text": translation.text,
        "score": translation.score,
        "log_prob": translation.log_prob,
        "tokens": translation.tokens,
    }
    if translation.problem is not None:
        fields["problem"] = translation.problem
    if len(translation.alternatives) > 1:
        fields["alternatives"] = [vars(choice) for choice in translation.alternatives]
    return json.dumps(fields, ensure_ascii=False) + "\n"
