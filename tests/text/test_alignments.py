"""Alignments as a column of the training text: words in the file, pieces in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.errors import UserError
from saccade.text.corpus import DataConfig
from saccade.text.epochs import epoch_lines
from saccade.text.prepare import prepare
from saccade.text.tokenizer import TokenizerConfig
from tests.tiny import LINES

Write = Callable[[str, bytes | str | list[str]], Path]


@pytest.fixture
def files(write: Write) -> dict[str, Path]:
    reversed_words = [" ".join(reversed(line.split())) for line in LINES]
    links = [" ".join(f"{i}-{len(line.split()) - 1 - i}" for i in range(len(line.split()))) for line in LINES]
    return {
        "source": write("a.en", LINES),
        "target": write("a.de", reversed_words),
        "alignments": write("a.links", [*links[:-1], ""]),
    }


@pytest.mark.parametrize("sampling", [0.0, 0.4])
def test_pieces_are_linked_as_their_words_in_any_segmentation(
    files: dict[str, Path], tmp_path: Path, sampling: float
) -> None:
    config = DataConfig.model_validate({**files, "holdout": 0})
    prepared = prepare(config, TokenizerConfig(vocab_size=300, sampling=sampling), out=tmp_path / "out")
    tokenizer = prepared.tokenizer
    lines = epoch_lines(config, tokenizer, out=tmp_path / "out", epoch=1, seed=5)
    assert (lines.folder.name == "train") == (sampling == 0.0)
    for number in range(len(lines)):
        source, target = (lines[side].line(number).tolist() for side in ("source", "target"))
        links = lines["alignments"].line(number).tolist()
        text = LINES[number]
        if number == len(LINES) - 1:
            assert links == []
            continue
        # The pieces that a target piece is linked with spell the word that contains it.
        for place in range(len(target) - 1):
            linked = [source[i] for i, j in links if j == place]
            word = tokenizer.decode(linked).strip()
            assert word in text.split() and tokenizer.decode([target[place]]).strip() in word


def test_a_link_that_fits_no_word_is_refused_with_its_line(
    files: dict[str, Path], write: Write, tmp_path: Path
) -> None:
    lines = files["alignments"].read_text().split("\n")[:-1]
    wrong = write("wrong.links", [*lines[:3], "0-0 9-1", *lines[4:]])
    config = DataConfig.model_validate({**files, "alignments": wrong})
    with pytest.raises(UserError, match=r"wrong\.links:4: the link 9-1 is to no word"):
        prepare(config, TokenizerConfig(vocab_size=300), out=tmp_path / "out")
    assert not (tmp_path / "out" / "report.json").exists()


def test_files_of_alignments_belong_to_files_of_text(files: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="alignments names 1 files"):
        DataConfig(pairs=(files["source"],), alignments=(files["alignments"],))
