"""A corpus of number words small enough to train on in seconds, and processes that do so."""

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from num2words import num2words

DRIVE = Path(__file__).with_name("drive.py")


def write_corpus(folder: Path, count: int = 240) -> None:
    """Numbers in English and German words, one a line."""
    for language in ("en", "de"):
        words = "".join(f"{num2words(7 * number, lang=language)}\n" for number in range(count))
        (folder / f"train.{language}").write_text(words, encoding="utf-8")


def drive(run: Path, *arguments: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """`drive.py` in one process, or in several under torchrun."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*launcher, str(DRIVE), str(run), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )


_FORKING = multiprocessing.get_context("forkserver")
# Imported once, by the server; its children start in no time.
_FORKING.set_forkserver_preload(["saccade.runs.experiment", "tensorboard.summary.writer.record_writer"])


def quick_drive(run: Path, *arguments: str, processes: int = 1) -> int | None:
    """`drive.py` in processes that have torch already: for tests with many of them.

    Several processes get the variables that torchrun would set. Returns the exit code, of several processes
    the first one that is not 0.
    """
    from tests.training.drive import life

    group = [{}] if processes == 1 else _as_torchrun_sets_them(processes)
    started = [
        _FORKING.Process(target=life, args=(str(run), *arguments), kwargs={"environment": environment})
        for environment in group
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    return next((process.exitcode for process in started if process.exitcode != 0), 0)


def _as_torchrun_sets_them(processes: int) -> list[dict[str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
    each = ({**shared, "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank} for rank in range(processes))
    return [{name: str(value) for name, value in one.items()} for one in each]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with train.en and train.de."""
    write_corpus(tmp_path)
    return tmp_path
