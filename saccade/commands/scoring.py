"""saccade evaluate and score: how good translations are, how likely a given one or a text is."""

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saccade.commands.language import (
    ClampLength,
    Memory,
    SameLength,
    Segment,
    Streams,
    Text,
    evaluate_text,
    text_settings,
)
from saccade.commands.options import (
    Alpha,
    BatchTokens,
    Beam,
    Candidates,
    Device,
    Fertilities,
    Iterations,
    Json,
    LengthPenalty,
    Lowercase,
    MaxLength,
    Model,
    PrecisionName,
    SourceLanguage,
    TargetLanguage,
    Teacher,
    Threads,
    Tokenize,
    given,
    load_translator,
)

if TYPE_CHECKING:
    from saccade.evaluation import Scores


def evaluate(
    model: Model,
    *,
    source: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Text to translate, one sentence a line.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The right translations, one a line, as people write them."),
    ] = None,
    text: Text = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Keep the translations here.")
    ] = None,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    as_json: Json = False,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    alpha: Alpha = None,
    max_length: MaxLength = None,
    candidates: Candidates = None,
    iterations: Iterations = None,
    fertilities: Fertilities = None,
    teacher: Teacher = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    precision: PrecisionName = None,
    device: Device = None,
    threads: Threads = None,
    batch_tokens: BatchTokens = None,
    segment: Segment = None,
    memory: Memory = None,
    same_length: SameLength = False,
    clamp_length: ClampLength = None,
    streams: Streams = None,
) -> None:
    """Translate and score, or judge a text.

    With --source and --reference: prints BLEU and chrF (by sacreBLEU), the share of exact matches, and
    sentences a second. Scores are of detokenised text against the raw reference; each comes with the
    signature that says how it was counted. Time is that of translating and scoring alone.

    With --text: prints perplexity per word and per token and bits per character, line ends counted, and
    under which settings. Unless --streams is given the text is read from beginning to end.

    \b
    Examples:
      saccade evaluate runs/model --source test.en --reference test.de
      saccade evaluate runs/model --source test.en --reference test.zh --tokenize zh --beam 5
      saccade evaluate runs/wikitext-2-transformer-xl --text test.txt --memory 640 --same-length
    """
    options = given(
        beam=beam,
        length_penalty=length_penalty,
        alpha=alpha,
        max_length=max_length,
        candidates=candidates,
        iterations=iterations,
        fertilities=fertilities,
        batch_tokens=batch_tokens,
    )
    for_text = text_settings(segment, memory, same_length=same_length, clamp_length=clamp_length)
    if text is not None:
        _refuse(
            "an option of translators, and --text is for language models",
            source=source,
            reference=reference,
            output=output,
            tokenize=tokenize,
            lowercase=lowercase or None,
            teacher=teacher,
            source_language=source_language,
            target_language=target_language,
            precision=precision,
            **options,
        )
        evaluate_text(
            model,
            text,
            settings=for_text,
            streams=streams or 1,
            as_json=as_json,
            device=device,
            threads=threads,
        )
        return
    _refuse("an option of language models, with --text", **for_text, streams=streams)
    if source is None or reference is None:
        raise typer.BadParameter(
            "both are needed for a translator; --text is for a language model",
            param_hint="--source and --reference",
        )
    from saccade import evaluation
    from saccade.text.corpus import read_parallel

    evaluation.bleu_metric(tokenize, lowercase=lowercase)  # a wrong name is told before the work
    sources, references = read_parallel(source, reference)
    translator = load_translator(model, device=device, threads=threads, precision=precision, reranker=teacher)
    translator = translator.between(source_language, target_language)
    started = time.perf_counter()
    scores, translations = evaluation.evaluate(
        translator, sources, references, tokenize=tokenize, lowercase=lowercase, **options
    )
    seconds = time.perf_counter() - started
    for number, translation in enumerate(translations, start=1):
        if translation.problem is not None:
            typer.echo(f"line {number}: {translation.problem}", err=True)
    if output is not None:
        _write(output, [translation.text for translation in translations])
    _show(scores, seconds, as_json=as_json)


def _show(scores: "Scores", seconds: float, *, as_json: bool) -> None:
    rate = scores.lines / seconds
    if as_json:
        speed = {"seconds": round(seconds, 6), "sentences_per_second": round(rate, 3)}
        typer.echo(json.dumps(scores.as_dict() | speed))
        return
    typer.echo(f"BLEU   {scores.bleu:6.2f}   {scores.signature}")
    if scores.bleu < 1 and scores.chrf > 30:
        typer.echo("  (BLEU counts runs of up to four words; for lines of one word try --tokenize char)")
    typer.echo(f"chrF   {scores.chrf:6.2f}   {scores.chrf_signature}")
    typer.echo(
        f"exact  {scores.exact:6.1%}   {round(scores.exact * scores.lines):,} of {scores.lines:,} lines"
    )
    typer.echo(f"{scores.lines:,} sentences in {seconds:.1f} s: {rate:,.1f} a second")


def score(
    model: Model,
    *,
    source: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Text, one sentence a line.")
    ],
    target: Annotated[
        Path,
        typer.Option(metavar="FILE", show_default=False, help="Translations to be scored, line N to line N."),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: totals, and log_prob and tokens of each line.")
    ] = False,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    device: Device = None,
    threads: Threads = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Tokens scored together, padding counted.")
    ] = 4096,
) -> None:
    """Print how likely given translations are.

    One log-probability a line, in nats, the end symbol counted. The total and the perplexity per target
    token (end symbols counted) go to standard error.

    \b
    Example:
      saccade score runs/model --source test.en --target test.de
    """
    from saccade.text.corpus import read_parallel

    sources, targets = read_parallel(source, target)
    translator = load_translator(model, device=device, threads=threads)
    translator = translator.between(source_language, target_language)
    log_probs = translator.score(sources, targets, batch_tokens=batch_tokens)
    tokens = [len(ids) for ids in translator.tokenizer.encode_target(targets)]
    total, count = math.fsum(log_probs), sum(tokens)
    perplexity = math.exp(min(-total / count, 700.0))
    if as_json:
        lines = [
            {"log_prob": value, "tokens": length} for value, length in zip(log_probs, tokens, strict=True)
        ]
        totals = {"lines": len(lines), "log_prob": total, "tokens": count, "perplexity": perplexity}
        typer.echo(json.dumps(totals | {"scores": lines}))
        return
    for value in log_probs:
        typer.echo(f"{value:.6f}")
    typer.echo(
        f"{len(targets):,} lines, {count:,} tokens: log-probability {total:,.3f} nats, "
        f"perplexity {perplexity:,.3f} a token",
        err=True,
    )


def _refuse(why: str, **options: object) -> None:
    """Options that say nothing here."""
    if names := [name for name, value in options.items() if value is not None]:
        raise typer.BadParameter(why, param_hint=f"--{names[0].replace('_', '-')}")


def _write(path: Path, lines: list[str]) -> None:
    from saccade.folders import disk_error

    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", errors="replace"))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(path, error) from error
