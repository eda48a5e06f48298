"""saccade generate, and saccade evaluate of a text: what language models do."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.options import Device, Model, Threads, given, set_up
from saccade.errors import UserError

if TYPE_CHECKING:
    from saccade.generator import TextGenerator

Text = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Of a language model: the text to be judged, as one running text."),
]
Segment = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", show_default="the model's", help="Of a language model: tokens read at a time."
    ),
]
Memory = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        show_default="the model's",
        help="Of a language model: tokens before the segment that are remembered (transformer-xl) or read "
        "again (transformer-lm).",
    ),
]
SameLength = Annotated[
    bool,
    typer.Option("--same-length", help="Of transformer-xl: every token sees as many keys as memory has."),
]
ClampLength = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="the model's",
        help="Of transformer-xl: the furthest distance told apart.",
    ),
]
Streams = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="1",
        help="Of a language model: parts of the text read side by side; each begins without memory.",
    ),
]


def generate(
    model: Model,
    *,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", show_default="a line's beginning", help="The text to continue.")
    ] = "",
    tokens: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", show_default="100", help="Tokens to write, line ends counted."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default="1", help="Continuations of the text.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="T",
            show_default="1",
            help="Below 1 sharpens; 0 takes the likeliest token each time.",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", show_default="all", help="Draw among the K likeliest tokens."),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P", show_default="1", help="Draw among the fewest tokens that hold the share P."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", show_default="1", help="Of the draws.")] = None,
    segment: Segment = None,
    memory: Memory = None,
    same_length: SameLength = False,
    clamp_length: ClampLength = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object a continuation: prompt, text, tokens, log_prob (nats)."),
    ] = False,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Continue a text with a language model.

    Prints the text and what follows it. The model's memory is what it knows of the text so far: one that was
    trained without a memory looks back as far as its segments are long.

    \b
    Examples:
      saccade generate runs/wikitext-2-transformer-xl --prompt "The old town" --tokens 200
      saccade generate runs/model --prompt "The old town" --temperature 0.8 --top-p 0.9 --samples 3
    """
    settings = text_settings(segment, memory, same_length=same_length, clamp_length=clamp_length)
    options = given(
        tokens=tokens, samples=samples, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    generator = _load(model, settings, device=device, threads=threads)
    generator.options(**options)  # a wrong setting is told before any work
    if unknown := generator.unknown(prompt):
        typer.echo(f"{unknown} token(s) of the prompt are not in the vocabulary", err=True)
    for number, found in enumerate(generator.generate(prompt, **options)):
        if as_json:
            typer.echo(json.dumps(vars(found), ensure_ascii=False))
            continue
        if number:
            typer.echo("---")
        typer.echo(f"{found.prompt}{found.text}")


def evaluate_text(
    model: Path,
    text: Path,
    *,
    settings: dict[str, Any],
    streams: int,
    as_json: bool,
    device: str | None,
    threads: int | None,
) -> None:
    """`saccade evaluate MODEL --text FILE`."""
    from saccade.generator import OVERRIDABLE
    from saccade.text.corpus import read_text

    lines = read_text(text)
    generator = _load(model, settings, device=device, threads=threads)
    started = time.perf_counter()
    score = generator.score(lines, streams=streams)
    seconds = time.perf_counter() - started
    used = generator.config.model_dump(mode="json", include=set(OVERRIDABLE))
    if as_json:
        speed = {"seconds": round(seconds, 6), "tokens_per_second": round(score.size.tokens / seconds, 3)}
        typer.echo(json.dumps({**score.as_dict(), **used, "streams": streams, **speed}))
        return
    size = score.size
    typer.echo(
        f"perplexity  {score.word_perplexity:10.3f}   a word, {size.words:,} of them, line ends counted"
    )
    typer.echo(f"perplexity  {score.perplexity:10.3f}   a token, {size.tokens:,}, {size.unknown:,} unknown")
    typer.echo(f"bits        {score.bits_per_character:10.3f}   a character, {size.characters:,}")
    told = ", ".join(f"{name} {value}" for name, value in used.items() if value is not None)
    typer.echo(f"{told}, streams {streams}: {seconds:.1f} s, {size.tokens / seconds:,.0f} tokens a second")


def text_settings(
    segment: int | None, memory: int | None, *, same_length: bool, clamp_length: int | None
) -> dict[str, Any]:
    """The model's settings that were chosen anew."""
    return given(segment=segment, memory=memory, same_length=same_length or None, clamp_length=clamp_length)


def _load(
    model: Path, settings: dict[str, Any], *, device: str | None, threads: int | None
) -> "TextGenerator":
    from saccade.generator import TextGenerator
    from saccade.interop.exported import is_exported

    set_up(device=device, threads=threads)
    if is_exported(model):
        raise UserError(f"{model}: an exported translator; a language model's folder is needed here.")
    return TextGenerator.load(model, device=device, **settings)
