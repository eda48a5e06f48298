"""TensorBoard's own reader finds the curves; a full disk is one error."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from saccade.errors import DamagedFile, StorageError
from saccade.training.curves import Curves, curves
from saccade.training.metrics_log import MetricsLog


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Files of this process may not be longer, which looks like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def points(folder: Path, name: str) -> list[tuple[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder))
    read.Reload()
    return [(event.step, event.value) for event in read.Scalars(name)]


def test_tensorboard_reads_the_curves_and_a_resumed_run_replaces_later_points(tmp_path: Path) -> None:
    first = Curves(tmp_path, step=0)
    for step in (1, 2, 3):
        first.add("train/loss", 10.0 / step, step)
    first.close()
    resumed = Curves(tmp_path, step=2)
    resumed.add("train/loss", 3.25, 3)
    resumed.close()
    assert points(tmp_path, "train/loss") == [(1, 10.0), (2, 5.0), (3, 3.25)]


def test_a_full_disk_is_one_error_that_names_the_file(tmp_path: Path) -> None:
    written = Curves(tmp_path / "curves", step=0)
    with limited_files(200), pytest.raises(StorageError, match=r"events\.out\.tfevents.*cannot write"):
        written.add("x" * 200, 1.0, 1)
    written.close()
    with limited_files(0), pytest.raises(StorageError, match="cannot write"):
        Curves(tmp_path / "more", step=0)
    with (
        limited_files(200),
        pytest.raises(StorageError, match=r"metrics\.jsonl: cannot write"),
        MetricsLog(tmp_path, step=0, steps=5) as log,
    ):
        log.record("valid", 1, {"sentence": "x" * 200})


def test_curves_are_not_written_through_a_link_out_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "run" / "tensorboard").symlink_to(tmp_path / "outside")
    (tmp_path / "file").touch()
    for folder in (tmp_path / "run" / "tensorboard", tmp_path / "file"):
        with pytest.raises(DamagedFile, match=f"{folder.name}: not a folder"):
            Curves(folder, step=0)
    with pytest.raises(DamagedFile):
        MetricsLog(tmp_path / "run", step=0, steps=5)
    assert not list((tmp_path / "outside").iterdir())


def test_without_tensorboard_there_are_no_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saccade.training.curves.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
    assert curves(tmp_path / "curves", step=0) is None
    assert not (tmp_path / "curves").exists()
