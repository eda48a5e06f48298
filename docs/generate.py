"""Write docs/reference.md from the code: commands and options, exit codes, configuration sections and keys.

`python docs/generate.py` or `make docs` writes it; with `--check` it exits 1 if the page is out of date.
"""

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from saccade import __main__ as program
from saccade.config import Section
from saccade.decoding.nonautoregressive.decoders import DECODERS
from saccade.decoding.options import DecodingConfig
from saccade.models import KINDS, Presets
from saccade.models.families import TranslationModel
from saccade.tasks import TASKS
from saccade.tasks.interface import SECTIONS
from saccade.tasks.translation_validation import ValidationConfig
from saccade.text.corpus import DataConfig
from saccade.text.tokenizer import TokenizerConfig
from saccade.training.settings import TrainingConfig

PAGE = Path(__file__).with_name("reference.md")

CONFIGURATION: dict[str, type[Section]] = {
    "data": DataConfig,
    "tokenizer": TokenizerConfig,
    "training": TrainingConfig,
    "validation": ValidationConfig,
    "decoding": DecodingConfig,
}
"""[model] is missing: each kind of model has a section of its own."""

WIDTH = 110

INTRODUCTION = """
Every command and every setting, as the code has them. `saccade COMMAND --help` prints the first part,
`saccade check CONFIG.toml` every setting of a configuration with its value.
"""
EVERY_COMMAND = """
Every command also has `--help` (`-h`); `saccade --version` prints the version. Several processes train one
model with `torchrun --nproc-per-node N -m saccade train ...`.
"""
ABOUT_CONFIGURATION = """
A configuration is a TOML file of the sections below. Every key has a default, only the training text must be
named. Paths are relative to the folder where the command is run. `--set section.key=value` overrides a key.
An unknown key, a value of the wrong type or outside its range, and settings that contradict each other are
refused before any work, with exit code 2; the message names the key, the value and what is allowed. If a
default is "unset", omit the key to use it.
"""


def reference() -> str:
    """The whole page."""
    assert {*CONFIGURATION, "model"} == set(SECTIONS), "a section of the configuration has no description"
    lines = [
        "# Reference",
        "",
        "<!-- Written by docs/generate.py from the code: change that, then run `make docs`. -->",
        "",
        *paragraph(INTRODUCTION),
        "## Commands",
        "",
        *commands(),
        *paragraph(EVERY_COMMAND),
        "## Exit codes",
        "",
        *exit_codes(),
        "",
        "## Configuration",
        "",
        *paragraph(ABOUT_CONFIGURATION),
        *configuration(),
    ]
    return "\n".join(lines).rstrip() + "\n"


# --- commands --------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """Help, arguments and options of each command, in the order of `saccade --help`."""
    group: Any = typer.main.get_command(program.app)
    for name, command in group.commands.items():
        shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
        arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
        options = [parameter for parameter in shown if parameter.param_type_name == "option"]
        usage = " ".join([f"saccade {name}", "[OPTIONS]" if options else "", *map(usage_of, arguments)])
        yield from [f"### saccade {name}", "", "```", usage, "```", ""]
        yield from command_help(command.help)
        for parameter in [*arguments, *options]:
            yield from item(parameter_name(parameter), parameter_facts(parameter), parameter.help or "")
        yield ""


def command_help(text: str) -> Iterator[str]:
    """The help of a command; what follows a "\\b" is a heading and lines to be kept as they are."""
    for part in text.split("\n\n"):
        if not part.startswith("\b"):
            yield from paragraph(part)
            continue
        heading, _, rest = part.removeprefix("\b").strip().partition("\n")
        yield from [heading, "", "```", textwrap.dedent(rest), "```", ""]


def usage_of(argument: Any) -> str:
    """MODEL, [FILE] or HYP_OR_RUN..."""
    name = f"{argument.metavar}{'...' if argument.nargs == -1 else ''}"
    return name if argument.required else f"[{name}]"


