"""saccade evaluate and saccade score: how good translations are, and how likely given ones are."""

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.options import (
    CANDIDATES,
    FERTILITIES,
    ITERATIONS,
    SEARCH,
    Json,
    Lowercase,
    Model,
    PrecisionName,
    Reference,
    Reranker,
    Source,
    Target,
    Tokenize,
    Use,
    load_translator,
)
from saccade.commands.output import output_file
from saccade.commands.parameters import Offer, Settings, option
from saccade.decoding.options import DecodingConfig

if TYPE_CHECKING:
    from saccade.evaluation import Scores


def evaluate(
    model: Model,
    *,
    source: Source,
    reference: Reference,
    output: Annotated[Path | None, option("FILE", "File for the translations.", "--output", "-o")] = None,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    as_json: Json = False,
    settings: Annotated[Settings, SEARCH, CANDIDATES, ITERATIONS, FERTILITIES],
    reranker: Reranker = None,
    precision: PrecisionName = None,
    use: Use,
) -> None:
    """Translate a text and score the translations.

    Prints BLEU and chrF (by sacreBLEU), the share of exact matches, and sentences per second. Detokenised
    translations are compared with the reference as it is; each score comes with the signature that says how
    it was computed. The time covers translating and scoring alone.

    \b
    Examples:
      saccade evaluate runs/model --source test.en --reference test.de
      saccade evaluate runs/model --source test.en --reference test.zh --beam 5
    """
    from saccade import evaluation
    from saccade.text.corpus import read_parallel

    evaluation.bleu_metric(tokenize, lowercase=lowercase)  # a wrong name is reported before the work
    sources, references = read_parallel(source, reference)
    translator = load_translator(model, use, settings, precision=precision, reranker=reranker)
    started = time.perf_counter()
    scores, translations = evaluation.evaluate(
        translator, sources, references, tokenize=tokenize, lowercase=lowercase, **settings["decoding"]
    )
    seconds = time.perf_counter() - started
    for number, translation in enumerate(translations, start=1):
        if translation.problem is not None:
            typer.echo(f"line {number}: {translation.problem}", err=True)
    if output is not None:
        with output_file(output) as stream:
            for translation in translations:
                stream.write(f"{translation.text}\n".encode("utf-8", errors="replace"))
    _show(scores, seconds, as_json=as_json)


def _show(scores: "Scores", seconds: float, *, as_json: bool) -> None:
    rate = scores.lines / seconds
    if as_json:
        speed = {"seconds": round(seconds, 6), "sentences_per_second": round(rate, 3)}
        typer.echo(json.dumps(scores.as_dict() | speed))
        return
    typer.echo(f"BLEU   {scores.bleu:6.2f}   {scores.signature}")
    if scores.bleu < 1 and scores.chrf > 30 and "tok:char" not in scores.signature:
        typer.echo("  (BLEU counts sequences of up to four words; for lines of one word try --tokenize char)")
    typer.echo(f"chrF   {scores.chrf:6.2f}   {scores.chrf_signature}")
    typer.echo(
        f"exact  {scores.exact:6.1%}   {round(scores.exact * scores.lines):,} of {scores.lines:,} lines"
    )
    typer.echo(f"{scores.lines:,} sentences in {seconds:.1f} s: {rate:,.1f} per second")


def score(
    model: Model,
    *,
    source: Source,
    target: Target,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object: totals, and log_prob, score and tokens of each line."
        ),
    ] = False,
    settings: Annotated[Settings, Offer(DecodingConfig, "length_penalty", "alpha", "batch_tokens")],
    use: Use,
) -> None:
    """Print the log-probability of given translations.

    Prints one log-probability a line, in nats, including the end-of-sentence token. The total and the
    perplexity per target token go to standard error. Tokens count as they do in translate: with the same
    settings, a translation gets the log_prob and the score that translate --json printed for it. If a kind of
    model cannot do this, both commands name what their log_prob sums over.

    \b
    Example:
      saccade score runs/model --source test.en --target test.de
    """
    from saccade.text.corpus import read_parallel

    sources, targets = read_parallel(source, target)
    translator = load_translator(model, use, settings)
    scores = translator.score_targets(sources, targets, **settings["decoding"])
    total, count = math.fsum(one.log_prob for one in scores), sum(one.tokens for one in scores)
    perplexity = math.exp(min(-total / count, 700.0))
    summed = translator.decoder.sums_over(translator.options(**settings["decoding"]), given=True)
    if as_json:
        totals: dict[str, Any] = {"lines": len(scores), "log_prob": total, "tokens": count}
        if summed:
            totals["log_prob_sums_over"] = summed
        totals |= {"perplexity": perplexity, "scores": [vars(one) for one in scores]}
        typer.echo(json.dumps(totals))
        return
    for one in scores:
        typer.echo(f"{one.log_prob:.6f}")
    about = f" (summed over {summed})" if summed else ""
    typer.echo(
        f"{len(targets):,} lines, {count:,} tokens: log-probability {total:,.3f} nats{about}, "
        f"perplexity {perplexity:,.3f} per token",
        err=True,
    )
