"""What is wrong with a line or its translation is found, and nothing else is."""

from __future__ import annotations

import functools
import itertools
import pickle
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.decoding.hypothesis import Hypothesis
from saccade.errors import TooLong
from saccade.model_folder.checkpoint import Model, save_model
from saccade.text.lengths import SeenLengths, default_limit
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig
from saccade.use.problems import LineChecks, Loop, repetition
from saccade.use.results import ProblemCode, Translation
from saccade.use.translator import Translator
from tests import kinds, tiny
from tests.decoding.test_strategy import DECODERS
from tests.decoding.test_strategy import model as non_autoregressive

SEEN = SeenLengths(source=30, target=40, source_mean=10.0, target_mean=12.0)


def checks(**changes: Any) -> LineChecks:
    values = {"seen": None, "limit": None, "reads": None, "writes": None, **changes}
    return LineChecks(tiny.Words(60), **values)


def codes(translation: Translation) -> list[str]:
    return [one.code for one in translation.problems]


@functools.cache
def ascii_only() -> SentencePieceTokenizer:
    """Its vocabulary has the letters of LINES and no bytes."""
    return SentencePieceTokenizer.learn(TokenizerConfig(byte_fallback=False), tiny.LINES, tiny.LINES)


# --- repetitions -----------------------------------------------------------------------------------


