"""Configuration: what is accepted, and errors in the words of the user's own file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from saccade.config import Section, apply_overrides, build, check_sections, dump_toml, load_toml
from saccade.errors import UserError


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class Clipping(Section):
    """A nested section."""

    norm: float = 1.0
    """Largest gradient norm."""


class Training(Section):
    """One field of every sort that the real sections have."""

    steps: PositiveInt = 100
    """Updates."""
    rate: float = Field(default=1e-3, gt=0, le=1)
    betas: tuple[float, float] = (0.9, 0.98)
    out: Path = Path("runs/here")
    sources: Annotated[tuple[Path, ...], BeforeValidator(_one_or_many)] = ()
    precision: Literal["float32", "bfloat16"] = "float32"
    average: int | Literal["all"] = "all"
    limit: PositiveInt | None = None
    compile: bool = False
    clipping: Clipping = Clipping()

    @model_validator(mode="after")
    def _steps_suffice(self) -> Training:
        if self.limit is not None and self.limit > self.steps:
            raise ValueError(f"limit ({self.limit}) is above steps ({self.steps}); lower it.")
        return self


class Needy(Section):
    """A section with a setting that has no default."""

    source: Path


def refusal(table: dict[str, Any], cls: type[Section] = Training) -> str:
    with pytest.raises(UserError) as caught:
        build(cls, table, where="training")
    return str(caught.value)


def test_an_empty_table_gives_the_defaults() -> None:
    assert build(Training, {}, where="training") == Training()


def test_an_unknown_key_is_refused_with_the_nearest_name() -> None:
    assert refusal({"stepz": 5}) == "training.stepz = 5: no such setting; did you mean training.steps?"


def test_an_unknown_key_unlike_any_other_lists_what_there_is() -> None:
    message = refusal({"banana": "ripe"})
    assert message.startswith('training.banana = "ripe": no such setting; [training] has average, betas,')


def test_an_unknown_key_of_a_nested_section_is_named_in_full() -> None:
    message = refusal({"clipping": {"nrm": 2.0}})
    assert message == "training.clipping.nrm = 2.0: no such setting; did you mean training.clipping.norm?"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"steps": "many"}, 'training.steps = "many": must be a whole number'),
        ({"steps": 1.5}, "training.steps = 1.5: must be a whole number"),
        ({"rate": "fast"}, 'training.rate = "fast": must be a number'),
        ({"compile": 1}, "training.compile = 1: must be true or false"),
        ({"out": 3}, "training.out = 3: must be text in quotes"),
        ({"betas": 0.9}, "training.betas = 0.9: must be a list in square brackets"),
        ({"betas": [0.9, "b"]}, 'training.betas[1] = "b": must be a number'),
        ({"betas": [0.9]}, "training.betas[1]: is missing and has no default"),
        ({"clipping": 1.0}, "training.clipping = 1.0: must be a section of its own"),
        ({"average": 0.5}, "training.average = 0.5: must be a whole number, or must be 'all'"),
        ({"precision": "fp16"}, "training.precision = \"fp16\": must be 'float32' or 'bfloat16'"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_what_is_allowed(table: dict[str, Any], message: str) -> None:
    assert refusal(table) == message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"steps": 0}, "training.steps = 0: must be greater than 0"),
        ({"rate": 1.5}, "training.rate = 1.5: must be less than or equal to 1"),
        ({"limit": -1}, "training.limit = -1: must be greater than 0"),
    ],
)
def test_a_value_out_of_range_is_named_with_the_bound(table: dict[str, Any], message: str) -> None:
    assert refusal(table) == message


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_infinities_and_nan_are_no_numbers_for_a_setting(value: float) -> None:
    assert "must be a finite number" in refusal({"clipping": {"norm": value}})


def test_an_impossible_combination_is_reported_with_the_section() -> None:
    message = refusal({"steps": 5, "limit": 6})
    assert message == "[training]: limit (6) is above steps (5); lower it"


def test_a_missing_setting_is_named() -> None:
    assert refusal({}, Needy) == "training.source: is missing and has no default"


def test_every_problem_gets_its_own_line() -> None:
    lines = refusal({"steps": 0, "rate": True, "precison": "float32"}).split("\n")
    assert len(lines) == 3
    assert {line.split(" ")[0] for line in lines} == {"training.steps", "training.rate", "training.precison"}


def test_a_long_value_is_shortened() -> None:
    assert len(refusal({"steps": "x" * 1000})) < 150


def test_a_whole_number_is_accepted_for_a_float() -> None:
    training = build(Training, {"rate": 1, "betas": [0, 1]}, where="training")
    assert training.rate == 1.0 and isinstance(training.rate, float)
    assert training.betas == (0.0, 1.0) and all(isinstance(beta, float) for beta in training.betas)


@pytest.mark.parametrize("key", ["steps", "rate", "limit"])
def test_true_is_no_number(key: str) -> None:
    assert f"training.{key} = true: must be a" in refusal({key: True})


def test_a_path_in_a_string_becomes_a_path() -> None:
    assert build(Training, {"out": "a/b"}, where="training").out == Path("a/b")


def test_one_path_or_several_can_be_accepted_by_a_validator() -> None:
    assert build(Training, {"sources": "a"}, where="training").sources == (Path("a"),)
    assert build(Training, {"sources": ["a", "b"]}, where="training").sources == (Path("a"), Path("b"))


def test_sections_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Training().steps = 5  # type: ignore[misc]


def test_a_setting_that_may_be_none_must_default_to_none() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.limit may be None, so None must be its default"):

        class Wrong(Section):
            limit: int | None = 3


def test_docstrings_of_fields_are_kept_for_the_reference() -> None:
    assert Training.model_fields["steps"].description == "Updates."


# --- overrides ---------------------------------------------------------------------------------


def test_overrides_are_read_as_toml_values_or_else_as_strings() -> None:
    tables = apply_overrides(
        {"training": {"steps": 1, "rate": 0.1}},
        [
            "training.steps=2000",
            "training.betas=[0.8, 0.9]",
            "training.compile=true",
            "training.precision=bfloat16",
            'training.out="1"',
            "data.source=a=b.txt",
            "training.clipping.norm = 5e-1",
        ],
    )
    assert tables == {
        "training": {
            "steps": 2000,
            "rate": 0.1,
            "betas": [0.8, 0.9],
            "compile": True,
            "precision": "bfloat16",
            "out": "1",
            "clipping": {"norm": 0.5},
        },
        "data": {"source": "a=b.txt"},
    }


def test_the_last_override_of_a_key_wins_and_the_original_is_left_alone() -> None:
    original = {"training": {"steps": 1}}
    assert apply_overrides(original, ["training.steps=2", "training.steps=3"]) == {"training": {"steps": 3}}
    assert original == {"training": {"steps": 1}}


@pytest.mark.parametrize(
    "override", ["", "steps", "steps=3", "training.=3", ".steps=3", "=", "training.steps"]
)
def test_what_is_no_override_is_refused_with_an_example(override: str) -> None:
    with pytest.raises(UserError, match="write section.key=value, as in training.steps=2000"):
        apply_overrides({}, [override])


def test_an_override_cannot_reach_into_a_value() -> None:
    with pytest.raises(UserError, match=r"training\.steps is a value, not a section"):
        apply_overrides({"training": {"steps": 1}}, ["training.steps.more=1"])


def test_an_override_sets_one_key_whatever_its_text() -> None:
    assert apply_overrides({}, ["a.b=1\nc=2"]) == {"a": {"b": "1\nc=2"}}


def test_an_override_of_an_unknown_section_is_refused_with_the_nearest_name() -> None:
    tables = apply_overrides({"training": {}}, ["trainign.steps=3"])
    with pytest.raises(UserError) as caught:
        check_sections(tables, ["data", "training"])
    assert str(caught.value) == "[trainign]: no such section; did you mean [training]?"


def test_unknown_sections_and_stray_keys_are_all_reported() -> None:
    with pytest.raises(UserError) as caught:
        check_sections({"weather": {}, "steps": 5, "data": {}}, ["data", "training"])
    assert str(caught.value).split("\n") == [
        "[weather]: no such section; the sections are [data], [training].",
        "steps = 5: is outside any section; put it under one of [data], [training].",
    ]


# --- files -------------------------------------------------------------------------------------


def test_a_syntax_error_is_reported_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[training]\nsteps = \n")
    with pytest.raises(UserError, match=r"run\.toml: not valid TOML: .*line 2"):
        load_toml(path)


def test_a_missing_file_is_reported_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.toml: cannot read the configuration: No such file"):
        load_toml(tmp_path / "absent.toml")


def test_a_file_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b'[data]\nsource = "caf\xe9"\n')
    with pytest.raises(UserError, match=r"run\.toml: not UTF-8 at byte 20"):
        load_toml(path)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf[training]\r\nsteps = 3\r\n")
    assert load_toml(path) == {"training": {"steps": 3}}


def test_none_is_left_out_of_toml() -> None:
    assert dump_toml({"training": {"limit": None, "steps": 3}}) == "[training]\nsteps = 3\n"


@given(
    steps=st.integers(1, 2**62),
    rate=st.floats(0, 1, exclude_min=True),
    betas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    out=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    sources=st.lists(st.sampled_from(["a", "b/c", 'quo"te', "ü ö"]), max_size=3),
    average=st.integers(0, 9) | st.just("all"),
    norm=st.floats(allow_nan=False, allow_infinity=False),
)
def test_sections_survive_the_way_through_toml(
    tmp_path_factory: pytest.TempPathFactory,
    steps: int,
    rate: float,
    betas: tuple[float, float],
    out: str,
    sources: list[str],
    average: Any,
    norm: float,
) -> None:
    training = Training(
        steps=steps,
        rate=rate,
        betas=betas,
        out=Path(out),
        sources=tuple(map(Path, sources)),
        average=average,
        clipping=Clipping(norm=norm),
    )
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(dump_toml({"training": training}), encoding="utf-8", newline="\n")
    assert build(Training, load_toml(path)["training"], where="training") == training


class Elsewhere(Section):
    """Has what it has, and says where the rest is."""

    elsewhere: ClassVar[Mapping[str, str]] = {"beams": "only for models that search"}
    beam: int = 1


def test_a_setting_of_another_kind_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match=r"^decoding\.beams = 3: only for models that search$"):
        build(Elsewhere, {"beams": 3}, where="decoding")
    with pytest.raises(UserError, match=r"did you mean decoding\.beam"):
        build(Elsewhere, {"baem": 3}, where="decoding")
