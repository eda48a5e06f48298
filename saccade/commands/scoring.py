"""saccade evaluate, score and compare: how good translations are, and whether a difference means anything."""

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    SourceLanguage,
    TargetLanguage,
    Teacher,
    Threads,
    Tokenize,
    given,
    load_translator,
)

if TYPE_CHECKING:
    from saccade.comparison import Comparison

Reference = Annotated[
    Path,
    typer.Option(
        metavar="FILE", show_default=False, help="The right translations, one a line, as people write them."
    ),
]


def evaluate(
    model: Model,
    *,
    source: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Text to translate, one sentence a line.")
    ],
    reference: Reference,
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
    device: Device = None,
    threads: Threads = None,
    batch_tokens: BatchTokens = None,
) -> None:
    """Translate a test set and score it.

    Prints BLEU and chrF (by sacreBLEU), the share of exact matches, and sentences a second. Scores are of
    detokenised text against the raw reference; each comes with the signature that says how it was counted.
    Time is that of translating and scoring, without loading the model.

    \b
    Examples:
      saccade evaluate runs/model --source test.en --reference test.de
      saccade evaluate runs/model --source test.en --reference test.zh --tokenize zh --beam 5
    """
    from saccade import evaluation
    from saccade.text.corpus import read_parallel

    evaluation.bleu_metric(tokenize, lowercase=lowercase)  # a wrong name is told before the work
    sources, references = read_parallel(source, reference)
    translator = load_translator(model, device=device, threads=threads, teacher=teacher)
    translator = translator.between(source_language, target_language)
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
    speed = {"seconds": round(seconds, 6), "sentences_per_second": round(len(sources) / seconds, 3)}
    if as_json:
        typer.echo(json.dumps(scores.as_dict() | speed))
        return
    typer.echo(f"BLEU   {scores.bleu:6.2f}   {scores.signature}")
    if scores.bleu < 1 and scores.chrf > 30:
        typer.echo("  (BLEU counts runs of up to four words; for lines of one word try --tokenize char)")
    typer.echo(f"chrF   {scores.chrf:6.2f}   {scores.chrf_signature}")
    typer.echo(
        f"exact  {scores.exact:6.1%}   {round(scores.exact * scores.lines):,} of {scores.lines:,} lines"
    )
    typer.echo(
        f"{len(sources):,} sentences in {seconds:.1f} s: {speed['sentences_per_second']:,.1f} a second"
    )


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
    tokens = [len(ids) for ids in translator.model.tokenizer.encode_target(targets)]
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


def compare(
    systems: Annotated[
        list[Path],
        typer.Argument(
            metavar="HYP_OR_RUN",
            show_default=False,
            help="Two or more: text files, or run or model folders. The first is the baseline.",
        ),
    ],
    *,
    reference: Reference,
    source: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text to translate; needed where a folder is compared."),
    ] = None,
    lines: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show so many lines that differ most, by sentence chrF.")
    ] = 5,
    samples: Annotated[int, typer.Option(min=10, metavar="N", help="Bootstrap resamples.")] = 1000,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    as_json: Json = False,
    beam: Beam = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Tell whether systems differ by more than chance.

    Paired bootstrap over the test set: for each system BLEU and chrF with a 95% interval, and the p-value
    of its difference from the first one (Koehn 2004, as sacreBLEU computes it). Then the lines that differ
    most.

    \b
    Examples:
      saccade compare baseline.txt new.txt --reference test.de
      saccade compare runs/a runs/b --source test.en --reference test.de --lines 10
    """
    from saccade import comparison
    from saccade.text.corpus import read_parallel, read_text

    if len(systems) < 2 or len(set(systems)) < len(systems):
        raise typer.BadParameter(
            "give two or more different ones; `saccade evaluate` scores one", param_hint="HYP_OR_RUN"
        )
    if source is None and (folder := next((path for path in systems if path.is_dir()), None)):
        raise typer.BadParameter(f"needed to translate with {folder}", param_hint="--source")
    if source is None:
        sources, references = None, read_text(reference)
    else:
        sources, references = read_parallel(source, reference)
    outputs = {}
    for path in systems:
        if sources is not None and path.is_dir():
            translator = load_translator(path, device=device, threads=threads)
            translator = translator.between(source_language, target_language)
            outputs[str(path)] = [result.text for result in translator.translate(sources, **given(beam=beam))]
        else:
            outputs[str(path)] = read_text(path)
    found = comparison.compare(
        outputs,
        references,
        sources=sources,
        tokenize=tokenize,
        lowercase=lowercase,
        samples=samples,
        most=lines,
    )
    typer.echo(json.dumps(found.as_dict(), ensure_ascii=False) if as_json else "\n".join(_table(found)))


def _table(found: "Comparison") -> list[str]:
    width = max(len(system.name) for system in found.systems)
    heads = "".join(f"  {name + ' (95%)':>16}  {'p':>7}" for name in ("BLEU", "chrF"))
    table = [f"{'system':<{width}}{heads}"]
    for system in found.systems:
        cells = ""
        for value in (system.bleu, system.chrf):
            chance = "" if value.p is None else f"{value.p:.4f}" + ("*" if value.p < 0.05 else " ")
            cells += f"  {f'{value.score:.2f} ± {value.interval:.2f}':>16}  {chance:>7}"
        table.append(f"{system.name:<{width}}{cells}".rstrip())
    table += ["", f"p: of the difference from {found.systems[0].name}; * below 0.05, unlikely to be chance"]
    table += list(found.signatures)
    for line in found.differences:
        chrf = f"chrF {line.baseline_chrf:.1f} and {line.chrf:.1f}"
        table += ["", f"line {line.line}, {found.systems[0].name} and {line.system}: {chrf}"]
        table += [] if line.source is None else [f"  source     {line.source}"]
        table += [
            f"  reference  {line.reference}",
            f"  first      {line.baseline_text}",
            f"  second     {line.text}",
        ]
    return table


def _write(path: Path, lines: list[str]) -> None:
    from saccade.checkpoint import disk_error

    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", errors="replace"))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(path, error) from error
