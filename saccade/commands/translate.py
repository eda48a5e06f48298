"""saccade translate: lines in, translations out, one for each whatever the line."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.arrival import arriving, cut
from saccade.commands.options import (
    CANDIDATES,
    FERTILITIES,
    ITERATIONS,
    SEARCH,
    Models,
    PrecisionName,
    Reranker,
    Use,
    choice,
    load_translator,
)
from saccade.commands.output import CHUNK, STDIN, STDOUT, Progress, check_outputs, is_plain, output_file
from saccade.commands.parameters import Offer, Settings, option
from saccade.commands.problems import ProblemReport
from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError, UserError

if TYPE_CHECKING:
    from saccade.use.translator import Translation

SAMPLING = Offer(
    DecodingConfig, "nbest", "mbr", "sample", "temperature", "top_k", "top_p", "seed", "min_length"
)
REPETITION = Offer(DecodingConfig, "no_repeat_ngram_size", "repetition_penalty", "coverage_penalty")


def translate(
    model: Models,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            show_default="standard input",
            help="Text, one sentence a line; compressed text (gzip, xz, bzip2, Zstandard) is unpacked.",
        ),
    ] = Path("-"),
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
    settings: Annotated[Settings, SEARCH, SAMPLING, REPETITION, CANDIDATES, ITERATIONS, FERTILITIES],
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
            "problem (a message) and problems (codes: too-long, prefix, no-translation, unknown, breaks, "
            "long, cut, repeats, short).",
        ),
    ] = False,
    alignments: Annotated[
        str | None,
        choice(
            "pharaoh",
            show_default=False,
            help="Align the words of each translation with those of its line: print `translation ||| links`, "
            "or with --json the field alignment. See saccade align.",
        ),
    ] = None,
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
    an empty line, and a message with its number on standard error; so does a translation that is doubtful,
    because it was cut, repeats itself or is very short. Only the newline character ends a line. Bytes that
    are not UTF-8 are replaced, with a message; a text that is mostly not UTF-8 is refused. With --nbest, each
    translation is printed as `index ||| text ||| score`, where the index counts input lines from 0. With
    --mbr, one of the --nbest translations is chosen and printed alone.

    Lines from a pipe or a terminal are translated as soon as no more of them arrive. A program can thus send
    a line and wait for its translation.

    \b
    Examples:
      echo "A dog runs." | saccade translate runs/model
      saccade translate runs/model input.txt --beam 5 --output translations.txt
      saccade translate runs/model input.txt --precision int8
      saccade translate runs/model input.txt --sample --top-k 10 --seed 7
      saccade translate runs/model input.txt --sample --nbest 32 --mbr chrf
    """
    from saccade.text.opening import is_standard_input, reads_once

    if alignments is not None and "nbest" in settings["decoding"] and not as_json:
        raise ConfigError(
            "options that do not go together: only the best translation is aligned. Use --json."
        )
    place = STDIN if is_standard_input(file) else file
    check_outputs(output or STDOUT, inputs=(place, prefix_file))
    prefixes = _prefixes(prefix_file, file)
    translator = load_translator(model, use, settings, engine=engine, precision=precision, reranker=reranker)
    if place == STDIN and sys.stdin.isatty():
        typer.echo("Type a line and press Enter; Ctrl-D ends.", err=True)
    options = settings["decoding"]
    unread: dict[int, str] = {}
    chunks = (cut if is_plain(place) else arriving)(_lines(file, unread), most=CHUNK)
    results = translator.stream_chunks(
        chunks, prefixes=prefixes, alignments=alignments is not None, **options
    )
    summed = translator.decoder.sums_over(translator.options(**options), given=False)
    several = "nbest" in options and translator.options(**options).mbr is None
    show = _form(as_json=as_json, alignments=alignments, nbest=several, summed=summed)
    visible = sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())
    progress = Progress(_count(file)) if visible and not reads_once(file) else None
    _write(_with_problems(results, unread), show, output, progress=progress)


def _write(
    results: Iterable[list["Translation"]],
    show: Callable[[int, "Translation"], str],
    output: Path | None,
    *,
    progress: Progress | None,
) -> None:
    number, problems = 0, ProblemReport()
    with output_file(output) as stream:
        for chunk in results:
            for result in chunk:
                problems.at(number + 1, result)
                stream.write(show(number, result).encode("utf-8", errors="replace"))
                number += 1
            stream.flush()
            if progress is not None:
                progress.at(number)
        if progress is not None:
            progress.end()
    problems.end()


def _lines(file: Path, unread: dict[int, str]) -> Iterator[str]:
    """The input; a generator, so that an error elsewhere is not taken for a reading error.

    A line that cannot be read is empty, and `unread` has the reason by its number.
    """
    from saccade.text.reading import BAD_UTF8, TOO_LONG, read_lines

    for number, (line, problem) in enumerate(read_lines(file), start=1):
        if problem == BAD_UTF8:
            typer.echo(f"line {number}: not UTF-8; the bad bytes were replaced", err=True)
        elif problem == TOO_LONG:
            unread[number] = f"not translated: {problem}"
        yield line


def _with_problems(
    results: Iterable[list["Translation"]], unread: dict[int, str]
) -> Iterator[list["Translation"]]:
    """The results, with the problems of the lines that could not be read."""
    from saccade.use.results import Problem

    number = 0
    for chunk in results:
        for place in range(len(chunk)):
            number += 1
            if number in unread:
                problem = Problem("too-long", unread.pop(number))
                chunk[place] = replace(chunk[place], problems=(problem,))
        yield chunk


def _count(file: Path) -> int:
    from saccade.text.reading import read_lines

    return sum(1 for _ in read_lines(file))


def _prefixes(prefix_file: Path | None, file: Path) -> list[str] | None:
    """Read before the model is loaded, so that missing files and unequal counts are reported at once.

    What can be read only once is left alone; `Translator.stream` counts its lines.
    """
    from saccade.text.opening import opened, reads_once
    from saccade.text.reading import read_text

    once = reads_once(file)
    if not once:
        with opened(file):
            pass
    if prefix_file is None:
        return None
    prefixes = read_text(prefix_file)
    if not once and (count := _count(file)) != len(prefixes):
        raise UserError(
            f"{prefix_file} has {len(prefixes):,} lines, {file} has {count:,}: each line needs one prefix."
        )
    return prefixes


def _form(
    *, as_json: bool, alignments: str | None, nbest: bool, summed: str
) -> Callable[[int, "Translation"], str]:
    """How results are written."""
    if as_json:
        return partial(_as_json, summed=summed)
    if alignments is not None:
        return _as_aligned
    return _as_nbest if nbest else _as_text


def _as_text(_: int, translation: "Translation") -> str:
    return translation.text + "\n"


def _as_aligned(_: int, translation: "Translation") -> str:
    from saccade.text.pharaoh import links_line

    return f"{translation.text} ||| {links_line(translation.links or ())}\n"


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
        fields["problems"] = [one.code for one in translation.problems]
    if len(translation.alternatives) > 1:
        fields["alternatives"] = [vars(choice) for choice in translation.alternatives]
    if translation.links is not None:
        fields["alignment"] = translation.links
    return json.dumps(fields, ensure_ascii=False) + "\n"
