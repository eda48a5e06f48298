import errno
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.text.cache import CacheWriter, EncodedPairs, write_cache

Sentences = list[list[int]]


def write(folder: Path, chunks: list[tuple[Sentences, Sentences]], *, vocab_size: int = 100) -> EncodedPairs:
    with write_cache(folder, source_vocab_size=vocab_size, target_vocab_size=vocab_size) as writer:
        for source, target in chunks:
            writer.add(source, target)
    return EncodedPairs.open(folder)


PAIRS = st.lists(st.tuples(st.lists(st.integers(0, 99)), st.lists(st.integers(0, 99))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(chunks=st.lists(PAIRS, max_size=4))
def test_what_is_written_in_chunks_comes_back_pair_by_pair(
    tmp_path: Path, chunks: list[list[tuple[list[int], list[int]]]]
) -> None:
    pairs = write(tmp_path / "cache", [([s for s, _ in chunk], [t for _, t in chunk]) for chunk in chunks])
    flat = [pair for chunk in chunks for pair in chunk]
    assert len(pairs) == len(flat)
    assert [(pairs.source(i).tolist(), pairs.target(i).tolist()) for i in range(len(flat))] == flat
    assert pairs.source_lengths.tolist() == [len(source) for source, _ in flat]
    assert pairs.target_lengths.tolist() == [len(target) for _, target in flat]
    assert pairs.source_lengths.dtype == np.int32


@pytest.mark.parametrize(("vocab_size", "size"), [(65_536, 2), (65_537, 4)])
def test_ids_take_two_bytes_as_long_as_they_fit(tmp_path: Path, vocab_size: int, size: int) -> None:
    largest = vocab_size - 1
    pairs = write(tmp_path / "cache", [([[largest]], [[0, largest]])], vocab_size=vocab_size)
    assert pairs.source(0).tolist() == [largest] and pairs.target(0).tolist() == [0, largest]
    assert (tmp_path / "cache" / "target.bin").stat().st_size == 2 * size


def test_ids_stay_on_disk(tmp_path: Path) -> None:
    pairs = write(tmp_path / "cache", [([[1, 2]], [[3]])])
    assert isinstance(pairs.source_side.ids.base, np.memmap)


def test_a_new_cache_replaces_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "cache", [([[1], [2]], [[3], [4]])])
    assert write(tmp_path / "cache", [([[5]], [[6]])]).source(0).tolist() == [5]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_an_error_while_writing_leaves_the_old_cache_and_no_half_one(tmp_path: Path) -> None:
    write(tmp_path / "cache", [([[1]], [[2]])])
    with (
        pytest.raises(OverflowError),  # an id that the vocabulary does not have
        write_cache(tmp_path / "cache", source_vocab_size=9, target_vocab_size=9) as writer,
    ):
        writer.add([[7], [70_000]], [[8], [8]])
    assert EncodedPairs.open(tmp_path / "cache").source(0).tolist() == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_full_disk_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CacheWriter, "finish", full)
    with pytest.raises(UserError, match="No space left"):
        write(tmp_path / "cache", [([[1]], [[2]])])
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        write(tmp_path / "file" / "cache", [([[1]], [[2]])])


def test_sides_of_different_number_are_our_own_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 source and 1 target"):
        write(tmp_path / "cache", [([[1], [2]], [[3]])])


class TestDamage:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        write(tmp_path / "cache", [([[1, 2], [3]], [[4], [5, 6]])])
        return tmp_path / "cache"

    def test_there_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no token cache"):
            EncodedPairs.open(tmp_path)

    @pytest.mark.parametrize(
        "name", ["cache.json", "source.bin", "target.bin", "source.offsets.npy", "target.offsets.npy"]
    )
    def test_a_file_is_missing_or_cut_off(self, cache: Path, name: str) -> None:
        content = (cache / name).read_bytes()
        (cache / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(UserError, match="damaged"):
            EncodedPairs.open(cache)
        (cache / name).unlink()
        with pytest.raises(UserError, match="damaged"):
            EncodedPairs.open(cache)

    def test_offsets_of_another_cache_are_noticed(self, cache: Path, tmp_path: Path) -> None:
        write(tmp_path / "other", [([[1]], [[2]])])
        (tmp_path / "other" / "source.offsets.npy").rename(cache / "source.offsets.npy")
        with pytest.raises(UserError, match="does not fit"):
            EncodedPairs.open(cache)

    def test_another_version_is_named(self, cache: Path) -> None:
        header = json.loads((cache / "cache.json").read_text())
        (cache / "cache.json").write_text(json.dumps({**header, "version": 7}))
        with pytest.raises(UserError, match="version 7"):
            EncodedPairs.open(cache)
