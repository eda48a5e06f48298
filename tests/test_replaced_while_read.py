"""A reader of a folder that another process replaces sees the old one or the new one, always."""

from __future__ import annotations

import json
import multiprocessing
import os
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from saccade.errors import UserError
from saccade.model_folder.checkpoint import find_model, load_model, save_model
from saccade.storage.folders import read_whole, replace_folder
from tests import tiny

PARTS = [f"part-{number}" for number in range(5)]


def write(folder: Path, number: int) -> None:
    with replace_folder(folder) as new:
        for name in ("model.json", *PARTS):
            (new / name).write_text(json.dumps(number))


def replace_until(stop: Event, folder: Path) -> None:
    number = 1
    while not stop.is_set():
        write(folder, number)
        number += 1


def read(folder: Path) -> set[int]:
    """All parts, one after another."""
    return {json.loads((folder / name).read_text()) for name in PARTS}


@pytest.mark.parametrize("place", ["run", "run/checkpoints/best"])
def test_a_thousand_reads_while_the_folder_is_replaced_as_fast_as_can_be(tmp_path: Path, place: str) -> None:
    """Reads go on past the thousandth where the disk is so slow that few replacements happened meanwhile."""
    write(tmp_path / "run" / "checkpoints" / "best", 0)
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    stop = context.Event()
    writer = context.Process(
        target=replace_until, args=(stop, tmp_path / "run" / "checkpoints" / "best"), daemon=True
    )
    writer.start()
    try:
        parts: list[set[int]] = []
        while len(parts) < 1000 or max(parts[-1]) <= 10:
            assert writer.is_alive(), "the writer goes on until it is stopped"
            parts.append(read_whole(lambda: find_model(tmp_path / place), read))
    finally:
        stop.set()
        writer.join()
    assert all(len(numbers) == 1 for numbers in parts), "parts of two folders"
    seen = [min(numbers) for numbers in parts]
    assert seen == sorted(seen), "a reader never goes back in time"


def test_a_model_that_is_replaced_between_two_of_its_files_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a run writes a new best model while it is loaded."""
    folder = tmp_path / "checkpoints" / "best"
    first, second = (tiny.model(dtype=tiny.torch.float32, seed=seed) for seed in (0, 1))
    save_model(folder, first)
    pending = [second]
    from saccade.model_folder import checkpoint

    load = checkpoint.load_preprocessor

    def replaced_meanwhile(place: Path, **options: object) -> object:
        if pending:
            save_model(folder, pending.pop())
        return load(place, **options)

    monkeypatch.setattr(checkpoint, "load_preprocessor", replaced_meanwhile)
    found = dict(load_model(tmp_path).network.state_dict())
    for name, tensor in second.network.state_dict().items():
        assert tiny.torch.equal(found[name], tensor)


def test_an_error_in_a_folder_that_stays_is_reported_at_once(tmp_path: Path) -> None:
    attempts = []

    def fail(folder: Path) -> None:
        attempts.append(folder)
        raise UserError("damaged")

    with pytest.raises(UserError, match="damaged"):
        read_whole(lambda: tmp_path, fail)
    assert attempts == [tmp_path]
