"""The command line: the list of commands, and the handling of their errors.

Exit codes: 0 success; 1 an internal error, with a traceback; 2 an error in the user's input or configuration;
130 interrupted; 141 the reader of the output has closed the pipe.
"""

import errno
import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from saccade.commands.align import align
from saccade.commands.check import check
from saccade.commands.compare import compare
from saccade.commands.demo import demo
from saccade.commands.distill import distill
from saccade.commands.doctor import doctor
from saccade.commands.hints import report
from saccade.commands.info import info
from saccade.commands.inputs import StrictCommand, separate_inputs
from saccade.commands.inspect import attention
from saccade.commands.interop import export, import_
from saccade.commands.lab import lab
from saccade.commands.language import generate, perplexity
from saccade.commands.parameters import expanded
from saccade.commands.predict import predict
from saccade.commands.renamed import RENAMED
from saccade.commands.scoring import evaluate, score
from saccade.commands.streams import NOBODY_READS, settle_streams
from saccade.commands.train import train
from saccade.commands.translate import translate
from saccade.distribution import version
from saccade.errors import Interrupted, SlowWarning, UserError

COMMANDS = (
    train,
    translate,
    evaluate,
    score,
    compare,
    generate,
    perplexity,
    predict,
    check,
    info,
    attention,
    distill,
    align,
    import_,
    export,
    doctor,
    demo,
    lab,
)
"""The commands in the order of the help."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}


def main() -> None:
    """Runs the command that the arguments name."""
    # By default OpenMP's threads spin while they wait for each other. With a second busy process on two
    # cores this made a training step 19 times slower (5.6 s instead of 0.29 s). torch reads it when it loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    settle_streams()
    try:
        app(prog_name="saccade")
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()  # not at exit, when Python would print an error of its own


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Wraps a command so that errors are printed as messages and become exit codes."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = functools.partial(_note, warnings.showwarning)
                command(*arguments, **options)
        except UserError as error:
            report(error)
            raise typer.Exit(2) from None
        except Interrupted as stopped:
            _end(str(stopped), 130)
        except KeyboardInterrupt:
            _end("Interrupted.", 130)
        except BrokenPipeError:
            raise typer.Exit(NOBODY_READS) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            if error.errno in _FULL:
                _end(f"Error: {where}cannot write: {error.strerror}. Free some space and try again.", 2)
            if error.errno in _NOT_ALLOWED:
                _end(f"Error: {where}{error.strerror}. Correct this and try again.", 2)
            raise

    return run


def _note(other: Callable[..., None], message: Warning | str, *about: Any, **details: Any) -> None:
    """Shows warnings of ours as commands show notes, and those of others as `other` does."""
    if isinstance(message, SlowWarning):
        typer.echo(f"Note: {message}", err=True)
    else:
        other(message, *about, **details)


def _end(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"saccade {version()}")
        raise typer.Exit


# Plain help needs no imports and can be piped.
app = typer.Typer(
    help="Saccade: two text files in, a translator out.",
    epilog="Start with `saccade demo`, or `saccade train --source a.en --target a.de`. "
    "`saccade COMMAND --help` explains a command.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for _command in COMMANDS:
    _name = _command.__name__.rstrip("_")
    _run = _guarded(separate_inputs(expanded(_command, renamed=RENAMED.get(_name, ()))))
    app.command(_name, cls=StrictCommand, no_args_is_help=False)(_run)


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Declares the options of the program itself."""


if __name__ == "__main__":
    main()
