"""What every command checks of its arguments before it begins: options given twice, inputs named twice."""

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

INPUTS = (
    *("config", "source", "target", "pairs", "valid_source", "valid_target", "valid_pairs"),
    *("file", "model", "prefix_file", "reference", "systems", "text", "sample", "gold"),
)
"""Parameters that name text to read."""


class StrictCommand(TyperCommand):
    """A command that refuses an option given twice, of which the last value alone would be used."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments; see `click.Command.parse_args`."""
        _, rest, order = self.make_parser(ctx).parse_args(args=list(args))
        given = Counter(parameter for parameter in order if parameter.param_type_name == "option")
        eager = any(parameter.is_eager for parameter in given)
        for parameter, times in given.items():
            if times > 1 and not parameter.multiple and not eager:
                name = "/".join([max(parameter.opts, key=len), *parameter.secondary_opts])
                ctx.fail(f"{name}: given {times} times; give it once.")
        several = [max(parameter.opts, key=len) for parameter in self.params if _takes_several(parameter)]
        if rest and several and not eager:
            ctx.fail(
                f"unexpected {', '.join(map(str, rest))}. If this is one of several files, repeat the option "
                f"before each: {several[0]} FILE {several[0]} FILE."
            )
        return super().parse_args(ctx, args)


def _takes_several(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and parameter.multiple and parameter.name in INPUTS


def separate_inputs(command: Callable[..., None]) -> Callable[..., None]:
    """Wraps a command so that two inputs which name the same pipe, or both standard input, are refused."""

    @functools.wraps(command)
    def run(*arguments: Any, **values: Any) -> None:
        from saccade.text.opening import refuse_shared

        refuse_shared({_shown(name): _paths(values[name]) for name in INPUTS if name in values})
        command(*arguments, **values)

    return run


def _shown(name: str) -> str:
    positional = {"model": "MODEL", "file": "FILE", "config": "CONFIG.toml", "systems": "HYP_OR_RUN"}
    return positional.get(name) or f"--{name.replace('_', '-')}"


def _paths(value: object) -> list[Path]:
    values = value if isinstance(value, list | tuple) else [value]
    return [one for one in values if isinstance(one, Path)]
