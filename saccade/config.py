"""Conversion between TOML tables and frozen, typed sections, with errors in the terms of the file.

Every part of Saccade subclasses `Section` next to the code that it configures. This file turns a table of a
TOML file into such a section, or into a `UserError` that names the key as the user wrote it, its value, the
allowed values, and the nearest known name.
"""

from __future__ import annotations

import copy
import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from saccade.errors import ConfigError, NotFound
from saccade.storage.structured import NotUtf8Error, parse_toml, read_utf8, reason

_LARGEST = 1 << 20  # bytes of a configuration

Table = dict[str, Any]
"""A TOML table as `tomllib` returns it."""


class Section(BaseModel):
    """The base of every configuration section: frozen and strict, without unknown keys, NaN or infinity.

    A field's docstring is its documentation (unit, source). A field that may be None must have the default
    None: TOML has no null, so that a None instead of another default would be lost when a file is written and
    read again.
    """

    # Defaults are not validated: `build` reads in JSON mode, where a default such as Path("runs")
    # would be refused for not being a string. mypy checks their types.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Settings of other sections with the same name, and the reasons why this one does not have them."""

    changeable: ClassVar[frozenset[str]] = frozenset()
    """Settings that may be changed when a run is resumed."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        for name, field in cls.model_fields.items():
            if type(None) in get_args(field.annotation) and field.default is not None:
                raise TypeError(f"{cls.__name__}.{name} may be None, so None must be its default")


SectionT = TypeVar("SectionT", bound=Section)


def load_toml(path: Path) -> Table:
    """Reads the tables of a TOML file; raises UserError, with line and column, if it is not valid."""
    try:
        return parse_toml(read_utf8(path, limit=_LARGEST, pipes=True))
    except OSError as error:
        raise NotFound(f"{path}: cannot read the configuration: {error.strerror}.") from error
    except NotUtf8Error as error:
        raise _no_toml(path, f"{reason(error)}; TOML files are UTF-8") from error
    except ValueError as error:
        raise _no_toml(path, f"not valid TOML: {reason(error)}") from error


def _no_toml(path: Path, problem: str) -> ConfigError:
    message = f"{path}: {problem}."
    return ConfigError(message) if path.suffix == ".toml" else ConfigError(message, topic="toml")


def apply_overrides(tables: Mapping[str, Any], overrides: Iterable[str]) -> Table:
    """A copy of `tables` with overrides such as "training.steps=2000"; later ones take precedence.

    The right side is read as a TOML value if it is one (2000, 1e-3, true, ["a", "b"]), and otherwise as a
    string, so that paths and names need no quotes inside those of the shell.
    """
    if isinstance(overrides, str):
        raise TypeError(f"overrides is a single str; give a list with one str for each: [{overrides!r}].")
    result = copy.deepcopy(dict(tables))
    for override in overrides:
        key, equals, text = override.partition("=")
        *sections, name = (part.strip() for part in key.split("."))
        if not equals or not sections or not name or not all(sections):
            raise ConfigError(
                f"{override!r} is not an override; write section.key=value, as in training.steps=2000."
            )
        table = result
        for depth, section in enumerate(sections, start=1):
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{override}: {'.'.join(sections[:depth])} is a value, not a section.")
        table[name] = _override_value(text.strip())
    return result


def check_sections(tables: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises UserError for tables that are not `known` sections, and for keys outside any section."""
    problems = []
    for name, value in tables.items():
        if not isinstance(value, Mapping):
            problems.append(
                f"{name} = {_shown(value)}: is outside any section; put it under one of {_listed(known)}."
            )
        elif name not in known:
            hint = _nearest(name, known)
            advice = f"did you mean [{hint}]?" if hint else f"the sections are {_listed(known)}."
            problems.append(f"[{name}]: no such section; {advice}")
    if problems:
        raise ConfigError("\n".join(problems))


