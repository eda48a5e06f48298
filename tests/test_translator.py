"""Lines in, translations out: order, line count and strings whatever the lines, and one result whatever
the batches."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.model_folder.checkpoint import Model, save_model
from saccade.models import build_model, model_config
from saccade.use.translator import Translation, Translator
from tests import kinds, tiny

END = tiny.END


def telling(model: Model, *, to_end: float = 3.0) -> Model:
    """Random models ramble on and hardly heed the source; this one ends its sentences and listens."""
    network: Any = model.network
    words = model.network.vocabulary.target_size
    network.output.bias = torch.nn.Parameter(torch.zeros(words, dtype=network.output.weight.dtype))
    with torch.no_grad():
        network.output.bias[END] = to_end
        for layer in network.decoder:
            layer.cross_attention.output.weight *= 8
    return model


@functools.cache
def translator(**changes: Any) -> Translator:
    """On sub-words; everything can be written, bytes too."""
    changes = {"norm": "pre", "tied_embeddings": "none", "seed": 1, **changes}
    return Translator.of(telling(tiny.model(**changes)))


@functools.cache
def of_kind(kind: str, *, dtype: torch.dtype = torch.float64) -> Translator:
    """A small model of any kind, on sub-words."""
    model = kinds.model(kind, seed=1, dtype=dtype)
    network = kinds.ending(kind, words=model.network.vocabulary, dtype=dtype)
    return Translator.of(Model(network, model.config, model.tokenizer))


@functools.cache
def words(kind: str | None = None) -> Translator:
    """On numbers: text and pieces stand for each other."""
    if kind is None:
        return Translator.of(telling(tiny.model(tiny.Words(), seed=1)))
    network = kinds.ending(kind)
    return Translator.of(Model(network, network.config, tiny.Words()))


def texts(translations: Sequence[Translation]) -> list[str]:
    return [one.text for one in translations]


SHORT: dict[str, Any] = {"max_length": 7}
LINES = [
    "the dog eats seven books.",
    "",
    "nobody",
    "a cat paints the old house!",
    "   ",
    "its tail – Straße?",
    "x",
]


# --- one line in, one line out -------------------------------------------------------------------


@given(st.lists(st.text(max_size=12), max_size=6), st.sampled_from([1, 3]))
@settings(max_examples=40)
def test_arbitrary_strings_give_one_line_each_in_order(lines: list[str], beam: int) -> None:
    found = translator().translate(lines, beam=beam, **SHORT)
    assert [one.source for one in found] == lines
    for line, one in zip(lines, found, strict=True):
        assert not one.failed
        assert not {"\n", "\r"} & set(one.text)
        assert bool(line.strip()) or one.text == ""


@pytest.mark.parametrize("blank", ["", " ", "\t", " \u00a0\u3000 ", "\n", "\r\n", "\x1f"])
def test_a_line_without_text_stays_empty(blank: str) -> None:
    before, found, after = translator().translate(["nobody", blank, "a cat"], **SHORT)
    assert found == Translation(source=blank, text="")
    assert before.tokens
    assert after.tokens


def test_no_lines_give_no_translations() -> None:
    assert translator().translate([]) == []
    assert translator().translate(["", ""]) == [Translation("", ""), Translation("", "")]
    assert list(translator().stream([])) == []


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 4, "nbest": 2}, {"sample": True, "nbest": 2}])
def test_the_result_does_not_depend_on_batches(options: dict[str, Any]) -> None:
    lines = LINES * 2
    in_bulk = translator().translate(lines, **options, **SHORT)
    assert len(set(texts(in_bulk))) > 4
    for batch_tokens in (1, 60):
        in_parts = translator().translate(lines, batch_tokens=batch_tokens, **options, **SHORT)
        assert texts(in_parts) == texts(in_bulk)
    for number in range(len(LINES)):
        (alone,) = translator().translate([lines[number]], first_line=number, **options, **SHORT)
        assert alone.text == in_bulk[number].text
        assert [one.text for one in alone.alternatives] == [one.text for one in in_bulk[number].alternatives]
        assert alone.score == pytest.approx(in_bulk[number].score, abs=1e-5)


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 4, "nbest": 2}, {"sample": True, "nbest": 2}])
@pytest.mark.parametrize("kind", kinds.KINDS)
def test_whatever_the_kind_the_result_does_not_depend_on_batches(kind: str, options: dict[str, Any]) -> None:
    in_bulk = of_kind(kind).translate(LINES, **options, **SHORT)
    in_parts = of_kind(kind).translate(LINES, batch_tokens=30, **options, **SHORT)
    assert texts(in_parts) == texts(in_bulk)
    for number, line in enumerate(LINES):
        (alone,) = of_kind(kind).translate([line], first_line=number, **options, **SHORT)
        assert [one.text for one in alone.alternatives] == [one.text for one in in_bulk[number].alternatives]
        assert alone.score == pytest.approx(in_bulk[number].score, abs=1e-5)


@pytest.mark.parametrize("options", [{"beam": 2}, {"sample": True}])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_a_stream_gives_what_a_list_gives(options: dict[str, Any], chunk: int) -> None:
    lines = LINES
    assert texts(list(translator().stream(iter(lines), chunk=chunk, **options, **SHORT))) == texts(
        translator().translate(lines, **options, **SHORT)
    )


def test_a_stream_reads_no_further_than_it_must() -> None:
    taken = []

    def lines() -> Any:
        for number in range(100):
            taken.append(number)
            yield "nobody"

    next(translator().stream(lines(), chunk=4, **SHORT))
    assert len(taken) == 4


def test_lone_surrogates_are_translated_like_any_character() -> None:
    (found,) = translator().translate(["a \ud800 cat"], **SHORT)
    assert not found.failed


# --- lines that a model can't read ---------------------------------------------------------------


def test_a_line_that_is_too_long_is_reported_and_the_others_are_translated() -> None:
    short = translator(positions="learned", max_positions=16)
    lines = ["nobody", "the dog " * 20, "a cat", " " * 90]
    found = short.translate(lines, beam=2, min_length=1)
    pieces = len(short.tokenizer.encode_source(lines[1:2])[0])
    assert found[1].text == ""
    assert found[1].problem == (
        f"not translated: {pieces} pieces, but the model reads at most 16; split the line."
    )
    assert [one.failed for one in found] == [False, True, False, False]
    assert found[0].tokens
    assert found[2].tokens


def test_a_line_of_just_the_greatest_length_is_translated() -> None:
    short = translator(positions="learned", max_positions=16)
    ids = short.tokenizer.encode_source(["zzzzzzzzzzzzzzzzz"])[0]
    line = "z" * (16 - len(ids) + 17)
    assert len(short.tokenizer.encode_source([line])[0]) == 16
    assert not short.translate([line])[0].failed
    assert short.translate([line + "z"])[0].failed


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3}, {"sample": True}])
def test_a_prefix_that_leaves_no_room_is_reported(options: dict[str, Any]) -> None:
    short = translator(positions="learned", max_positions=16)
    found = short.translate(["a cat", "nobody"], prefixes=["ZZZZ" * 10, "A"], **options)
    assert found[0].text == ""
    assert found[0].problem == "no translation within the length limits was found"
    assert not found[1].failed


def test_scoring_a_line_that_is_too_long_names_it() -> None:
    short = translator(positions="learned", max_positions=16)
    with pytest.raises(UserError, match=r"^line 2: \d+ pieces, but the model reads at most 16"):
        short.score(["a", "a cat " * 20], ["b", "c"])
    with pytest.raises(UserError, match=r"^line 1: \d+ pieces, but the model writes at most 16"):
        short.score(["a"], ["a cat " * 20])
    with pytest.raises(UserError, match="reads at most 16"):
        short.attention("a cat " * 20, "b")


# --- what is returned ----------------------------------------------------------------------------


def test_alternatives_come_best_first_and_the_best_is_the_translation() -> None:
    for one in translator().translate(["the dog eats", "nobody"], beam=4, nbest=4, **SHORT):
        scores = [other.score for other in one.alternatives]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)
        assert len({other.tokens for other in one.alternatives}) == 4
        best = one.alternatives[0]
        assert (one.text, one.tokens, one.score, one.log_prob) == (
            best.text,
            best.tokens,
            best.score,
            best.log_prob,
        )


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 1},
        {"beam": 4, "nbest": 4},
        {"beam": 3, "length_penalty": "power", "alpha": 1.0},
        {"sample": True},
    ],
)
@pytest.mark.parametrize("kind", [None, *kinds.KINDS])
def test_the_returned_log_probability_is_the_score_of_the_text(
    options: dict[str, Any], kind: str | None
) -> None:
    sources = ["5 7 9", "4", "6 6 12 8 4", "11 10"]
    for source, one in zip(sources, words(kind).translate(sources, max_extra=6, **options), strict=True):
        targets = [other.text for other in one.alternatives]
        scores = words(kind).score([source] * len(targets), targets)
        assert [other.log_prob for other in one.alternatives] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("beam", [1, 3])
def test_the_score_is_the_log_probability_under_the_penalty(beam: int) -> None:
    for kind in ("gnmt", "power"):
        (one,) = words().translate(["5 7 9"], beam=beam, alpha=0.7, length_penalty=kind, max_length=6)
        length = len(one.tokens) + 1
        penalty = ((5 + length) / 6) ** 0.7 if kind == "gnmt" else length**0.7
        assert one.score == pytest.approx(one.log_prob / penalty, rel=1e-6)


def test_scores_add_up_to_one_over_all_targets() -> None:
    """Every target of up to two words, and all longer ones together."""
    table = [""] + [str(a) for a in range(13) if a != END]
    table += [f"{a} {b}" for a in range(13) for b in range(13) if END not in (a, b)]
    scores = words().score(["5 7"] * len(table), table)
    total = math.fsum(math.exp(score) for score in scores)
    assert 0.3 < total < 1
    network = cast(Any, words().decoder).network
    # What is missing is the chance of two words that are no end.
    with torch.no_grad():
        pairs = torch.tensor([[2, a, b] for a in range(13) for b in range(13) if END not in (a, b)])
        memory = network.encode(*tiny.padded([[5, 7, END]] * len(pairs)))
        chances = network.output(network.decode(pairs, memory)).log_softmax(-1)
    rows = torch.arange(len(pairs))
    both = chances[rows, 0, pairs[:, 1]] + chances[rows, 1, pairs[:, 2]]
    going_on = (both + (1 - chances[:, 2, END].exp()).log()).exp().sum()
    assert total + float(going_on) == pytest.approx(1, abs=1e-5)


def test_scores_do_not_depend_on_batches_or_order() -> None:
    sources = ["the dog", "", "a cat paints seven books", "nobody", "x"]
    targets = ["THE DOG EATS", "A", "", "NOBODY HAS LOST ITS TAIL", "Ü"]
    scores = translator().score(sources, targets)
    assert translator().score(sources, targets, batch_tokens=1) == pytest.approx(scores, abs=1e-5)
    assert translator().score(sources[::-1], targets[::-1]) == pytest.approx(scores[::-1], abs=1e-5)
    assert all(score < 0 for score in scores)
    assert translator().score([], []) == []


def test_scoring_unequal_counts_is_the_users_error() -> None:
    with pytest.raises(UserError, match="2 source lines, but 1 target lines"):
        translator().score(["a", "b"], ["c"])


def test_a_translation_begins_with_its_prefix() -> None:
    lines, prefixes = ["the dog", "", "a cat", "nobody"], ["THE DO", "X", "", "A CAT Ü"]
    for options in ({"beam": 1}, {"beam": 3, "nbest": 3}, {"sample": True, "nbest": 2}):
        found = translator().translate(lines, prefixes=prefixes, max_length=12, **options)
        for prefix, one in zip(prefixes, found, strict=True):
            if one.source:
                assert all(other.text.startswith(prefix) for other in one.alternatives)
        free = translator().translate(lines, max_length=12, **options)
        assert found[2].text == free[2].text
        assert found[1] == Translation("", "")


def test_prefixes_go_with_their_lines() -> None:
    with pytest.raises(ValueError, match="1 prefixes for 2 lines"):
        translator().translate(["a", "b"], prefixes=["x"])


def test_sampling_repeats_with_the_seed_and_differs_between_lines() -> None:
    lines = ["the dog eats"] * 6
    first = texts(translator().translate(lines, sample=True, seed=3, **SHORT))
    assert texts(translator().translate(lines, sample=True, seed=3, **SHORT)) == first
    assert texts(translator().translate(lines, sample=True, seed=4, **SHORT)) != first
    assert len(set(first)) > 1


# --- attention -----------------------------------------------------------------------------------


def test_attention_comes_with_translations_when_asked_for() -> None:
    line = "the dog eats"
    plain, _ = translator().translate([line, ""], **SHORT)
    assert plain.attention is None
    seen, empty = translator().translate([line, ""], attention=True, **SHORT)
    assert seen.text == plain.text
    assert empty.attention is None
    assert seen.attention is not None
    source = len(translator().tokenizer.encode_source([line])[0])
    target = len(seen.tokens) + 1
    shapes = {one.kind: tuple(one.weights.shape) for one in seen.attention if one.layer == 2}
    assert shapes == {
        "encoder": (3, source, source),
        "decoder": (3, target, target),
        "cross": (3, target, source),
    }
    for one in seen.attention:
        assert (len(one.queries), len(one.keys)) == one.weights.shape[1:]
        torch.testing.assert_close(
            one.weights.sum(-1), torch.ones_like(one.weights[..., 0]), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_attention_of_every_kind_fits_the_pieces(kind: str) -> None:
    line = "the dog eats"
    (seen,) = of_kind(kind).translate([line], attention=True, **SHORT)
    assert seen.attention is not None
    assert any(one.kind == "cross" for one in seen.attention) == (kind in kinds.ATTENDING)
    source_pieces, target_pieces = of_kind(kind).pieces(line, seen.text)
    for one in of_kind(kind).attention(line, seen.text):
        if one.kind == "cross":
            assert (list(one.queries), list(one.keys)) == (target_pieces, source_pieces)
            assert one.weights.shape[1:] == (len(target_pieces), len(source_pieces))
        torch.testing.assert_close(
            one.weights.sum(-1), torch.ones_like(one.weights[..., 0]), rtol=0, atol=1e-12
        )


def test_attention_for_a_given_target_fits_its_pieces() -> None:
    source, target = "a cat sees its tail", "NOBODY EATS Ü"
    maps = translator().attention(source, target)
    source_pieces, target_pieces = translator().pieces(source, target)
    shapes = {(one.kind, one.layer): one.weights.shape for one in maps}
    assert shapes["cross", 1] == (3, len(target_pieces), len(source_pieces))
    assert shapes["encoder", 2] == (3, len(source_pieces), len(source_pieces))


def test_attention_does_not_depend_on_what_else_is_translated() -> None:
    alone = translator().translate(["nobody"], attention=True, **SHORT)[0].attention
    among = translator().translate(["nobody", *LINES], attention=True, **SHORT)[0].attention
    assert alone is not None
    assert among is not None
    for one, other in zip(alone, among, strict=True):
        assert (one.kind, one.layer) == (other.kind, other.layer)
        torch.testing.assert_close(other.weights, one.weights, rtol=0, atol=1e-12)


# --- options and folders -------------------------------------------------------------------------


def test_the_models_own_decoding_settings_hold_unless_changed() -> None:
    model = tiny.model()
    own = Translator.of(
        Model(model.network, model.config, model.tokenizer, decoding={"beam": 7, "alpha": 0.9})
    )
    assert (own.options().beam, own.options().alpha) == (7, 0.9)
    assert (own.options(beam=2).beam, own.options(beam=2).alpha) == (2, 0.9)
    assert translator().options().beam == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beem": 3}, "did you mean decoding.beam"),
        ({"beam": 0}, "decoding.beam = 0"),
        ({"nbest": 9}, "nbest 9"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        translator().translate(["a"], **options)
    assert message in str(caught.value)


def test_a_loaded_folder_translates_as_the_model_in_memory(tmp_path: Path) -> None:
    model = tiny.model(dtype=torch.float32)
    save_model(tmp_path / "m", model)
    loaded = Translator.load(tmp_path / "m", device="cpu")
    again = Translator.load(str(tmp_path / "m"), device="cpu")
    expected = Translator.of(model).translate(LINES, beam=3, nbest=2, **SHORT)
    assert loaded.translate(LINES, beam=3, nbest=2, **SHORT) == expected
    assert again.translate(LINES, beam=3, nbest=2, **SHORT) == expected


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_in_float32_every_kind_gives_the_same_strings_alone_and_in_bulk(kind: str) -> None:
    model = of_kind(kind, dtype=torch.float32)
    lines = [" ".join(line.split()[: 1 + i % 5]) for i, line in enumerate(tiny.LINES[::9])]
    in_bulk = model.translate(lines, beam=4, **SHORT)
    assert texts(in_bulk) == [model.translate([line], beam=4, **SHORT)[0].text for line in lines]


def test_in_float32_alone_and_in_bulk_give_the_same_strings() -> None:
    model = translator(dtype=torch.float32)
    lines = [" ".join(line.split()[: 1 + i % 5]) for i, line in enumerate(tiny.LINES[::6])]
    in_bulk = model.translate(lines, beam=4, **SHORT)
    assert len(set(texts(in_bulk))) > 8
    assert texts(in_bulk) == [model.translate([line], beam=4, **SHORT)[0].text for line in lines]


def test_translating_does_not_load_the_compiler_of_torch() -> None:
    """It takes longer to import than torch itself; one decorator at import would bring it."""
    code = "import sys, saccade.use.translator; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_language_model_neither_translates_nor_judges() -> None:
    config = model_config({"kind": "recurrent-lm", "width": 8, "layers": 1})
    network = build_model(config, tiny.vocabulary())
    writes = Model(network, config, tiny.Words())
    with pytest.raises(UserError, match="language model"):
        Translator.of(writes)
    with pytest.raises(UserError, match="the reranker is a language model"):
        Translator.of(tiny.model(tiny.Words()), reranker=writes)
