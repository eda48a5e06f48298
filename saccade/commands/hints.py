"""What the command line adds to an error: its own commands and options, which the library does not name."""

import typer

from saccade.errors import UserError

HINTS = {
    "language-model": "Use `saccade generate` to continue text or `saccade perplexity` to score it.",
    "translator": "Use `saccade translate`, or `saccade evaluate` to score its translations.",
    "predictor": "Use `saccade predict`.",
    "out": "Choose another --out.",
    "closed-output": "Give a file with --output.",
    "run-exists": "Resume it with `saccade train --resume {run}`, or choose another --out.",
    "no-run": "Give a folder that `saccade train` made.",
    "no-model": "Give a folder that `saccade train`, `saccade import` or `saccade export` made.",
    "no-export": "Make one with `saccade export`.",
    "no-text": "On the command line, give --source and --target.",
    "reranker": "Give one with --reranker.",
    "fertilities": "Make them with `saccade align TEACHER --source S --target T --fertilities F`.",
    "alignments": "Make them with `saccade align MODEL --source S --target T --out FILE`, by attention "
    "of another model or, with --method eflomal, by counting.",
    "align-text": "Give --source and --target.",
    "gold": "Give --source, --target and --gold.",
    "import": "Convert it with `saccade import {folder} --out MODEL`, then use MODEL.",
    "native-marian": "transformers 4 has a script for this: python -m "
    "transformers.models.marian.convert_marian_to_pytorch --src {folder} --dest CONVERTED. Then use "
    "`saccade import CONVERTED --out MODEL`.",
    "language": "Choose one with --{side}-language.",
    "columns": "On the command line, --columns 1,2 chooses two columns.",
    "toml": "If it is one of several text files, repeat the option: --source FILE --source FILE.",
    "drawing": "Or draw all of it with --out FILE.png.",
    "experiment": "`saccade lab --list` lists them.",
    "demo-steps": "Add --fresh to start again, or leave out --steps.",
}
"""Advice by `UserError.topic`."""

FIRST_TRIES = {
    "language-model": "saccade generate {model}",
    "translator": 'echo "your text" | saccade translate {model}',
    "predictor": 'saccade predict {model} --fill "The [MASK] town"',
}
"""A first command for an imported model, by `Network.topic`."""


def described(error: UserError) -> str:
    """The message and, where the command line has some, its advice."""
    hint = HINTS.get(error.topic or "")
    if hint is None:
        return str(error)
    message = str(error)
    end = "" if message.endswith((".", ":", "!", "?")) else "."
    return f"{message}{end} {hint.format_map(error.details)}"


def report(error: UserError) -> None:
    """Print an error as commands do."""
    typer.echo(f"Error: {described(error)}", err=True)