def slow_repetition(tokens: Sequence[int]) -> int:
    """Tokens of the longest stretch in which an n-gram stands at least 4 times, 12 tokens or more."""
    best = 0
    for begin, end in itertools.combinations(range(len(tokens) + 1), 2):
        for period in range(1, min(24, (end - begin) // 4) + 1):
            part = tokens[begin:end]
            if len(part) >= 12 and all(one == other for one, other in zip(part, part[period:], strict=False)):
                best = max(best, len(part))
    return best


@given(
    st.lists(st.integers(4, 7), max_size=10),
    st.lists(st.integers(4, 7), min_size=1, max_size=4),
    st.integers(1, 7),
    st.lists(st.integers(4, 7), max_size=4),
)
def test_a_repetition_is_the_longest_stretch_that_repeats_itself(
    before: list[int], gram: list[int], times: int, after: list[int]
) -> None:
    tokens = [*before, *gram * times, *after]
    found = repetition(tokens)
    assert (0 if found is None else found.tokens) == slow_repetition(tokens)
    if found is not None:
        part = tokens[found.start : found.start + found.tokens]
        assert part == [part[place % found.period] for place in range(len(part))]
        assert found.times >= 4


def test_ordinary_sentences_do_not_repeat_themselves() -> None:
    generator = random.Random(1)
    for _ in range(200):
        words = [generator.randrange(4, 40) for _ in range(generator.randrange(60))]
        assert repetition(words) is None
    assert repetition([5, 5, 5, 5, 5, 6]) is None
    assert repetition([5] * 12) == Loop(0, 1, 12)


def test_a_loop_is_reported_unless_the_line_repeats_itself_too() -> None:
    plain, looping = [5, 6, 7, 8, 9, 3], [10, 11] * 8
    [problem] = checks().doubts("", plain, Hypothesis(tuple(looping), -1.0, -1.0))
    assert (problem.code, problem.message) == ("repeats", "the translation repeats '10 11' 8 times in a row")
    assert checks().doubts("", [4, *[5, 6] * 8, 3], Hypothesis(tuple(looping), -1.0, -1.0)) == ()


# --- lost sentences --------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_line_ends_within_a_line_are_reported(end: str) -> None:
    plain = Hypothesis((5, 6), -1.0, -1.0)
    [problem] = checks().doubts(f"a cat{end}a dog{end}", [4, 5, 3], plain)
    assert problem.code == "breaks"
    assert f"1 line break(s) within it (U+{ord(end):04X})" in problem.message
    assert checks().doubts(f"{end}a cat{end}", [4, 5, 3], plain) == ()


@pytest.mark.parametrize("character", ["\0", "\x08", "\x1b", "\x1f", "\x7f"])
def test_control_characters_are_reported(character: str) -> None:
    plain = Hypothesis((5, 6), -1.0, -1.0)
    [problem] = checks().doubts(f"a{character} cat", [4, 5, 3], plain)
    assert problem.code == "control"
    assert f"1 control character(s) (U+{ord(character):04X})" in problem.message
    assert checks().doubts("a\tcat\n", [4, 5, 3], plain) == ()


@pytest.mark.parametrize(
    ("source", "target", "seen", "expected"),
    [
        (450, 55, None, ["short"]),
        (24, 6, None, ["short"]),
        (24, 7, None, []),
        (23, 2, None, []),
        (30, 10, SEEN, ["short"]),
        (30, 11, SEEN, []),
        (60, 50, SEEN, []),
        (61, 50, SEEN, ["long"]),
        (450, 55, SEEN, ["short", "long"]),
    ],
)
def test_a_translation_far_too_short_and_a_line_far_too_long_are_reported(
    source: int, target: int, seen: SeenLengths | None, expected: list[str]
) -> None:
    ids = list(itertools.islice(itertools.cycle(range(4, 60)), source - 1))
    tokens = tuple(itertools.islice(itertools.cycle(range(4, 60)), target))
    found = checks(seen=seen).doubts("", [*ids, 3], Hypothesis(tokens, -1.0, -1.0))
    assert [one.code for one in found] == expected


# --- cuts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["transformer", "recurrent, dot", "convolutional"])
def test_greedy_search_is_cut_exactly_where_a_greater_length_gives_another_translation(kind: str) -> None:
    network = kinds.ending(kind)
    translator = Translator.of(Model(network, network.config, tiny.Words()))
    sources = [" ".join(str(4 + (7 * n + k) % 9) for k in range(1 + n % 6)) for n in range(30)]
    free, just_ended = translator.translate(sources, beam=1, max_length=20), 0
    for longest in range(2, 10):
        limited = translator.translate(sources, beam=1, max_length=longest)
        cut = ["cut" in codes(one) for one in limited]
        assert cut == [one.text != other.text for one, other in zip(limited, free, strict=True)]
        whole = [one for one, flag in zip(limited, cut, strict=True) if not flag]
        just_ended += sum(len(one.tokens) + 1 == longest for one in whole)
    assert just_ended


@pytest.mark.parametrize("options", [{"beam": 4, "nbest": 2}, {"sample": True, "nbest": 2}])
def test_a_hypothesis_is_cut_where_the_end_was_not_the_likeliest_piece(options: dict[str, Any]) -> None:
    network = kinds.ending("transformer")
    translator = Translator.of(Model(network, network.config, tiny.Words()))
    sources = [" ".join(str(4 + (7 * n + k) % 9) for k in range(1 + n % 6)) for n in range(30)]
    found = translator.translate(sources, max_length=6, **options)
    for source, one in zip(sources, found, strict=True):
        ids = translator.tokenizer.encode_source([source])
        tokens = [int(token) for token in one.tokens]
        with torch.no_grad():
            hidden = network.decode(torch.tensor([[tiny.START, *tokens]]), network.encode(*tiny.padded(ids)))
            ends = int(network.output(hidden)[0, -1].argmax()) == tiny.END
        if len(tokens) == 5 and not ends:
            assert "cut" in codes(one)
        elif "sample" in options:
            assert "cut" not in codes(one)


def test_fertilities_beyond_the_greatest_length_are_reported() -> None:
    translator = Translator.of(non_autoregressive("fertility", tiny.sentence_pieces()))
    [free] = translator.translate(["the dog sees its tail."], max_ratio=100.0)
    assert "cut" not in codes(free) and len(free.tokens) > 3
    [found] = translator.translate(["the dog sees its tail."], max_ratio=0.001, max_extra=3)
    assert len(found.tokens) == 3 and codes(found)[0] == "cut"


# --- characters that the vocabulary lacks ----------------------------------------------------------


def test_unknown_characters_of_a_line_are_named() -> None:
    translator = Translator.of(tiny.model(ascii_only()))
    known, unknown = translator.translate(["the dog", "the dög 猫 ö"], max_length=4)
    assert "unknown" not in codes(known)
    assert not unknown.failed and unknown.text
    assert "the vocabulary lacks 'ö', '猫', read as unknown" in str(unknown.problem)


def test_a_prefix_that_cannot_be_written_leaves_the_line_without_a_translation() -> None:
    translator = Translator.of(tiny.model(ascii_only()))
    found = translator.translate(["the dog", "a cat"], prefixes=["猫", "the"], max_length=6)
    assert (found[0].text, codes(found[0])) == ("", ["prefix"])
    assert found[0].problem == "not translated: the vocabulary lacks '猫' of the prefix"
    assert found[1].text.startswith("the")


def test_pairs_with_unknown_characters_are_found_on_both_sides() -> None:
    translator = Translator.of(tiny.model(ascii_only()))
    found = dict(translator.checks().unknown(["the dog", "ö", "a cat"], ["a cat", "猫", "a ж"]))
    assert {number: str(problem) for number, problem in found.items()} == {
        1: "the vocabulary lacks 'ö' of the source and '猫' of the target",
        2: "the vocabulary lacks 'ж' of the target",
    }


# --- the greatest source ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*kinds.KINDS, *DECODERS])
def test_whatever_the_kind_a_line_beyond_the_limit_is_left_empty_and_the_others_are_translated(
    kind: str,
) -> None:
    pieces = tiny.sentence_pieces()
    translator = Translator.of(
        non_autoregressive(kind, pieces) if kind in DECODERS else kinds.model(kind, pieces)
    )
    options: dict[str, Any] = {} if kind in DECODERS else {"max_length": 4}
    lines = ["nobody", "z" * 3000, "a cat"]
    before, long, after = translator.translate(lines, **options)
    assert (long.text, codes(long)) == ("", ["too-long"]) and long.failed
    assert translator.translate([lines[0], lines[2]], **options) == [before, after]
    own = translator.translate(["z" * 40, "a cat"], max_source_length=20, **options)
    assert [one.failed for one in own] == [True, False]
    assert "more than max_source_length = 20" in str(own[0].problem)
    limited = translator.with_options(max_source_length=20)
    with pytest.raises(TooLong, match=r"^line 2: \d+ pieces, more than max_source_length = 20"):
        limited.score(["a", "z" * 40], ["b", "b"])
    with pytest.raises(TooLong, match="max_source_length = 20"):
        limited.checks().require_fit([[4]], [[4] * 21])


def test_the_limit_follows_the_longest_training_line() -> None:
    assert default_limit(None) == default_limit(SEEN) == 1024
    assert default_limit(SeenLengths(300, 400, 20.0, 20.0)) == 1600
    model = tiny.model()
    lengths = SeenLengths(300, 400, 20.0, 20.0).as_dict()
    long = Translator.of(Model(model.network, model.config, model.tokenizer, {}, {"lengths": lengths}))
    assert long.checks().limit == 1600
    assert long.checks(long.options(max_source_length=7)).limit == 7
    assert long.checks(long.options(max_source_length=0)).limit is None
    kept = Model(model.network, model.config, model.tokenizer, {"max_source_length": 9})
    assert Translator.of(kept).checks().limit == 9


@pytest.mark.parametrize(
    "lengths",
    [
        None,
        "long",
        [],
        {},
        {"source": 5},
        {"source": "a", "target": 5, "source_mean": 1.0, "target_mean": 1.0},
        {"source": 10**12, "target": 5, "source_mean": 1.0, "target_mean": 1.0},
        {"source": 5, "target": 5, "source_mean": 0.0, "target_mean": 1.0},
    ],
)
def test_lengths_in_a_folder_that_make_no_sense_are_ignored(lengths: Any) -> None:
    assert SeenLengths.of({"lengths": lengths}) is None


# --- in general ------------------------------------------------------------------------------------


def test_a_translation_with_problems_can_be_pickled(tmp_path: Path) -> None:
    save_model(tmp_path / "m", tiny.model(dtype=torch.float32))
    found = Translator.load(tmp_path / "m", device="cpu").translate(["a cat", "z" * 3000], max_length=3)
    assert pickle.loads(pickle.dumps(found)) == found


def test_the_documentation_lists_every_code() -> None:
    page = (Path(__file__).parents[1] / "docs" / "conventions.md").read_text(encoding="utf-8")
    assert all(f"| `{code}` |" in page for code in get_args(ProblemCode))
