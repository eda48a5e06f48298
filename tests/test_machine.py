"""Devices, threads and memory: what this machine does not have is refused in one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import saccade
from saccade.__main__ import app
from saccade.errors import UserError
from saccade.interop.exporting import open_exported
from saccade.machine import lacks_memory, named_shortage, possible_threads, require_memory, usable_device
from saccade.model_folder.checkpoint import save_model
from saccade.use.translator import Translator
from tests import tiny

BAD = ["meta", "nonsense", "cuda:99", "", "cpu:x", "gpu", "meta:0", "cpu" * 1000]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "model"
    save_model(place, tiny.model(dtype=torch.float32))
    return place


@pytest.mark.parametrize("name", BAD)
def test_a_device_that_cannot_be_used_is_one_message(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match="^device "):
        usable_device(name)
    for load in (saccade.load, Translator.load, open_exported):
        with pytest.raises(UserError, match="^device "):
            load(folder, device=name)
    result = CliRunner().invoke(app, ["translate", str(folder), "--device", name], input="a\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --device ")
    assert result.stderr.count("\n") == 1


def test_the_processor_can_be_used() -> None:
    assert usable_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("count", [100_000, 0, -1, 1025])
def test_a_number_of_threads_has_bounds(folder: Path, count: int) -> None:
    with pytest.raises(UserError, match="a whole number from 1 to 1024"):
        possible_threads(count)
    with pytest.raises(UserError, match="a whole number from 1 to 1024"):
        open_exported(folder, threads=count)
    result = CliRunner().invoke(app, ["translate", str(folder), f"--threads={count}"], input="a\n")
    assert result.exit_code == 2
    assert "Invalid value for '--threads'" in result.stderr


@pytest.mark.parametrize("count", [1.5, True, "4", None])
def test_threads_are_a_whole_number(count: Any) -> None:
    with pytest.raises(UserError, match="a whole number"):
        possible_threads(count)


@pytest.mark.parametrize("options", [{"precision": "int4"}, {"precision": 8}, {"engine": "tensorrt"}])
def test_precisions_and_engines_that_do_not_exist_are_refused(folder: Path, options: Any) -> None:
    with pytest.raises(UserError, match="allowed are"):
        saccade.load(folder, device="cpu", **options)


def test_more_memory_than_there_is_is_refused() -> None:
    require_memory(1, "a byte")
    with pytest.raises(UserError, match=r"a model needs 1,000,000,000\.0 GB of memory"):
        require_memory(1e18, "a model")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("could not create a primitive"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error: Exception) -> None:
    assert lacks_memory(error)
    with pytest.raises(UserError, match="not enough memory for the model"), named_shortage("the model"):
        raise error
    with pytest.raises(RuntimeError, match="shape"), named_shortage("the model"):
        raise RuntimeError("a shape")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_limited_address_space_is_seen(folder: Path) -> None:
    program = (
        "import resource, saccade\n"
        "from saccade.machine import free_memory, require_memory\n"
        "import torch\n"
        "limit = 64 << 30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "assert free_memory(torch.device('cpu')) < limit\n"
        "try:\n"
        "    require_memory(limit, 'a model')\n"
        "except saccade.UserError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "a model needs 68.7 GB" in result.stdout


def test_threads_that_cannot_be_started_are_noticed_beforehand() -> None:
    """A library that starts them would abort: this is what SentencePiece does."""
    code = """
import resource, sys
from pathlib import Path
from saccade.machine import has_room_for_threads
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
print(has_room_for_threads(1000))
resource.setrlimit(resource.RLIMIT_AS, (size + 100_000_000, resource.RLIM_INFINITY))
print(has_room_for_threads(1), has_room_for_threads(1000))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\nTrue False\n"
