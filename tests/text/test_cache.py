import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saccade.errors import UserError
from saccade.text.cache import EncodedLines, open_verified
from saccade.text.cache_writer import CacheWriter, write_cache
from saccade.text.columns import Column

Lines = dict[str, list[Any]]


def pair_columns(vocab_size: int = 100) -> list[Column]:
    return [Column.ids(name, vocab_size=vocab_size) for name in ("source", "target")]


def write(folder: Path, chunks: list[Lines], columns: list[Column] | None = None) -> EncodedLines:
    with write_cache(folder, pair_columns() if columns is None else columns) as writer:
        for chunk in chunks:
            writer.add(chunk)
    return EncodedLines.open(folder)


KINDS = {
    "<u2": st.integers(0, 65_535),
    "<u4": st.integers(0, 2**32 - 1),
    "<f4": st.floats(width=32, allow_nan=False),
    "|u1": st.integers(0, 255),
    "<i2": st.integers(-(2**15), 2**15 - 1),
}


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[Column], list[dict[str, list[NDArray[Any]]]]]:
    """Columns of any kind, some aligned with others, and lines of them in chunks."""
    columns = [
        Column(f"own{i}", draw(st.sampled_from(sorted(KINDS))), width=draw(st.none() | st.integers(1, 3)))
        for i in range(draw(st.integers(1, 3)))
    ]
    for i in range(draw(st.integers(0, 2))):
        other = draw(st.sampled_from([column.name for column in columns if column.aligned_with is None]))
        columns.append(Column(f"with{i}", draw(st.sampled_from(sorted(KINDS))), aligned_with=other))
    columns = draw(st.permutations(columns))
    chunks = []
    for count in draw(st.lists(st.integers(0, 3), max_size=3)):
        lengths = {
            column.name: draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
            for column in columns
        }
        chunk = {}
        for column in columns:
            own = lengths[column.aligned_with or column.name]
            size = sum(own) * (column.width or 1)
            values = draw(st.lists(KINDS[column.dtype], min_size=size, max_size=size))
            flat = np.asarray(values, dtype=column.dtype).reshape(-1, *column.shape)
            chunk[column.name] = np.split(flat, np.cumsum(own)[:-1]) if count else []
        chunks.append(chunk)
    return columns, chunks


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(case=corpora())
def test_what_is_written_in_chunks_comes_back_line_by_line(tmp_path: Path, case: Any) -> None:
    columns, chunks = case
    lines = write(tmp_path / "cache", chunks, columns)
    lines.verify()
    assert list(lines.columns) == [column.name for column in columns]
    for column in columns:
        flat = [line for chunk in chunks for line in chunk[column.name]]
        found = lines[column.name]
        assert found.column == column
        assert len(lines) == len(flat)
        assert found.lengths.tolist() == [len(line) for line in flat] and found.lengths.dtype == np.int32
        for i, line in enumerate(flat):
            assert found.line(i).dtype == line.dtype
            assert np.array_equal(found.line(i), line)


@pytest.mark.parametrize(("vocab_size", "size"), [(65_536, 2), (65_537, 4)])
def test_ids_take_two_bytes_as_long_as_they_fit(tmp_path: Path, vocab_size: int, size: int) -> None:
    largest = vocab_size - 1
    chunk = {"source": [[largest]], "target": [[0, largest]]}
    lines = write(tmp_path / "cache", [chunk], pair_columns(vocab_size))
    assert lines["source"].line(0).tolist() == [largest] and lines["target"].line(0).tolist() == [0, largest]
    assert (tmp_path / "cache" / "target.bin").stat().st_size == 2 * size


def test_values_stay_on_disk(tmp_path: Path) -> None:
    lines = write(tmp_path / "cache", [{"source": [[1, 2]], "target": [[3]]}])
    assert isinstance(lines["source"].values.base, np.memmap)


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    lines = write(tmp_path / "cache", [])
    assert "source" in lines and "labels" not in lines
    with pytest.raises(KeyError, match="no column 'labels', only source, target"):
        lines["labels"]


