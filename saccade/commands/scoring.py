"""saccade evaluate and saccade score: how good translations are, and how likely given ones are."""

import json
import math
import time
from itertools import islice
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
    Models,
    PrecisionName,
    References,
    Reranker,
    Source,
    Target,
    Tokenize,
    Use,
    ensemble,
    load_translator,
)
from saccade.commands.output import check_outputs, output_file
from saccade.commands.parameters import Offer, Settings, option
from saccade.commands.problems import SHOWN, ProblemReport
from saccade.decoding.options import DecodingConfig
from saccade.errors import NotFound

if TYPE_CHECKING:
    from saccade.evaluation import Scores
    from saccade.use.results import Problem


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL_OR_TEXT",
            show_default=False,
            help="A run or model folder, several separated by commas (an ensemble), or a file of "
            "translations, one a line.",
        ),
    ],
    *,
    reference: References,
    source: Annotated[Path | None, option("FILE", "Text to translate; needed for a model.")] = None,
    output: Annotated[Path | None, option("FILE", "File for the translations.", "--output", "-o")] = None,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    as_json: Json = False,
    settings: Annotated[Settings, SEARCH, CANDIDATES, ITERATIONS, FERTILITIES],
    reranker: Reranker = None,
    precision: PrecisionName = None,
    use: Use,
) -> None:
    """Score the translations of a model or in a file.

    Prints BLEU and chrF (by sacreBLEU), the share of exact matches, and sentences per second. Detokenised
    translations are compared with the reference as it is; each score comes with the signature that says how
    it was computed. The time covers translating and scoring alone. Translations that are doubtful (cut,
    repeating themselves, very short) are named on standard error and counted, in JSON under `problems`.

    \b
    Examples:
      saccade evaluate runs/model --source test.en --reference test.de
      saccade evaluate runs/model --source test.en --reference test.zh --beam 5
      saccade evaluate translations.txt --reference first.de --reference second.de
    """
    from saccade import evaluation
    from saccade.text.corpus import read_side_by_side

    check_outputs(output, inputs=(source, *reference))
    how: dict[str, Any] = {"tokenize": tokenize, "lowercase": lowercase}
    evaluation.bleu_metric(**how)  # a wrong name is reported before the work
    if _is_text(model):
        _only_for_models(
            model, source, output, settings["decoding"], reranker, precision, *vars(use).values()
        )
        texts, references, *how["more_references"] = read_side_by_side([model, *reference])
        _show(evaluation.score_text(texts, references, **how), as_json=as_json)
        return
    if not model.exists() and not ensemble(model):
        raise NotFound(f"{model}: no such file or folder.")
    if source is None:
        raise typer.BadParameter(f"needed to translate with {model}", param_hint="--source")
    sources, references, *how["more_references"] = read_side_by_side([source, *reference])
    translator = load_translator(model, use, settings, precision=precision, reranker=reranker)
    started = time.perf_counter()
    scores, translations = evaluation.evaluate(translator, sources, references, **how, **settings["decoding"])
    seconds = time.perf_counter() - started
    problems = ProblemReport()
    for number, translation in enumerate(translations, start=1):
        problems.at(number, translation)
    problems.end()
    try:
        if output is not None:
            with output_file(output) as stream:
                for translation in translations:
                    stream.write(f"{translation.text}\n".encode("utf-8", errors="replace"))
    finally:
        _show(scores, seconds, as_json=as_json, problems=problems.counts)


def _is_text(model: Path) -> bool:
    from saccade.text.opening import is_standard_input

    return is_standard_input(model) or (model.exists() and not model.is_dir())


def _only_for_models(model: Path, *given: object) -> None:
    if any(given):
        raise typer.BadParameter(
            f"{model} is a text of translations: give only --reference, --tokenize, --lowercase and --json "
            "with it. Other options are for a model that translates",
            param_hint="MODEL_OR_TEXT",
        )


def _show(
    scores: "Scores",
    seconds: float | None = None,
    *,
    as_json: bool,
    problems: dict[str, int] | None = None,
) -> None:
    if as_json:
        speed: dict[str, Any] = {} if problems is None else {"problems": problems}
        if seconds is not None:
            rate = round(scores.lines / seconds, 3)
            speed |= {"seconds": round(seconds, 6), "sentences_per_second": rate}
        typer.echo(json.dumps(scores.as_dict() | speed))
        return
    typer.echo(f"BLEU   {scores.bleu:6.2f}   {scores.signature}")
    if scores.bleu < 1 and scores.chrf > 30 and "tok:char" not in scores.signature:
        typer.echo("  (BLEU counts sequences of up to four words; for lines of one word try --tokenize char)")
    typer.echo(f"chrF   {scores.chrf:6.2f}   {scores.chrf_signature}")
    typer.echo(
        f"exact  {scores.exact:6.1%}   {round(scores.exact * scores.lines):,} of {scores.lines:,} lines"
    )
    if seconds is not None:
        rate = scores.lines / seconds
        typer.echo(f"{scores.lines:,} sentences in {seconds:.1f} s: {rate:,.1f} per second")


def score(
    model: Models,
    *,
    source: Source,
    target: Target,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object: totals, and log_prob, score, tokens and any problem of each line.",
        ),
    ] = False,
    settings: Annotated[
        Settings, Offer(DecodingConfig, "length_penalty", "alpha", "max_source_length", "batch_tokens")
    ],
    use: Use,
) -> None:
    """Print the log-probability of given translations.

    Prints one log-probability a line, in nats, including the end-of-sentence token. The total and the
    perplexity per target token go to standard error, and so do lines with characters that the vocabulary
    lacks, which are scored as unknown. Tokens count as they do in translate: with the same settings, a
    translation gets the log_prob and the score that translate --json printed for it. If a kind of model
    cannot do this, both commands name what their log_prob sums over.

    \b
    Example:
      saccade score runs/model --source test.en --target test.de
    """
    from saccade.text.corpus import read_parallel

    sources, targets = read_parallel(source, target)
    translator = load_translator(model, use, settings)
    scores = translator.score_targets(sources, targets, **settings["decoding"])
    unknown = dict(translator.checks().unknown(sources, targets))
    for number, problem in islice(unknown.items(), SHOWN):
        typer.echo(f"line {number + 1}: {problem}, scored as unknown", err=True)
    if unknown:
        typer.echo(f"{len(unknown):,} of {len(targets):,} lines have unknown characters", err=True)
    total, count = math.fsum(one.log_prob for one in scores), sum(one.tokens for one in scores)
    perplexity = math.exp(min(-total / count, 700.0))
    summed = translator.decoder.sums_over(translator.options(**settings["decoding"]), given=True)
    if as_json:
        lines = [vars(one) | _problem(unknown.get(number)) for number, one in enumerate(scores)]
        totals: dict[str, Any] = {"lines": len(scores), "log_prob": total, "tokens": count}
        if summed:
            totals["log_prob_sums_over"] = summed
        typer.echo(json.dumps(totals | {"perplexity": perplexity, "scores": lines}))
        return
    for one in scores:
        typer.echo(f"{one.log_prob:.6f}")
    about = f" (summed over {summed})" if summed else ""
    typer.echo(
        f"{len(targets):,} lines, {count:,} tokens: log-probability {total:,.3f} nats{about}, "
        f"perplexity {perplexity:,.3f} per token",
        err=True,
    )


def _problem(problem: "Problem | None") -> dict[str, Any]:
    return {} if problem is None else {"problem": problem.message, "problems": [problem.code]}
