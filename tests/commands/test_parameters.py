"""Options derive from sections: the section's type, bounds and docstring are the option's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import pytest
import typer
from pydantic import Field, PositiveInt
from typer.testing import CliRunner

from saccade.__main__ import COMMANDS, app
from saccade.commands import options
from saccade.commands.parameters import Offer, Renamed, Settings, expanded
from saccade.config import Section
from saccade.errors import UserError
from saccade.interop.exported import Target
from saccade.quantisation import RunPrecision
from saccade.use.translator import Engine
from tests.commands.conftest import Run, refused


class Cooking(Section):
    """A section with a setting of each type."""

    minutes: PositiveInt = 4
    """How long it
    boils."""
    salt: float = Field(0.5, ge=0, le=1)
    """How much salt."""
    eggs: PositiveInt | None = None
    """How many eggs."""
    style: Literal["hard", "soft"] = "soft"
    """How it is done."""
    stir: bool = False
    """Whether to stir."""
    spices: tuple[str, ...] = ()
    """What else."""


@dataclass(frozen=True)
class Kitchen:
    place: Annotated[str, typer.Option(metavar="NAME", help="Where.")]
    guests: Annotated[int, typer.Option(min=1, help="For whom.")] = 2


COOK = Offer(Cooking, "minutes", "salt", "eggs", "style", "stir", table="cooking")


def run(*words: str) -> tuple[Any, list[Any]]:
    """How the command ended, and what it was called with."""
    called: list[Any] = []

    def cook(
        dish: Annotated[str, typer.Argument()], *, how: Annotated[Settings, COOK], kitchen: Kitchen
    ) -> None:
        called.append((dish, how, kitchen))

    toy = typer.Typer(rich_markup_mode=None)
    toy.command()(expanded(cook, renamed=(Renamed("--time", "--time is now --minutes."),)))
    return CliRunner().invoke(toy, words), called


def test_what_is_given_is_collected_and_the_rest_is_left_to_the_model() -> None:
    words = ("egg", "--minutes", "7", "--style", "hard", "--no-stir", "--place", "home", "--guests", "3")
    assert run(*words)[1] == [
        ("egg", {"cooking": {"minutes": 7, "style": "hard", "stir": False}}, Kitchen("home", 3))
    ]
    assert run("egg", "--place", "home")[1] == [("egg", {"cooking": {}}, Kitchen("home"))]


def test_set_names_any_setting_of_the_section_and_wins() -> None:
    words = ("--set", 'cooking.spices=["dill"]', "--set", "cooking.minutes=9")
    assert run("egg", "--place", "home", "--minutes", "7", *words)[1][0][1] == {
        "cooking": {"minutes": 9, "spices": ["dill"]}
    }
    for override in ("kitchen.size=3", "minutes=3"):
        result, called = run("egg", "--place", "home", "--set", override)
        assert isinstance(result.exception, UserError) and not called


@pytest.mark.parametrize(
    "words",
    [
        ("--minutes", "0"),
        ("--eggs", "0"),
        ("--salt", "1.5"),
        ("--salt", "-1"),
        ("--guests", "0"),
        ("--eggs", "x"),
    ],
)
def test_bounds_and_types_are_the_sections(words: tuple[str, ...]) -> None:
    result, called = run("egg", "--place", "home", *words)
    assert result.exit_code == 2 and not called
    assert words[0] in result.stderr


def test_the_help_is_the_docstring() -> None:
    text = " ".join(run("--help")[0].stdout.split())
    for words in (
        "--minutes N",
        "How long it boils. [default: (the model's)",
        "--style hard|soft",
        "--salt X",
    ):
        assert words in text
    assert "--time" not in text and "spices" not in text


def test_an_old_name_answers_with_the_new_one_in_one_line() -> None:
    result, called = run("--time", "3")  # before what is missing is looked for
    assert (result.exit_code, result.stderr, called) == (2, "Error: --time is now --minutes.\n", [])


# --- the commands ----------------------------------------------------------------------------------


def parameters(name: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return {parameter.name: parameter for parameter in group.commands[name].params}


NAMES = [command.__name__.rstrip("_") for command in COMMANDS]


@pytest.mark.parametrize("name", [name for name in NAMES if "model" in parameters(name)])
def test_every_command_that_loads_a_model_takes_set(name: str) -> None:
    names = [option for one in parameters(name).values() for option in one.opts]
    # Models that label have no settings of their use.
    assert "--set" in names or name in ("info", "doctor", "predict")


@pytest.mark.parametrize(
    "offer", [options.SEARCH, options.CANDIDATES, options.ITERATIONS, options.FERTILITIES]
)
def test_an_option_of_translate_says_what_its_section_says(offer: Offer) -> None:
    found = parameters("translate")
    for name in offer.names:
        assert found[name].help == " ".join(str(offer.section.model_fields[name].description).split())
        assert found[name].default is None


def test_choices_are_those_of_the_library() -> None:
    assert parameters("translate")["engine"].metavar.split("|") == [*get_args(Engine), *get_args(Target)]
    assert parameters("translate")["precision"].metavar.split("|") == list(get_args(RunPrecision))
    assert parameters("export")["to"].metavar.split("|") == [*get_args(Target), "saccade"]


def test_an_option_and_its_setting_are_the_same(saccade: Run, run_folder: Any) -> None:
    stdin = b"forty-two\nseven\n"
    by_name = saccade("translate", run_folder, "--beam", 3, "--max-length", 9, stdin=stdin)
    words = ("--set", "decoding.beam=3", "--set", "decoding.max_length=9")
    by_key = saccade("translate", run_folder, *words, stdin=stdin)
    assert by_name.code == by_key.code == 0
    assert by_name.out == by_key.out != saccade("translate", run_folder, "--max-length", 2, stdin=stdin).out


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("decoding.beem=3", ["decoding.beem = 3", "did you mean decoding.beam?"]),
        ("decoding.beam=many", ['decoding.beam = "many"', "whole number"]),
        ("decoding.candidates=3", ["decoding.candidates = 3", "only for non-autoregressive models"]),
        ("model.width=3", ["[model]", "[decoding]"]),
        ("beam=3", ["'beam=3'", "section.key=value"]),
    ],
)
@pytest.mark.parametrize("command", ["translate", "attention", "align", "export"])
def test_settings_that_a_model_does_not_have_are_refused_alike(
    saccade: Run, run_folder: Any, corpus: Any, tmp_path: Any, command: str, setting: str, parts: list[str]
) -> None:
    rest = {
        "translate": [],
        "attention": ["one", "--out", tmp_path / "a.svg"],
        "align": ["--source", corpus / "test.en", "--target", corpus / "test.de", "--out", tmp_path / "f"],
        "export": ["--to", "saccade", "--out", tmp_path / "out"],
    }[command]
    refused(saccade(command, run_folder, *rest, "--set", setting, stdin=b"one\n"), *parts)
    assert not list(tmp_path.iterdir())


def test_an_exported_model_has_the_defaults_that_were_set(
    saccade: Run, run_folder: Any, tmp_path: Any
) -> None:
    words = ("--to", "saccade", "--out", tmp_path / "out", "--set", "decoding.max_length=3")
    assert saccade("export", run_folder, *words).code == 0
    stdin = b"nine hundred and ninety-nine thousand\n"
    limited = saccade("translate", run_folder, "--max-length", 3, stdin=stdin)
    assert saccade("translate", tmp_path / "out", stdin=stdin).out == limited.out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["translate", "--teacher", "x"], "--teacher is now --reranker."),
        (["evaluate", "--teacher=x"], "--teacher is now --reranker."),
        (["evaluate", "model", "--text", "x"], "saccade perplexity MODEL --text FILE"),
        (["evaluate", "model", "--memory", "3", "--source", "x"], "saccade perplexity MODEL --text FILE"),
        (["evaluate", "model", "--same-length"], "saccade perplexity MODEL --text FILE"),
    ],
)
def test_old_options_answer_with_the_new_ones(saccade: Run, words: list[str], answer: str) -> None:
    result = saccade(*words)
    assert result.code == 2
    assert answer in result.err and result.err.count("\n") == 1
