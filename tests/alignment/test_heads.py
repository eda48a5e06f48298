"""The heads that align: read from attention word by word, chosen on gold, and kept in a model folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from saccade.alignment.error_rate import alignment_scores
from saccade.alignment.gold import GoldSet
from saccade.alignment.heads import candidates
from saccade.errors import DamagedFile, UserError
from saccade.model_folder.checkpoint import load_model, save_model
from saccade.model_folder.heads import AlignmentHeads, store_heads
from saccade.storage.digests import verify
from saccade.text.pharaoh import Gold
from saccade.use.translator import Translator
from tests import kinds, tiny

SOURCES = ["the dog sees an apple.", "nobody", "", "a cat paints"]
TARGETS = ["THE DOG SEES", "OUR NEIGHBOUR eats seven books!", "A CAT", "THE"]


def naive_links(translator: Translator, source: str, target: str, layer: int, heads: list[int]) -> set:
    """From the maps of one sentence, with words found by the marks of their pieces."""
    [one] = [one for one in translator.attention(source, target) if (one.kind, one.layer) == ("cross", layer)]
    weights = sum(one.weights[head - 1] for head in heads)
    words = []
    for pieces in (one.keys[:-1], one.queries[:-1]):
        numbers, number = [], -1
        for piece in pieces:
            number += piece.startswith("\u2581")
            numbers.append(number)
        words.append(numbers)
    links = set()
    for target_word in set(words[1]):
        rows = [place for place, number in enumerate(words[1]) if number == target_word]
        totals = {
            source_word: sum(
                float(weights[row, column])
                for row in rows
                for column, number in enumerate(words[0])
                if number == source_word
            )
            for source_word in sorted(set(words[0]))
        }
        links.add((max(totals, key=lambda word: totals[word]), target_word))
    return links


@pytest.mark.parametrize("heads", [[1], [3], [1, 2, 3]])
def test_each_target_word_is_linked_with_the_source_word_that_gets_most_weight(heads: list[int]) -> None:
    translator = Translator.of(tiny.model())
    found = translator.align(SOURCES, TARGETS, heads=AlignmentHeads(2, tuple(heads)))
    for source, target, links in zip(SOURCES, TARGETS, found, strict=True):
        if not source:
            assert links == ()
            continue
        assert set(links) == naive_links(translator, source, target, 2, heads)
        assert [j for _, j in sorted(links, key=lambda link: link[1])] == list(range(len(target.split())))


def test_all_heads_of_the_last_layer_but_one_align_unless_others_were_chosen() -> None:
    model = tiny.model(decoder_layers=3)
    translator = Translator.of(model)
    assert translator.align(SOURCES, TARGETS) == translator.align(
        SOURCES, TARGETS, heads=AlignmentHeads(2, ())
    )
    assert translator.align(SOURCES, TARGETS, heads=AlignmentHeads(2, ())) == translator.align(
        SOURCES, TARGETS, heads=AlignmentHeads(2, (3, 1, 2))
    )


@pytest.mark.parametrize("kind", ["recurrent, additive", "recurrent, dot, not fed", "convolutional"])
def test_every_kind_that_attends_aligns(kind: str) -> None:
    translator = Translator.of(kinds.model(kind, tiny.sentence_pieces()))
    found = translator.align(SOURCES, TARGETS)
    assert [len(links) for links in found] == [3, 5, 0, 1]


def test_translations_are_aligned_as_the_same_pairs_are() -> None:
    translator = Translator.of(tiny.model())
    plain = translator.translate(SOURCES, beam=2, max_length=9)
    aligned = translator.translate(SOURCES, beam=2, max_length=9, alignments=True)
    assert [one.text for one in plain] == [one.text for one in aligned]
    assert all(one.links is None for one in plain)
    for one in aligned:
        assert one.links is not None
        assert {j for _, j in one.links} <= set(range(len(one.text.split())))
    assert aligned[2].links == ()


def test_the_chosen_heads_have_the_lowest_error_rate_of_all() -> None:
    translator = Translator.of(tiny.model())
    wanted = AlignmentHeads(1, (2,))
    usable = [row for row, source in enumerate(SOURCES) if source]
    links = [Gold(frozenset(one), frozenset(one)) for one in translator.align(SOURCES, TARGETS, heads=wanted)]
    gold = GoldSet("test", tuple(SOURCES), tuple(TARGETS), tuple(links))
    found = candidates(translator, gold)
    assert found[0].scores.aer == pytest.approx(0.0)
    assert len(found) == 2 * (3 + 1)
    for one in found:
        own = translator.align(SOURCES, TARGETS, heads=one.heads)
        expected = alignment_scores([own[row] for row in usable], [links[row] for row in usable])
        assert one.scores == expected
    assert [one.scores.aer for one in found] == sorted(one.scores.aer for one in found)


def test_heads_are_kept_with_the_model_and_their_digest(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    save_model(folder, tiny.model(dtype=torch.float32))
    assert load_model(folder).alignment is None
    before = set(verify(folder))
    chosen = AlignmentHeads(2, (1, 3), "gold.links")
    store_heads(folder, chosen)
    assert set(verify(folder)) == before | {"alignment.json"}
    assert load_model(folder).alignment == chosen
    translator = Translator.load(folder)
    assert translator.align(SOURCES, TARGETS) == translator.align(SOURCES, TARGETS, heads=chosen)
    save_model(tmp_path / "again", load_model(folder))
    assert load_model(tmp_path / "again").alignment == chosen
    assert "alignment.json" in verify(tmp_path / "again")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"layer": 1, "heads": [1], "from": "x", "more": 1}',
        '{"layer": 0, "heads": [1], "from": "x"}',
        '{"layer": 3, "heads": [1], "from": "x"}',
        '{"layer": 1, "heads": [4], "from": "x"}',
        '{"layer": 1, "heads": [1, 1], "from": "x"}',
        '{"layer": 1, "heads": [true], "from": "x"}',
        '{"layer": 1, "heads": "1", "from": "x"}',
        '{"layer": 1, "heads": [1], "from": 5}',
        '{"layer": 1, "layer": 1, "heads": [1], "from": "x"}',
        "nonsense",
    ],
)
def test_a_damaged_file_of_heads_is_refused_by_name(tmp_path: Path, content: str) -> None:
    save_model(tmp_path / "m", tiny.model(dtype=torch.float32))
    (tmp_path / "m" / "alignment.json").write_text(content)
    with pytest.raises(DamagedFile, match=r"alignment\.json"):
        load_model(tmp_path / "m")


def test_heads_that_the_model_lacks_are_refused() -> None:
    translator = Translator.of(tiny.model())
    with pytest.raises(UserError, match="layer 3: the decoder has 2"):
        translator.align(["a"], ["b"], heads=AlignmentHeads(3, ()))
    with pytest.raises(UserError, match="head 4: layer 1 has 3"):
        translator.align(["a"], ["b"], heads=AlignmentHeads(1, (4,)))


def test_models_that_attend_to_nothing_that_aligns_say_so() -> None:
    with pytest.raises(UserError, match="no cross-attention"):
        Translator.of(kinds.model("recurrent, none", tiny.sentence_pieces())).align(["the dog"], ["a cat"])


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    save_model(tmp_path / "m", tiny.model(dtype=torch.float32))
    store_heads(tmp_path / "m", AlignmentHeads(1, (), "the included pairs"))
    found = json.loads((tmp_path / "m" / "alignment.json").read_text())
    assert found == {"layer": 1, "heads": [], "from": "the included pairs"}
