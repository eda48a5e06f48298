"""Options of the command line that derive from classes, so that each of them is written once.

A command's parameter stands for several options where its type is a dataclass (one option for each field) or
`Annotated[Settings, Offer(...), ...]` (one for each setting that is offered by name, and `--set` for all).
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from saccade.config import Section, apply_overrides, check_sections


def option(metavar: str, text: str, *names: str, default: str | bool = True, **rules: Any) -> Any:
    """An option with the help `text`; default: what the help says in place of the value itself."""
    return typer.Option(*names, metavar=metavar, help=text, show_default=default, **rules)


Settings = dict[str, dict[str, Any]]
"""Settings that were given, by table and name; the model's own hold for the others."""

_METAVARS = {int: "N", float: "X", str: "TEXT"}


class Offer:
    """Settings of a section that a command offers by name; table: the section's name in a configuration."""

    def __init__(self, section: type[Section], *names: str, table: str = "decoding") -> None:
        self.section, self.names, self.table = section, names, table


@dataclass(frozen=True)
class Renamed:
    """An option that a command no longer has; `answer` says what to use. flag: it took no value."""

    name: str
    answer: str
    flag: bool = False


def expanded(command: Callable[..., None], *, renamed: tuple[Renamed, ...] = ()) -> Callable[..., None]:
    """The command with one parameter for each option, as typer wants it."""
    signature = inspect.signature(command, eval_str=True)
    groups = {name: _group(parameter) for name, parameter in signature.parameters.items()}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        group = groups[name]
        parameters += [parameter] if group is None else group.parameters
    parameters += [_refusing(number, old) for number, old in enumerate(renamed)]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for number in range(len(renamed)):
            values.pop(f"renamed_{number}")
        for name, group in groups.items():
            if group is not None:
                own = {parameter.name: values.pop(parameter.name) for parameter in group.parameters}
                values[name] = group.make(own)
        command(**values)

    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


@dataclass(frozen=True)
class _Group:
    """What one parameter of a command stands for, and how its value is made of theirs."""

    parameters: list[inspect.Parameter]
    make: Callable[[Mapping[str, Any]], object]


def _group(parameter: inspect.Parameter) -> _Group | None:
    hint = parameter.annotation
    if isinstance(hint, type) and is_dataclass(hint):
        return _Group(list(_fields(hint)), lambda values: hint(**values))
    offers = [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Offer)]
    if not offers:
        return None
    own = [_option(offer.section, name) for offer in offers for name in offer.names]
    return _Group([*own, _set_option(offers[0])], functools.partial(_settings, offers))


def _fields(group: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield _parameter(field.name, hints[field.name], default=default)


def _option(section: type[Section], name: str) -> inspect.Parameter:
    """The option for one setting: its type, bounds and docstring; without it, the model's own value holds."""
    field = section.model_fields[name]
    kind, rules = _kind(field.annotation)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    kind = str if choices else kind
    low, high = _bounds([*field.metadata, *rules], whole=kind is int)
    info = typer.Option(
        metavar=None if kind is bool else "|".join(choices) or _METAVARS[kind],
        show_default="the model's",
        min=low,
        max=high,
        help=" ".join((field.description or "").split()),
    )
    return _parameter(name, Annotated[kind | None, info])


def _kind(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A setting's type, the None of an unset one left out, and the rules that come with the type."""
    if get_origin(annotation) is Annotated:
        kind, *rules = get_args(annotation)
        return kind, tuple(rules)
    if get_origin(annotation) in (Union, UnionType):
        [member] = [one for one in get_args(annotation) if one is not NoneType]
        return _kind(member)
    return annotation, ()


def _bounds(rules: list[Any], *, whole: bool) -> tuple[float | None, float | None]:
    """Least and greatest value. A number may not equal the bound of `gt`, which is left to the section."""
    low = high = None
    for rule in rules:  # of pydantic's: each has one of these
        low, high = getattr(rule, "ge", low), getattr(rule, "le", high)
        if whole and hasattr(rule, "gt"):
            low = rule.gt + 1
    return low, high


def _set_option(offer: Offer) -> inspect.Parameter:
    some = next(iter(offer.section.model_fields))
    info = typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting by its name in a configuration, for example "
        f"{offer.table}.{offer.names[0] if offer.names else some}=4; may be repeated; "
        "of one setting, the last value holds.",
    )
    return _parameter("overrides", Annotated[list[str] | None, info])


def _settings(offers: list[Offer], values: Mapping[str, Any]) -> Settings:
    tables: Settings = {offer.table: {} for offer in offers}
    known = list(tables)
    for offer in offers:
        given = {name: values[name] for name in offer.names if values[name] is not None}
        tables[offer.table].update(given)
    tables = apply_overrides(tables, values["overrides"] or ())
    check_sections(tables, known)
    return tables


def _refusing(number: int, old: Renamed) -> inspect.Parameter:
    """A hidden option that ends the command before any other option is looked at."""

    def refuse(value: object) -> None:
        if value:
            typer.echo(f"Error: {old.answer}", err=True)
            raise typer.Exit(2)

    info = typer.Option(old.name, hidden=True, is_eager=True, callback=refuse)
    kind = bool if old.flag else str
    return _parameter(f"renamed_{number}", Annotated[kind | None, info])


def _parameter(name: str, annotation: Any, *, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