def build(cls: type[SectionT], table: Mapping[str, Any], *, where: str) -> SectionT:
    """Builds the section `cls` from the table named `where` ("training") in the user's file.

    Lists become tuples, whole numbers floats and strings paths if the field has that type; nothing else is
    converted. Raises UserError with one line per problem.
    """
    try:
        # Strict JSON mode allows exactly these conversions; a TOML date becomes its text.
        return cls.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        lines: dict[str, str] = {}  # each member of a union reports its own problem: join them by key
        for problem in error.errors(include_url=False):
            key, text = _problem(cls, table, problem, where=where)
            lines[key] = f"{lines[key]}, or {text}" if key in lines else text
        raise ConfigError("\n".join(f"{key}: {text}" for key, text in lines.items())) from error


def require_count(value: object, name: str, *, least: int = 1, most: int) -> None:
    """Raises UserError unless an argument is a whole number from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigError(f"{name} = {value!r}: must be a whole number from {least:,} to {most:,}.")


def dump_toml(tables: Mapping[str, Any]) -> str:
    """The TOML text of sections (or plain mappings) by name, without values that are None."""
    return tomli_w.dumps(_plain(tables))


def _plain(value: Any) -> Any:
    """Converts sections, tuples and paths to types that TOML has."""
    if isinstance(value, Section):
        value = dict(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _override_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    # Text with a line break could define further keys, and is then read as a string.
    return parsed["value"] if parsed.keys() == {"value"} else text


_WORDING = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "tuple_type": "must be a list in square brackets",
    "list_type": "must be a list in square brackets",
    "missing": "is missing and has no default",
    "model_type": "must be a section of its own",
    "dict_type": "must be a section of its own",
    "finite_number": "must be a finite number",
}


def _problem(
    cls: type[Section], table: Mapping[str, Any], problem: ErrorDetails, *, where: str
) -> tuple[str, str]:
    """One of pydantic's errors as (key and value, what is allowed)."""
    path, value = _locate(table, problem)
    key = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    if problem["type"] == "extra_forbidden":
        return f"{key} = {_shown(value)}", _unknown_key(cls, path, where=where)
    if problem["type"] in ("value_error", "assertion_error"):
        text = str(problem["ctx"]["error"]).rstrip(".")
    else:
        text = _WORDING.get(problem["type"]) or problem["msg"].replace("Input should", "must", 1)
    if isinstance(value, Mapping):  # the problem is a combination of the section's settings
        return f"[{key}]", text
    return (key, text) if problem["type"] == "missing" else (f"{key} = {_shown(value)}", text)


def _locate(table: Mapping[str, Any], problem: ErrorDetails) -> tuple[list[int | str], Any]:
    """The keys and indices in the user's table that lead to a problem, and the value there.

    pydantic adds names of its own to a location (the member of a union that failed), which do not exist in
    the user's table; neither does the last part if a key is missing.
    """
    path: list[int | str] = []
    value: Any = table
    for part in problem["loc"]:
        if isinstance(value, Mapping) and part in value:
            value = value[str(part)]
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        path.append(part)
    if problem["type"] == "missing":
        return [*path, problem["loc"][-1]], None
    return path, value


def _unknown_key(cls: type[Section], path: list[int | str], *, where: str) -> str:
    *outer, name = path
    for part in outer:
        field = cls.model_fields.get(str(part))
        for candidate in (field.annotation, *get_args(field.annotation)) if field else ():
            if isinstance(candidate, type) and issubclass(candidate, Section):
                cls = candidate
    section = ".".join([where, *map(str, outer)])
    if (reason := cls.elsewhere.get(str(name))) and not outer:
        return reason
    hint = _nearest(str(name), cls.model_fields)
    if hint:
        return f"no such setting; did you mean {section}.{hint}?"
    return f"no such setting; [{section}] has {', '.join(sorted(cls.model_fields)) or 'none'}"


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def _listed(sections: Iterable[str]) -> str:
    return ", ".join(f"[{section}]" for section in sections)


def _shown(value: Any) -> str:
    """A value in nearly the form of the TOML file, shortened to fit into a line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
