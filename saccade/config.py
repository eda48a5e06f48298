"""TOML tables <-> frozen, typed sections, with errors in the user's own words.

Knows nothing of translation: every part of Saccade subclasses `Section` next to what it configures,
and this file turns a table of a TOML file into such a section or into a `UserError` that names the
key as the user wrote it, its value, what is allowed, and the nearest known name.
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

Table = dict[str, Any]
"""A TOML table as `tomllib` gives it."""


class Section(BaseModel):
    """Base of every configuration section: frozen, strict, no unknown keys, no NaN or infinity.

    A field's docstring is its documentation (unit, source). A field that may be None must have the
    default None: TOML has no null, so any other default could be switched off in Python and would
    silently return when the file is read again.
    """

    # Defaults are not validated: `build` reads in JSON mode, where a default such as Path("runs")
    # would be refused for not being a string. mypy checks their types.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Settings that a section of the same name has in other circumstances, and why this one has not."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        for name, field in cls.model_fields.items():
            if type(None) in get_args(field.annotation) and field.default is not None:
                raise TypeError(f"{cls.__name__}.{name} may be None, so None must be its default")


SectionT = TypeVar("SectionT", bound=Section)


def load_toml(path: Path) -> Table:
    """The tables of a TOML file. UserError when it cannot be read or is not TOML, with line and column."""
    try:
        # utf-8-sig: some Windows editors start a file with a byte order mark, which TOML forbids.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise NotFound(f"{path}: cannot read the configuration: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; TOML files are UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error


def apply_overrides(tables: Mapping[str, Any], overrides: Iterable[str]) -> Table:
    """A copy of `tables` with settings such as "training.steps=2000" put in, later ones winning.

    The right side is read as a TOML value where it is one (2000, 1e-3, true, ["a", "b"]) and is a
    string otherwise, so that paths and names need no quotes within the shell's.
    """
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
    """UserError for every table that is not one of the `known` sections, and for keys outside any section."""
    problems = []
    for name, value in tables.items():
        if not isinstance(value, Mapping):
            problems.append(
                f"{name} = {_shown(value)}: stands outside any section; put it under one of {_listed(known)}."
            )
        elif name not in known:
            hint = _nearest(name, known)
            advice = f"did you mean [{hint}]?" if hint else f"the sections are {_listed(known)}."
            problems.append(f"[{name}]: no such section; {advice}")
    if problems:
        raise ConfigError("\n".join(problems))


def build(cls: type[SectionT], table: Mapping[str, Any], *, where: str) -> SectionT:
    """The section `cls` from the table called `where` ("training") in the user's file.

    Lists become tuples, whole numbers floats and strings paths where the field asks for it; nothing
    else is converted. UserError with one line per problem.
    """
    try:
        # JSON mode is what allows exactly these conversions while strict; a TOML date counts as its text.
        return cls.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        lines: dict[str, str] = {}  # the members of a union report one by one: join them by key
        for problem in error.errors(include_url=False):
            key, text = _problem(cls, table, problem, where=where)
            lines[key] = f"{lines[key]}, or {text}" if key in lines else text
        raise ConfigError("\n".join(f"{key}: {text}" for key, text in lines.items())) from error


def dump_toml(tables: Mapping[str, Any]) -> str:
    """TOML text of sections (or plain mappings) by name; values that are None are left out."""
    return tomli_w.dumps(_plain(tables))


def _plain(value: Any) -> Any:
    """Sections, tuples and paths as what TOML knows."""
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
    except tomllib.TOMLDecodeError:
        return text
    # A line break in the text could smuggle in further keys: then it is just a string.
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
    """One of pydantic's errors as (where and value, what is allowed)."""
    path, value = _locate(table, problem)
    key = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    if problem["type"] == "extra_forbidden":
        return f"{key} = {_shown(value)}", _unknown_key(cls, path, where=where)
    if problem["type"] in ("value_error", "assertion_error"):
        text = str(problem["ctx"]["error"]).rstrip(".")
    else:
        text = _WORDING.get(problem["type"]) or problem["msg"].replace("Input should", "must", 1)
    if isinstance(value, Mapping):  # the section as a whole: a combination of its settings
        return f"[{key}]", text
    return (key, text) if problem["type"] == "missing" else (f"{key} = {_shown(value)}", text)


def _locate(table: Mapping[str, Any], problem: ErrorDetails) -> tuple[list[int | str], Any]:
    """The keys and indices the user wrote, and the value there.

    pydantic adds names of its own to a location (the member of a union that failed); these lead
    nowhere in the user's table, and neither does the last part when a key is missing.
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
    return f"no such setting; [{section}] knows {', '.join(sorted(cls.model_fields)) or 'none'}"


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def _listed(sections: Iterable[str]) -> str:
    return ", ".join(f"[{section}]" for section in sections)


def _shown(value: Any) -> str:
    """A value nearly as the TOML file has it, shortened to fit the line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
