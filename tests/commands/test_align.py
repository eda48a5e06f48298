"""saccade align, and translate --alignments: what they print, store and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saccade.model_folder.checkpoint import load_model, save_model
from saccade.model_folder.heads import AlignmentHeads, store_heads
from saccade.text.pharaoh import links_line
from saccade.use.translator import Translator
from tests import kinds, tiny
from tests.commands.conftest import Run, refused

LINES = tiny.LINES[:6]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("align") / "model"
    save_model(folder, kinds.model("transformer", tiny.sentence_pieces()))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> list[str | Path]:
    (tmp_path / "s").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    (tmp_path / "t").write_text("".join(f"{line.upper()}\n" for line in LINES), encoding="utf-8")
    return ["--source", tmp_path / "s", "--target", tmp_path / "t"]


def expected(model: Path, heads: AlignmentHeads | None = None) -> list[str]:
    found = Translator.load(model).align(LINES, [line.upper() for line in LINES], heads=heads)
    return [links_line(links) for links in found]


def test_a_line_of_links_is_printed_for_each_pair(
    saccade: Run, model: Path, files: list, tmp_path: Path
) -> None:
    printed = saccade("align", model, *files)
    assert printed.code == 0 and printed.lines == expected(model)
    assert saccade("align", model, *files, "--out", tmp_path / "links").code == 0
    assert (tmp_path / "links").read_text().splitlines() == printed.lines
    one = saccade("align", model, *files, "--layer", 2, "--head", 3, "--head", 1)
    assert one.lines == expected(model, AlignmentHeads(2, (3, 1)))
    assert saccade("align", model, *files, "--layer", 2).lines == expected(model, AlignmentHeads(2, ()))


def test_the_alignments_of_a_model_have_no_error_by_themselves(
    saccade: Run, model: Path, files: list, tmp_path: Path
) -> None:
    (tmp_path / "gold").write_text("".join(f"{line}\n" for line in expected(model)))
    scores = saccade("align", model, *files, "--gold", tmp_path / "gold")
    assert scores.lines == ["AER 0.0%  precision 100.0%  recall 100.0%  (6 pairs)"]


def test_the_chosen_heads_are_stored_and_used(saccade: Run, files: list, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(folder, kinds.model("transformer", tiny.sentence_pieces()))
    gold = expected(folder, AlignmentHeads(2, (2,)))
    (tmp_path / "gold").write_text("".join(f"{line}\n" for line in gold))
    done = saccade("align", folder, *files, "--gold", tmp_path / "gold", "--choose")
    assert done.code == 0 and "AER 0.0%" in done.lines[0]
    stored = load_model(folder).alignment
    assert stored is not None and stored.origin == "gold"
    assert saccade("align", folder, *files).lines == gold


def test_the_included_pairs_are_for_models_between_english_and_german(saccade: Run, tmp_path: Path) -> None:
    made = kinds.model("transformer", tiny.sentence_pieces())
    save_model(tmp_path / "m", made)
    refused(saccade("align", tmp_path / "m", "--choose"), "not known to translate", "--gold")
    made.provenance["languages"] = {"source": "de", "target": "en"}
    save_model(tmp_path / "m", made)
    done = saccade("align", tmp_path / "m", "--choose")
    assert done.code == 0 and len(done.lines) == 8
    stored = load_model(tmp_path / "m").alignment
    assert stored is not None and stored.origin == "the included English-German pairs"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["no text to align", "--source"]),
        (["--choose", "--layer", 1], ["do not go together"]),
        (["--choose", "--gold", "gold"], ["give all three"]),
        (["FILES", "--head", 1], ["name the layer too"]),
        (["FILES", "--layer", 9], ["layer 9: the decoder has 2"]),
        (["FILES", "--layer", 1, "--head", 9], ["head 9: layer 1 has 3"]),
        (["FILES", "--layer", 1, "--method", "eflomal"], ["only attention has layers"]),
        (["FILES", "--fertilities", "f", "--out", "o"], ["fertilities are written by themselves"]),
        (["FILES", "--fertilities", "f", "--method", "both"], ["from one method"]),
        (["FILES", "--gold", "missing"], ["missing"]),
    ],
)
def test_options_that_do_not_fit_are_refused(
    saccade: Run, model: Path, files: list, words: list, parts: list[str]
) -> None:
    given = [word for one in words for word in (files if one == "FILES" else [one])]
    refused(saccade("align", model, *given), *parts)


def test_translations_come_with_their_links(saccade: Run, model: Path) -> None:
    text = "".join(f"{line}\n" for line in [*LINES[:3], ""]).encode()
    quick = ("--beam", 1, "--max-length", 9)
    printed = saccade("translate", model, *quick, "--alignments", "pharaoh", stdin=text)
    plain = saccade("translate", model, *quick, stdin=text)
    assert [line.split(" ||| ")[0] for line in printed.lines] == plain.lines
    found = saccade("translate", model, *quick, "--alignments", "pharaoh", "--json", stdin=text)
    objects = [json.loads(line) for line in found.lines]
    assert [line.partition(" ||| ")[2] for line in printed.lines] == [
        links_line(map(tuple, one["alignment"])) for one in objects
    ]
    assert objects[-1]["alignment"] == [] and objects[0]["alignment"]
    without = saccade("translate", model, *quick, "--json", stdin=text)
    assert all("alignment" not in json.loads(line) for line in without.lines)
    refused(
        saccade("translate", model, "--alignments", "pharaoh", "--nbest", 2, stdin=text), "do not go together"
    )


def test_a_model_that_does_not_align_says_so_in_one_message(saccade: Run, tmp_path: Path) -> None:
    save_model(tmp_path / "m", kinds.model("recurrent, none", tiny.sentence_pieces()))
    done = saccade(
        "translate", tmp_path / "m", "--alignments", "pharaoh", "--max-length", 5, stdin=b"the dog\n"
    )
    refused(done, "no cross-attention to align by")


def test_the_stored_heads_align_translations_too(saccade: Run, tmp_path: Path) -> None:
    save_model(tmp_path / "m", kinds.model("transformer", tiny.sentence_pieces()))
    store_heads(tmp_path / "m", AlignmentHeads(2, (1,)))
    words = ("--alignments", "pharaoh", "--max-length", 9)
    printed = saccade("translate", tmp_path / "m", *words, stdin=b"the dog sees\n").lines
    translator = Translator.load(tmp_path / "m")
    assert translator.heads == AlignmentHeads(2, (1,))
    [own] = translator.translate(["the dog sees"], max_length=9, alignments=True)
    assert printed == [f"{own.text} ||| {links_line(own.links or ())}"]