def parameter_name(parameter: Any) -> str:
    """`--beam N`, `-o, --output FILE` or `MODEL`."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(sorted([*parameter.opts, *parameter.secondary_opts], key=len))
    return names if parameter.is_flag else f"{names} {parameter.metavar}"


def parameter_facts(parameter: Any) -> list[str]:
    """Whether it is needed, its range and its default, as far as there is something to say."""
    facts = ["required"] if parameter.required else []
    repeats = parameter.param_type_name == "option" and parameter.multiple
    if repeats and "may be repeated" not in (parameter.help or ""):
        facts.append("may be repeated")
    # typer before 0.20 has the bounds in a type of click's.
    bounds = parameter if hasattr(parameter, "min") else parameter.type
    facts += [
        f"at {word} {bound}"
        for word, bound in (("least", getattr(bounds, "min", None)), ("most", getattr(bounds, "max", None)))
        if bound is not None
    ]
    if isinstance(parameter.show_default, str):
        facts.append(f"default: {parameter.show_default}")
    elif parameter.default not in (None, False) and parameter.show_default:
        facts.append(f"default: {parameter.default}")
    return facts


def exit_codes() -> Iterator[str]:
    """From the docstring of the command line, which lists them after "Exit codes:"."""
    text = inspect.getdoc(program) or ""
    listed = " ".join(text.partition("Exit codes:")[2].split()).rstrip(".")
    for entry in listed.split("; "):
        code, _, meaning = entry.partition(" ")
        yield from item(code.rstrip(","), [], meaning)


# --- configuration ---------------------------------------------------------------------------------


def configuration() -> Iterator[str]:
    """All sections in the order of a configuration file."""
    for name in SECTIONS:
        if name != "model":
            yield from section(f"[{name}]", CONFIGURATION[name])
            if name == "decoding":
                for scheme, decoder in DECODERS.items():
                    yield from section(f'[decoding] of a model with decoder "{scheme}"', decoder.options)
            for cls, owners in other_sections(name).items():
                yield from section(f"[{name}] of {', of '.join(owners)}", cls)
            continue
        for name_of_kind, kind in KINDS.items():
            presets = list(preset_items(kind.presets))
            yield from section(f'[model] of kind "{name_of_kind}"', kind.config, before=presets)


def other_sections(name: str) -> dict[type[Section], list[str]]:
    """The sections of a name of models that do not translate, each with the families that have it; without
    those that have no keys, or are the one of translation."""
    found: dict[type[Section], list[str]] = {}
    for family, config in {kind.family: kind.config for kind in KINDS.values()}.items():
        if not issubclass(family, TranslationModel):
            cls = TASKS[family].sections(config()).get(name)
            if cls is not None and cls.model_fields and cls is not CONFIGURATION[name]:
                found.setdefault(cls, []).append(family.purpose.partition(", which")[0])
    return found


def section(title: str, cls: type[Section], *, before: Sequence[str] = ()) -> Iterator[str]:
    """A heading, the section's docstring and its keys, `before` ahead of them."""
    yield from [f"### {title}", ""]
    yield from paragraph(inspect.cleandoc(cls.__doc__ or ""))
    yield from before
    for name, schema in cls.model_json_schema()["properties"].items():
        default = "unset" if schema["default"] is None else toml(schema["default"])
        yield from item(name, [allowed(schema), f"default: {default}"], schema.get("description", ""))
    yield ""


def preset_items(presets: Presets) -> Iterator[str]:
    """The key `preset`, which no section has: it stands for others."""
    facts = [", ".join(map(toml, presets)), "default: unset"]
    yield from item("preset", facts, "Settings under one name; keys beside it override them.")
    for name, settings in presets.items():
        stated = ", ".join(f"`{key} = {toml(value)}`" for key, value in settings.items())
        yield from item(toml(name), [], stated or "the defaults", indent=2)


def allowed(schema: dict[str, Any]) -> str:
    """Type and range of a key in words, from its JSON schema."""
    if "anyOf" in schema:  # a type, or null, which is to leave the key out
        return " or ".join(alternatives([one for one in schema["anyOf"] if one.get("type") != "null"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(map(toml, schema.get("enum", [schema.get("const")])))
    if schema["type"] == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(allowed(one) for one in schema['prefixItems'])}]"
        one = allowed(schema["items"])
        return f"[{one}, ...]" if "prefixItems" in schema["items"] else f"{one}, or a list of them"
    if schema.get("format") == "path":
        return "path"
    words = {"integer": "whole number", "number": "number", "boolean": "true, false", "string": "text"}
    bounds = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
    }
    # What is more than 0 and whole is at least 1, which reads better.
    if schema["type"] == "integer" and schema.get("exclusiveMinimum") == 0:
        schema = {**schema, "minimum": 1}
        del schema["exclusiveMinimum"]
    limits = [text.format(toml(schema[key])) for key, text in bounds.items() if key in schema]
    return " ".join([words[schema["type"]], " and ".join(limits)]).strip()


def alternatives(schemas: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Each in words; a list beside a single value has rules of its own."""
    for schema in schemas:
        of_its_own = len(schemas) > 1 and "items" in schema
        yield f"[{allowed(schema['items'])}, ...]" if of_its_own else allowed(schema)


def toml(value: Any) -> str:
    """A value as a configuration file has it."""
    return json.dumps(value, ensure_ascii=False)


# --- Markdown --------------------------------------------------------------------------------------


def paragraph(text: str) -> list[str]:
    """Wrapped text and an empty line."""
    return [
        *textwrap.wrap(
            escaped(" ".join(text.split())), WIDTH, break_long_words=False, break_on_hyphens=False
        ),
        "",
    ]


def item(name: str, facts: Iterable[str], text: str, *, indent: int = 0) -> list[str]:
    """A list entry: name, facts in brackets, explanation."""
    stated = "; ".join(facts)
    head = f"- `{name}`" + (f" ({escaped(stated)})" if stated else "")
    margin = " " * indent
    return textwrap.wrap(
        f"{head}: {escaped(' '.join(text.split()))}" if text else head,
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def escaped(text: str) -> str:
    """Outside code, signs that Markdown would take for its own."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<*])", r"\\\1", part) for part in parts)


def main() -> None:
    """Write the page, or with --check compare it."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("usage: python docs/generate.py [--check]")
    text = reference()
    if not sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8", newline="\n")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE}: out of date: run `make docs`.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
