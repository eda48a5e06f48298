"""saccade generate and saccade perplexity: what language models do."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.options import Json, Model, Running
from saccade.commands.parameters import Offer, Settings, option
from saccade.decoding.text_options import ContinuationConfig
from saccade.errors import UserError
from saccade.nn.reading import OVERRIDABLE, DistanceConfig

if TYPE_CHECKING:
    from saccade.use.generator import Continuation, TextGenerator

READING = Offer(DistanceConfig, *OVERRIDABLE, table="model")


def generate(
    model: Model,
    *,
    prompt: Annotated[str, option("TEXT", "Text to continue.", default="the start of a line")] = "",
    settings: Annotated[Settings, Offer(ContinuationConfig, *ContinuationConfig.model_fields), READING],
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a JSON object for each continuation: prompt, text, tokens, log_prob (nats), problem.",
        ),
    ] = False,
    running: Running,
) -> None:
    """Continue a text with a language model.

    Prints the text and its continuation. The model sees as much of the text before each token as its memory
    holds; one that was trained without a memory looks back over the length of its segments.

    \b
    Examples:
      saccade generate runs/wikitext-2-transformer-xl --prompt "The old town" --tokens 200
      saccade generate runs/model --prompt "The old town" --temperature 0.8 --top-p 0.9 --samples 3
    """
    options = settings["decoding"]
    generator = _load(model, settings, running)
    generator.options(**options)  # a wrong setting is reported before any work
    for number, found in enumerate(generator.generate(prompt, **options)):
        if not number and found.problem is not None:
            typer.echo(found.problem, err=True)
        if as_json:
            typer.echo(json.dumps(_fields(found), ensure_ascii=False))
            continue
        if number:
            typer.echo("---")
        typer.echo(f"{found.prompt}{found.text}")


def _fields(found: "Continuation") -> dict[str, Any]:
    fields = {name: value for name, value in vars(found).items() if name != "problems"}
    if found.problems:
        fields |= {"problem": found.problem, "problems": [one.code for one in found.problems]}
    return fields


def perplexity(
    model: Model,
    *,
    text: Annotated[Path, option("FILE", "Text to score, read as one document.")],
    settings: Annotated[Settings, READING],
    streams: Annotated[
        int,
        option(
            "N",
            "Number of parts of the text that are read in parallel, which is faster; each part starts "
            "with an empty memory.",
            min=1,
            max=100_000,
        ),
    ] = 1,
    as_json: Json = False,
    running: Running,
) -> None:
    """Score a text with a language model.

    Prints the perplexity per word and per token, and bits per character; line ends count in all three. With
    one stream, the text is read from beginning to end.

    \b
    Examples:
      saccade perplexity runs/model --text test.txt
      saccade perplexity runs/wikitext-2-transformer-xl --text test.txt --memory 640 --same-length
    """
    from saccade.text.reading import read_text

    lines = read_text(text)
    generator = _load(model, settings, running)
    started = time.perf_counter()
    score = generator.score(lines, streams=streams)
    seconds = time.perf_counter() - started
    used = generator.config.model_dump(mode="json", include=set(OVERRIDABLE))
    size, rate = score.size, score.size.tokens / seconds
    if as_json:
        speed = {"seconds": round(seconds, 6), "tokens_per_second": round(rate, 3)}
        typer.echo(json.dumps({**score.as_dict(), **used, "streams": streams, **speed}))
        return
    typer.echo(f"perplexity  {score.word_perplexity:10.3f}   per word, {size.words:,} including line ends")
    typer.echo(f"perplexity  {score.perplexity:10.3f}   per token, {size.tokens:,}, {size.unknown:,} unknown")
    typer.echo(f"bits        {score.bits_per_character:10.3f}   per character, {size.characters:,}")
    shown = ", ".join(f"{name} {value}" for name, value in used.items() if value is not None)
    typer.echo(f"{shown}, streams {streams}: {seconds:.1f} s, {rate:,.0f} tokens per second")


def _load(model: Path, settings: Settings, running: Running) -> "TextGenerator":
    from saccade.interop.exported import is_exported
    from saccade.use.generator import TextGenerator

    running.set_up()
    if is_exported(model):
        raise UserError(f"{model}: an exported translator; give the folder of a language model.")
    return TextGenerator.load(model, device=running.device, **settings["model"])
