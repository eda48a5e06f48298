"""saccade demo: everything once, with nothing but this package."""

import time
from pathlib import Path
from typing import Annotated

import typer

from saccade.commands.parameters import option
from saccade.errors import Interrupted


def demo(
    out: Annotated[Path, option("DIR", "Folder for everything the demo makes.")] = Path("runs/demo"),
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Remove what an earlier demo made in DIR and start again; other files stay."
        ),
    ] = False,
    steps: Annotated[
        int | None, option("N", "Number of updates.", default="enough to learn it", min=1)
    ] = None,
) -> None:
    """Train on a built-in corpus and show the result.

    Trains a small Transformer to translate English number words into German (a few minutes on two cores),
    scores it on numbers that it never saw, translates some of them and draws its attention. An interrupted
    demo resumes where it stopped.

    \b
    Examples:
      saccade demo
      echo "ninety-nine" | saccade translate runs/demo/model
    """
    from saccade import demo as work
    from saccade.distribution import install_hint
    from saccade.training.allocator import steady_memory
    from saccade.training.distributed import process_group

    steady_memory()
    started = time.perf_counter()
    work.make_folder(out, fresh=fresh, steps=steps)
    try:
        with process_group() as group:
            work.train_demo(out, group, steps=steps, say=_say)
        found = work.show_demo(out)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"Stopped. Resume with: saccade demo --out {out}") from None
    scores = found.scores
    typer.echo(f"\n{scores.lines:,} numbers that were not in the training text:")
    typer.echo(
        f"  exact match {scores.exact:.1%}   chrF {scores.chrf:.2f}   BLEU of characters {scores.bleu:.2f}\n"
    )
    for example in found.examples:
        wrong = "" if example.text == example.reference else f"   (right: {example.reference})"
        typer.echo(f"  {example.source}\n    {_short(example.text)}{wrong}")
    typer.echo(f"\nDone in {(time.perf_counter() - started) / 60:.1f} minutes. In {out}:")
    typer.echo("  model/                 the run; model/checkpoints/best is the model")
    typer.echo("  model/metrics.jsonl    loss, scores and speed")
    typer.echo("  translations.txt       translations of corpus/test.en")
    for picture in found.pictures:
        typer.echo(f"  {picture.name}")
    if not found.pictures:
        typer.echo(f"  (no pictures: {install_hint('plot')}, then run this again)")
    typer.echo(f'\nTry:  echo "ninety-nine" | saccade translate {out / "model"}')


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
