"""Every number of a request has bounds, and what memory cannot hold is refused before any work."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from saccade.comparison import compare
from saccade.config import Section
from saccade.decoding import memory
from saccade.decoding.nonautoregressive.decoders import DECODERS
from saccade.decoding.options import DecodingConfig
from saccade.decoding.text_options import ContinuationConfig
from saccade.errors import ConfigError, UserError
from saccade.nn.reading import DistanceConfig
from saccade.use.generator import TextGenerator
from saccade.use.translator import Translator
from tests import tiny
from tests.decoding.test_strategy import model as non_autoregressive
from tests.test_generator import model as language_model

ENDLESS = [10**9, 10**30, -1, -(10**9)]
FREE = {"seed"}  # any whole number


@functools.cache
def translator() -> Translator:
    return Translator.of(tiny.model())


def numbers(section: type[Section]) -> list[str]:
    kinds = (int, float, int | None, float | None)
    return [name for name, field in section.model_fields.items() if field.annotation in kinds]


SECTIONS = [DecodingConfig, ContinuationConfig, DistanceConfig, *(one.options for one in DECODERS.values())]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_number_of_a_section_has_bounds_on_both_sides(section: type[Section]) -> None:
    for name in set(numbers(section)) - FREE:
        rules = section.model_fields[name].metadata
        assert any(getattr(rule, "le", None) is not None for rule in rules), name
        assert any(hasattr(rule, "ge") or hasattr(rule, "gt") for rule in rules), name


@pytest.mark.parametrize("value", ENDLESS)
@pytest.mark.parametrize("name", sorted(set(numbers(DecodingConfig)) - FREE))
def test_endless_settings_of_search_are_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(UserError, match=rf"decoding\.{name} = "):
        translator().translate(["a"], **{name: value})


@pytest.mark.parametrize("decoder", DECODERS)
def test_endless_settings_of_non_autoregressive_models_are_refused_by_name(decoder: str) -> None:
    writer = Translator.of(non_autoregressive(decoder, tiny.sentence_pieces()))
    for name in set(numbers(writer.decoder.options)) - FREE:
        for value in ENDLESS:
            with pytest.raises(UserError, match=rf"decoding\.{name} = "):
                writer.translate(["a"], **{name: value})


@pytest.mark.parametrize("value", ENDLESS)
@pytest.mark.parametrize("name", sorted(set(numbers(ContinuationConfig)) - FREE))
def test_endless_settings_of_language_models_are_refused_by_name(name: str, value: int) -> None:
    writer = TextGenerator(language_model("transformer-xl"))
    with pytest.raises(UserError, match=rf"decoding\.{name} = "):
        writer.generate("the dog", **{name: value})


def test_the_tokens_of_all_samples_have_a_bound() -> None:
    with pytest.raises(UserError, match="50,000 samples of 1,000 tokens are more than 10,000,000"):
        TextGenerator(language_model("transformer-xl")).generate(samples=50_000, tokens=1_000)


@pytest.mark.parametrize("temperature", [1e-300, 1e-4])
def test_a_temperature_beyond_the_range_of_numbers_is_refused(temperature: float) -> None:
    with pytest.raises(UserError, match=r"decoding\.temperature"):
        translator().translate(["a"], sample=True, temperature=temperature)
    with pytest.raises(UserError, match="temperature .* must be 0 or at least 0.001"):
        TextGenerator(language_model("transformer-xl")).generate(temperature=temperature)


@pytest.mark.parametrize("temperature", [0.001, 1000.0])
def test_temperatures_at_the_bounds_still_draw(temperature: float) -> None:
    [found] = translator().translate(["a cat"], sample=True, temperature=temperature, max_length=5)
    assert not found.failed


@pytest.mark.parametrize("chunk", [0, -3, 10**9, 2.5, True, None])
def test_chunks_of_a_stream_are_a_reasonable_number_of_lines(chunk: Any) -> None:
    with pytest.raises(ConfigError, match="chunk = .* must be a whole number from 1"):
        translator().stream(["a"], chunk=chunk)


@pytest.mark.parametrize("count", [0, -1, 10**9, 1.5])
def test_parts_of_a_text_and_resamples_have_bounds(count: Any) -> None:
    with pytest.raises(ConfigError, match="streams = "):
        TextGenerator(language_model("transformer-xl")).score(["a"], streams=count)
    with pytest.raises(ConfigError, match="samples = "):
        compare({"a": ["x"], "b": ["y"]}, ["x"], samples=count)
    with pytest.raises(ConfigError, match="batch_tokens = "):
        translator().score(["a"], ["b"], batch_tokens=count)


def test_banned_ids_must_exist() -> None:
    size = translator().decoder.vocabulary.target_size
    with pytest.raises(ConfigError, match=rf"no id {size}; its ids are 0 to {size - 1}"):
        translator().translate(["a"], banned=[4, size])
    assert translator().translate(["a"], banned=[size - 1], max_length=3)


def test_hypotheses_that_memory_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_SMALL", 1_000)
    monkeypatch.setattr(memory, "total_memory", lambda _: 100_000)
    with pytest.raises(ConfigError, match=r"decoding\.beam = 1,000: a sentence would need about .* memory"):
        translator().translate(["a"], beam=1_000)
    with pytest.raises(ConfigError, match=r"decoding\.nbest = 1,000"):
        translator().translate(["a"], sample=True, nbest=1_000)
    assert translator().translate(["a"], beam=2, max_length=3)


def test_memory_is_what_the_machine_or_its_container_has() -> None:
    found = memory.total_memory("cpu")
    assert found is None or found > 100_000_000


def test_many_samples_of_a_language_model_begin_with_those_of_fewer() -> None:
    """More are written in groups; the draws of each depend on its number alone."""
    writer = TextGenerator(language_model("transformer-xl"))
    many = writer.generate("the dog", samples=70, tokens=3)
    assert len({one.tokens for one in many[:40]}) > 5
    for count in (1, 3, 65):
        few = writer.generate("the dog", samples=count, tokens=3)
        assert [one.tokens for one in few] == [one.tokens for one in many[:count]]
