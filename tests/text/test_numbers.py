from pathlib import Path

import pytest

from saccade.text.numbers import words, write_corpus


def read(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text(encoding="utf-8").split("\n")[:-1]


def test_the_words_are_those_of_the_languages() -> None:
    assert words(423, language="en") == "four hundred and twenty-three"
    assert words(423, language="de") == "vierhundertdreiundzwanzig"
    assert words(0, language="en") == "zero" and words(0, language="de") == "null"


def test_the_parts_have_the_size_asked_for_and_share_no_number(tmp_path: Path) -> None:
    write_corpus(tmp_path, train=400, valid=30, test=50, seed=3)
    sizes = {"train": 400, "valid": 30, "test": 50}
    for language in ("en", "de"):
        lines = [line for split in sizes for line in read(tmp_path, f"{split}.{language}")]
        assert len(lines) == len(set(lines)) == 480
        assert {split: len(read(tmp_path, f"{split}.{language}")) for split in sizes} == sizes


def test_the_sides_are_the_same_number(tmp_path: Path) -> None:
    write_corpus(tmp_path, train=200, valid=0, test=20, seed=1)
    german = {words(n, language="en"): words(n, language="de") for n in range(1000)}
    pairs = zip(read(tmp_path, "train.en"), read(tmp_path, "train.de"), strict=True)
    checked = [german[source] == target for source, target in pairs if source in german]
    assert len(checked) >= 100 and all(checked)


def test_all_small_numbers_are_in_the_training_text_and_all_magnitudes_in_each_part(tmp_path: Path) -> None:
    write_corpus(tmp_path, train=500, valid=60, test=100, seed=2)
    assert {words(n, language="en") for n in range(100)} <= set(read(tmp_path, "train.en"))
    hundreds = {words(n, language="de") for n in range(100, 1000)}
    for split in ("train", "valid", "test"):
        lines = read(tmp_path, f"{split}.de")
        assert any(line in hundreds for line in lines)
        assert any("hundert" in line.partition("tausend")[0] for line in lines if "tausend" in line)


def test_the_seed_decides(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / name, train=150, valid=5, test=5, seed=seed)
    assert read(tmp_path / "a", "train.de") == read(tmp_path / "b", "train.de")
    assert read(tmp_path / "a", "train.de") != read(tmp_path / "c", "train.de")


@pytest.mark.parametrize("sizes", [(-1, 0, 0), (1_000_000, 0, 0)])
def test_impossible_sizes_are_refused(tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    train, valid, test = sizes
    with pytest.raises(ValueError, match="possible"):
        write_corpus(tmp_path, train=train, valid=valid, test=test)