def test_a_new_cache_replaces_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "cache", [{"source": [[1], [2]], "target": [[3], [4]]}])
    lines = write(tmp_path / "cache", [{"source": [[5]], "target": [[6]]}])
    assert lines["source"].line(0).tolist() == [5]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_an_error_while_writing_leaves_the_old_cache_and_no_half_one(tmp_path: Path) -> None:
    write(tmp_path / "cache", [{"source": [[1]], "target": [[2]]}])
    with (
        pytest.raises(ValueError, match="value that <u2 does not hold"),
        write_cache(tmp_path / "cache", pair_columns(9)) as writer,
    ):
        writer.add({"source": [[7], [70_000]], "target": [[8], [8]]})
    assert EncodedLines.open(tmp_path / "cache")["source"].line(0).tolist() == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_full_disk_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CacheWriter, "finish", full)
    with pytest.raises(UserError, match="No space left"):
        write(tmp_path / "cache", [{"source": [[1]], "target": [[2]]}])
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        write(tmp_path / "file" / "cache", [{"source": [[1]], "target": [[2]]}])


COUNTED = [Column.ids("source", vocab_size=9), Column.numbers("counts", np.uint16, aligned_with="source")]
FRAMES = [Column.numbers("frames", np.float32, width=2)]


@pytest.mark.parametrize(
    ("columns", "lines", "error", "message"),
    [
        (pair_columns(), {"source": [[1], [2]], "target": [[3]]}, ValueError, "different numbers of lines"),
        (pair_columns(), {"source": [[1]]}, ValueError, "columns source for a cache of source, target"),
        (COUNTED, {"source": [[1, 2]], "counts": [[3]]}, ValueError, "other positions than source"),
        (COUNTED, {"source": [[9]], "counts": [[1]]}, ValueError, "id 9 in a vocabulary of 9"),
        (FRAMES, {"frames": [np.zeros((2, 2))]}, TypeError, "float64"),
        (FRAMES, {"frames": [np.zeros((2, 3), np.float32)]}, ValueError, "shape"),
    ],
)
def test_lines_that_do_not_fit_are_our_own_mistake(
    tmp_path: Path, columns: list[Column], lines: Lines, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write(tmp_path / "cache", [lines], columns)


class TestDamage:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        columns = [*pair_columns(), Column.numbers("counts", np.uint16, aligned_with="source")]
        chunk = {"source": [[1, 2], [3]], "target": [[4], [5, 6]], "counts": [[7, 0], [0]]}
        write(tmp_path / "run" / "cache", [chunk], columns)
        return tmp_path / "run" / "cache"

    def test_there_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no token cache"):
            EncodedLines.open(tmp_path)

    @pytest.mark.parametrize(
        "name",
        ["cache.json", "source.bin", "target.bin", "counts.bin", "source.offsets.npy", "target.offsets.npy"],
    )
    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_a_file_is_missing_or_cut_off(self, cache: Path, name: str, share: float) -> None:
        content = (cache / name).read_bytes()
        (cache / name).write_bytes(content[: int(len(content) * share)])
        with pytest.raises(UserError, match=f"damaged.*Delete the folder {cache.parent} and prepare"):
            EncodedLines.open(cache)
        (cache / name).unlink()
        with pytest.raises(UserError, match="damaged"):
            EncodedLines.open(cache)

    def test_offsets_of_another_cache_are_noticed(self, cache: Path, tmp_path: Path) -> None:
        write(tmp_path / "other", [{"source": [[1]], "target": [[2]]}])
        (tmp_path / "other" / "source.offsets.npy").rename(cache / "source.offsets.npy")
        with pytest.raises(UserError, match="does not fit 2 lines"):
            EncodedLines.open(cache)

    @pytest.mark.parametrize("offsets", [[0, 1, 3], [1, 2, 3], [0, 5, 3], [0, 2, 4]])
    def test_offsets_that_were_not_written_are_noticed(self, cache: Path, offsets: list[int]) -> None:
        np.save(cache / "source.offsets.npy", np.asarray(offsets, dtype=np.int64))
        with pytest.raises(UserError, match=r"source\.offsets\.npy is not what was written"):
            EncodedLines.open(cache)

    def test_an_id_beyond_the_vocabulary_is_noticed(self, cache: Path) -> None:
        np.asarray([1, 100, 3], dtype="<u2").tofile(cache / "source.bin")
        with pytest.raises(UserError, match=r"source\.bin has the id 100 in a vocabulary of 100"):
            EncodedLines.open(cache)

    @pytest.mark.parametrize("name", ["source", "counts"])
    def test_a_value_that_changed_is_noticed(self, cache: Path, name: str) -> None:
        np.asarray([1, 4, 3], dtype="<u2").tofile(cache / f"{name}.bin")
        with pytest.raises(UserError, match=rf"{name}\.bin: the values of column {name} are not those"):
            EncodedLines.open(cache).verify()

    def test_another_vocabulary_than_the_tokenisers_is_noticed(self, cache: Path) -> None:
        assert len(open_verified(cache, {"source": 100, "target": 100})) == 2
        with pytest.raises(UserError, match=r"target\.bin: its vocabulary has 100 pieces, .* has 90"):
            open_verified(cache, {"source": 100, "target": 90})

    @pytest.mark.parametrize(
        "edit",
        [
            lambda description: description["columns"][0].update(name="../../source"),
            lambda description: description["columns"][0].update(type="<f8"),
            lambda description: description["columns"][2].update(aligned_with="nothing"),
            lambda description: description["columns"][0].update(values=-1),
            lambda description: description["columns"][0].pop("sha256"),
            lambda description: description.update(columns=None),
            lambda description: description.update(lines="many"),
            lambda description: description.update(lines=1 << 62),
            lambda description: description.update(lines=2.0),
            lambda description: description["columns"][0].update(values=1 << 62),
            lambda description: description["columns"][0].update(values=(1 << 64) + 3),
            lambda description: description["columns"][0].update(vocab_size=True),
            lambda description: description["columns"][0].update(vocab_size=10**30),
            lambda description: description["columns"][0].update(pad=100),
            lambda description: description["columns"][2].update(width=1 << 62),
        ],
    )
    def test_a_description_that_makes_no_sense_is_damage(
        self, cache: Path, edit: Callable[[dict[str, Any]], None]
    ) -> None:
        description = json.loads((cache / "cache.json").read_text())
        edit(description)
        (cache / "cache.json").write_text(json.dumps(description))
        with pytest.raises(UserError, match="damaged"):
            EncodedLines.open(cache)

    def test_an_array_that_promises_more_than_it_holds_is_not_allocated(self, cache: Path) -> None:
        path = cache / "source.offsets.npy"
        content = path.read_bytes()
        for shape in (b"(9999999999999,)", b"(3, 9999999999,)"):
            path.write_bytes(content.replace(b"(3,), }" + b" " * len(shape), shape + b", }" + b" " * 4))
            with pytest.raises(UserError, match="damaged"):
                EncodedLines.open(cache)

    @pytest.mark.parametrize("name", ["cache.json", "source.bin", "source.offsets.npy"])
    def test_a_pipe_is_not_waited_for(self, cache: Path, name: str) -> None:
        (cache / name).unlink()
        os.mkfifo(cache / name)
        with pytest.raises(UserError, match="damaged"):
            EncodedLines.open(cache)

    def test_a_column_that_is_missing_is_named(self, cache: Path) -> None:
        with pytest.raises(UserError, match="the token cache has no column text"):
            open_verified(cache, {"text": 100})

    def test_a_cache_of_the_first_version_is_refused_with_what_to_do(self, cache: Path) -> None:
        first = {"version": 1, "pairs": 2, "source_type": "<u2", "target_type": "<u2"}
        (cache / "cache.json").write_text(json.dumps({**first, "source_ids": 3, "target_ids": 3}))
        with pytest.raises(UserError, match=rf"version 1, .* version 2\. Delete the folder {cache.parent}"):
            EncodedLines.open(cache)
