"""Fertilities from a text file to a batch, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saccade.config import build
from saccade.errors import UserError
from saccade.text.cache import EncodedLines
from saccade.text.corpus import DataConfig
from saccade.text.epochs import epoch_lines
from saccade.text.fertilities import fertilities_line, fertilities_of
from saccade.text.prepare import Prepared, prepare
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig
from saccade.text.translation import collate_translation
from tests import tiny

LINES = tiny.LINES[:12]


def tokenizer() -> SentencePieceTokenizer:
    return tiny.sentence_pieces()


def labels(source: str, target: str, *, seed: int) -> list[int]:
    """Some that fit."""
    pieces, words = (
        len(tokenizer().encode_source([source])[0]) - 1,
        len(tokenizer().encode_target([target])[0]) - 1,
    )
    generator = np.random.default_rng(seed)
    return np.bincount(generator.integers(0, pieces, words), minlength=pieces).tolist()


def write(folder: Path, *, edit: dict[int, str] | None = None) -> tuple[DataConfig, list[list[int]]]:
    """Text of LINES into upper case, one line empty, with fertilities; `edit` changes some of their lines."""
    pairs = [(line, line.upper()) for line in LINES]
    pairs[3] = ("", pairs[3][1])
    numbers = [labels(source, target, seed=i) if source else [] for i, (source, target) in enumerate(pairs)]
    rows = [fertilities_line(row) for row in numbers]
    for line, text in (edit or {}).items():
        rows[line - 1] = text
    (folder / "a.en").write_text("".join(f"{source}\n" for source, _ in pairs))
    (folder / "a.de").write_text("".join(f"{target}\n" for _, target in pairs))
    (folder / "a.fert").write_text("".join(f"{row}\n" for row in rows))
    table = {"source": str(folder / "a.en"), "target": str(folder / "a.de"), "holdout": 2}
    table["fertilities"] = str(folder / "a.fert")
    return build(DataConfig, table, where="data"), [row for i, row in enumerate(numbers) if i != 3]


def prepared(config: DataConfig, folder: Path, given: SentencePieceTokenizer | None = None) -> Prepared:
    return prepare(config, TokenizerConfig(), out=folder / "data", tokenizer=given or tokenizer())


def test_fertilities_follow_their_pairs_into_training_and_held_out_batches(tmp_path: Path) -> None:
    config, numbers = write(tmp_path)
    data = prepared(config, tmp_path)
    assert data.valid is not None
    found = []
    for lines in (data.train, data.valid):
        batch = collate_translation(lines, range(len(lines)), start=2)
        fertilities, source = batch["fertilities"].values, batch["source"]
        assert fertilities.shape == source.values.shape
        assert fertilities.sum(1).tolist() == (batch["target"].lengths - 1).tolist()
        for row, length in zip(fertilities.tolist(), source.lengths.tolist(), strict=True):
            assert row[length - 1 :] == [0] * (len(row) - length + 1)
            found.append(row[: length - 1])
    assert sorted(found) == sorted(numbers)
    assert str(tmp_path / "a.fert") in data.report.files


def test_a_part_of_a_batch_has_its_fertilities(tmp_path: Path) -> None:
    data = prepared(write(tmp_path)[0], tmp_path)
    batch = collate_translation(data.train, range(len(data.train)), start=2)
    part = batch.take([2, 0]).to("cpu")
    some, all_of_them = part["fertilities"].values, batch["fertilities"].values
    for row, original in enumerate((2, 0)):
        width = int(part["source"].lengths[row])
        assert some[row, :width].tolist() == all_of_them[original, :width].tolist()
    assert some.shape == part["source"].values.shape


def test_without_them_a_cache_and_its_batches_have_none(tmp_path: Path) -> None:
    config, _ = write(tmp_path)
    data = prepared(config.model_copy(update={"fertilities": ()}), tmp_path)
    assert "fertilities" not in collate_translation(data.train, [0, 1], start=2)
    assert list(EncodedLines.open(tmp_path / "data" / "train").columns) == ["source", "target"]


def test_with_them_segmentations_are_not_sampled(tmp_path: Path) -> None:
    config, _ = write(tmp_path)
    given = tokenizer()
    sampling = SentencePieceTokenizer(given.config.model_copy(update={"sampling": 0.5}), given._models)
    data = prepared(config, tmp_path, sampling)
    epoch = epoch_lines(config, sampling, out=tmp_path / "data", epoch=3, seed=1)
    assert np.array_equal(epoch["source"].values, data.train["source"].values)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({5: "1 2 3"}, r"a\.en:5: its fertilities are 3 numbers that add up to 6"),
        ({5: ""}, r"a\.en:5: its fertilities are 0 numbers"),
        ({5: "1 -2"}, r"a\.fert:5: not a line of whole numbers"),
        ({5: "1.0 2"}, r"a\.fert:5: not a line of whole numbers"),
        ({5: "65536"}, r"a\.fert:5: not a line of whole numbers up to 65,535"),
        ({5: "9" * 5000}, r"a\.fert:5: not a line of whole numbers"),
        ({12: "1\n1"}, r"a\.en has 12 lines, .*a\.fert has 13 lines"),
    ],
)
def test_fertilities_that_do_not_fit_are_refused_with_their_place(
    tmp_path: Path, edit: dict[int, str], message: str
) -> None:
    config, _ = write(tmp_path, edit=edit)
    with pytest.raises(UserError, match=message):
        prepared(config, tmp_path)
    assert not (tmp_path / "data" / "report.json").exists()


def test_a_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    config, _ = write(tmp_path)
    rows = (tmp_path / "a.fert").read_text().split("\n")
    (tmp_path / "a.fert").write_text("\n".join(rows[:6]) + "\n")
    with pytest.raises(UserError, match=r"a\.en has 12 lines, .*a\.fert has 6 lines"):
        prepared(config, tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        {"fertilities": "f"},
        {"source": "s", "target": "t", "fertilities": ["f", "g"]},
        {"source": "s", "target": "t", "pairs": "p", "fertilities": "f"},
    ],
)
def test_there_is_one_file_for_each_source_and_none_for_pairs(table: dict[str, object]) -> None:
    with pytest.raises(UserError, match="one for each file of source, and pairs can have none"):
        build(DataConfig, table, where="data")
    renamed = {f"valid_{name}": value for name, value in table.items()}
    with pytest.raises(UserError, match="valid_fertilities names"):
        build(DataConfig, renamed, where="data")


def test_a_line_comes_back() -> None:
    assert fertilities_of(fertilities_line([0, 12, 3]), place="") == (0, 12, 3)
    assert fertilities_of("", place="") == ()
