"""What a run is made from, as options of the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from saccade.commands.parameters import option

Config = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG.toml", show_default=False, help="Configuration of the run; see examples/."
    ),
]


@dataclass(frozen=True)
class Wanted:
    """What the options say of a run, besides its configuration file."""

    source: Annotated[
        list[Path] | None,
        option(
            "FILE",
            "Training text to translate from, one sentence a line, plain or compressed; repeat the option "
            "for several files.",
        ),
    ] = None
    target: Annotated[
        list[Path] | None,
        option(
            "FILE",
            "Translation of the training text, with as many files; line N translates line N of the source.",
        ),
    ] = None
    pairs: Annotated[
        list[Path] | None,
        option("FILE", "Training text with source and target on one line, separated by a tab (TSV)."),
    ] = None
    columns: Annotated[
        str | None,
        option(
            "N,M", "Columns of source and target in TSV files, counted from 1.", default="a line has only two"
        ),
    ] = None
    valid_source: Annotated[
        list[Path] | None,
        option("FILE", "Validation text to translate from.", default="pairs held out of the training text"),
    ] = None
    valid_target: Annotated[list[Path] | None, option("FILE", "Translation of the validation text.")] = None
    valid_pairs: Annotated[
        list[Path] | None, option("FILE", "Validation text with source and target on one line (TSV).")
    ] = None
    preset: Annotated[
        str | None,
        option(
            "tiny|small|base|big",
            "Size of the model; each kind of model has its own sizes.",
            default="small without CONFIG.toml",
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        option(
            "KEY=VALUE",
            "Any setting by its name in CONFIG.toml, for example training.steps=2000; may be repeated; "
            "of one setting, the last value holds.",
            "--set",
        ),
    ] = None
    init_from: Annotated[
        Path | None,
        option("MODEL", "Model to continue from, with its weights and vocabulary.", default="random weights"),
    ] = None
    source_language: Annotated[
        str | None, option("CODE", "Language of the source; with --init-from, as that model names it.")
    ] = None
    target_language: Annotated[
        str | None, option("CODE", "Language of the target; with --init-from, as that model names it.")
    ] = None

    def tables(self, config: Path | None) -> dict[str, dict[str, Any]]:
        """As tables of a configuration; without one, the options mean a small model."""
        texts = ("source", "target", "pairs", "valid_source", "valid_target", "valid_pairs")
        data: dict[str, Any] = {name: [*map(str, files)] for name in texts if (files := getattr(self, name))}
        for name in ("source_language", "target_language"):
            if (language := getattr(self, name)) is not None:
                data[name] = language
        if self.columns is not None:
            data["columns"] = _columns(self.columns)
        preset = self.preset
        if preset is None and config is None and self.init_from is None:
            preset = "small"
        tables = {
            "data": data,
            "model": {} if preset is None else {"preset": preset},
            "training": {} if self.init_from is None else {"init_from": str(self.init_from)},
        }
        return {name: table for name, table in tables.items() if table}


def _columns(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text}: give two numbers, such as 1,2", param_hint="--columns") from None
