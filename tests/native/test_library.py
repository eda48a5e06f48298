from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from saccade.model_folder.checkpoint import save_model
from saccade.native import compiler
from saccade.native.library import library, why_not
from tests.tiny import model

REPORT = "from saccade.native.library import library, why_not; print(library() is None, why_not())"
QUICK = {"SACCADE_CFLAGS": "-O0"}  # compiled in seconds


def report(program: str = REPORT, **environment: str | None) -> str:
    """What a fresh process says of its kernels. None removes a variable."""
    changed = {**os.environ, **QUICK, **environment}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={name: value for name, value in changed.items() if value is not None},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def script(file: Path, text: str) -> str:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def kernels(home: Path) -> Iterator[Path]:
    return (home / "saccade").glob("*.so")


@pytest.fixture
def compiled() -> None:
    if library() is None:
        pytest.skip(f"no kernels here: {why_not()}")


def test_they_can_be_switched_off() -> None:
    assert report(SACCADE_NATIVE="0") == "True switched off by SACCADE_NATIVE=0"


def test_without_a_compiler_there_are_none_and_the_reason_is_given(tmp_path: Path) -> None:
    assert report(PATH="", CC="", XDG_CACHE_HOME=str(tmp_path)) == "True no C compiler (cc, gcc or clang)"


def test_a_compiler_that_fails_is_named_with_its_first_complaint(tmp_path: Path) -> None:
    broken = script(tmp_path / "broken-cc", '[ "$1" = --version ] && exit 0\necho "no such luck" >&2\nexit 1')
    found = report(CC=broken, PATH="", XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path))
    assert found == f"True {broken} failed: no such luck"
    assert list(kernels(tmp_path)) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broken-cc", "saccade"]
    assert [file.name for file in (tmp_path / "saccade").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit 0", "failed: it wrote no library"),
        ('for last; do :; done; echo "" > "$last" 2>/dev/null; exit 0', "failed: it wrote no library"),
        (
            'while [ "$1" != -o ]; do [ $# = 0 ] && exit 0; shift; done; echo x > "$2"',
            "invalid ELF|too short",
        ),
        ("kill -9 $$", "failed: exit -9"),
    ],
    ids=["nothing", "odd places", "no library", "killed"],
)
def test_a_compiler_that_does_not_make_a_library_is_no_compiler(
    tmp_path: Path, text: str, reason: str
) -> None:
    broken = script(tmp_path / "broken-cc", text)
    found = report(CC=broken, PATH="/nowhere", XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path))
    assert found.startswith("True ")
    assert re.search(reason, found)
    assert list(kernels(tmp_path)) == []


def test_a_note_says_that_plain_torch_is_used(tmp_path: Path) -> None:
    broken = script(tmp_path / "broken-cc", "exit 1")
    save_model(tmp_path / "model", model(dtype=torch.float32))
    done = subprocess.run(
        [sys.executable, "-m", "saccade", "translate", str(tmp_path / "model"), "--beam", "1"],
        env={**os.environ, "CC": broken, "PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)},
        input="the dog sees an apple.\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr.startswith(
        f"Note: plain torch is used, which is slower: {broken} failed: exit 1. Name a C compiler that works "
        "in CC, or set SACCADE_NATIVE=0.\n"
    )


def test_a_compiler_that_hangs_is_tried_once_an_hour(tmp_path: Path) -> None:
    hanging = script(tmp_path / "hanging-cc", f"echo tried >> {tmp_path}/count; exec /bin/sleep 300")
    soon = f"from saccade.native import compiler\ncompiler._TRIAL = 1.0\n{REPORT}"
    home = {"CC": hanging, "PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)}
    assert report(soon, **home) == f"True {hanging} was still running after 1 seconds"
    for _ in range(2):
        again = (
            f"True {hanging} was still running after 1 seconds when it was last tried, less than an hour ago"
        )
        assert report(soon, **home) == again
    assert (tmp_path / "count").read_text() == "tried\n"
    script(tmp_path / "hanging-cc", "exit 1")  # another compiler of the same name is tried at once
    assert report(soon, **home) == f"True {hanging} failed: exit 1"


def test_flags_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    found = report(SACCADE_CFLAGS="-DX='1", XDG_CACHE_HOME=str(tmp_path))
    assert found == "True SACCADE_CFLAGS: No closing quotation"


@pytest.mark.usefixtures("compiled")
def test_processes_that_come_first_at_the_same_time_compile_once(tmp_path: Path) -> None:
    real = shutil.which(compiler.compilers()[0][0])
    counting = script(tmp_path / "cc", f'echo run >> {tmp_path}/count; shift; exec {real} "$@"')
    environment = {
        **os.environ,
        **QUICK,
        # A command with arguments, as in CC="ccache gcc".
        "CC": f"{counting} with-an-argument",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    running = [
        subprocess.Popen([sys.executable, "-c", REPORT], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[0] for process in running] == ["False None\n"] * 4
    assert len(list(kernels(tmp_path))) == 1
    sources = len(list(Path(compiler.__file__).parent.glob("*.c")))
    assert (tmp_path / "count").read_text().count(
        "run"
    ) == sources + 4  # and --version, the trial twice, linking


@pytest.mark.usefixtures("compiled")
def test_they_are_compiled_once_and_then_taken_from_the_cache_unless_it_is_damaged(tmp_path: Path) -> None:
    """All in one test, since each compilation takes seconds."""
    # A compiler that can't compile, and a quotation mark that nothing closes, are passed over.
    broken = script(tmp_path / "broken-cc", "exit 1")
    home = {"XDG_CACHE_HOME": str(tmp_path), "CC": broken}
    assert report(**home) == "False None"
    (built,) = kernels(tmp_path)
    content, before = built.read_bytes(), built.stat().st_mtime_ns
    assert report(**home) == "False None"
    assert [file.stat().st_mtime_ns for file in kernels(tmp_path)] == [before]
    # Cut short by a power failure: reading the missing pages would end the process.
    with built.open("r+b") as file:
        file.truncate(len(content) // 2)
    assert report(**home) == "False None"
    (again,) = kernels(tmp_path)
    assert again.stat().st_size == len(content)


@pytest.mark.usefixtures("compiled")
def test_without_a_home_that_can_be_written_they_are_kept_in_one_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    places = {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "temporary")}
    assert report(**places) == "False None"
    (folder,) = (tmp_path / "temporary").iterdir()
    (built,) = folder.glob("*.so")
    before = built.stat().st_mtime_ns
    assert folder.name == f"saccade-{os.geteuid()}"
    assert report(**places) == "False None"
    # Nor without HOME and without an entry in the list of users.
    nobody = f"from pathlib import Path\ndef home(): raise RuntimeError\nPath.home = home\n{REPORT}"
    assert report(nobody, HOME=None, XDG_CACHE_HOME=None, TMPDIR=places["TMPDIR"]) == "False None"
    assert [file.stat().st_mtime_ns for file in folder.glob("*.so")] == [before]
    assert sorted(file.name for file in folder.iterdir()) == [".lock", built.name]
    assert [file.name for file in (tmp_path / "temporary").iterdir()] == [folder.name]


def test_a_compiler_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = script(tmp_path / "hanging-cc", f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    monkeypatch.setattr(compiler, "_TRIAL", 2.0)
    with pytest.raises(compiler.CompilerHangsError, match="hanging-cc was still running after 2 seconds"):
        compiler.build([hanging])
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").exists() and ") Z " in Path(f"/proc/{child}/stat").read_text():
            return  # ended; nobody has asked for its status yet
        time.sleep(0.1)
    pytest.fail("what the compiler started is still running")


def test_compilers_are_tried_in_order_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "cc", "gcc"):
        script(tmp_path / name, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiler.sysconfig, "get_config_var", lambda _: "gcc -pthread")
    monkeypatch.setenv("CC", "first -m64")
    assert compiler.compilers() == [["first", "-m64"], ["gcc", "-pthread"], ["cc"], ["gcc"]]
    monkeypatch.setenv("CC", "'never closed")
    assert compiler.compilers() == [["gcc", "-pthread"], ["cc"], ["gcc"]]


def test_the_key_follows_whatever_the_result_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [script(tmp_path / "cc", "exit 0")]
    keys = {compiler.build_key([command]), compiler.build_key([[*command, "-m64"]])}
    monkeypatch.setenv("SACCADE_CFLAGS", "-O1")
    keys.add(compiler.build_key([command]))
    script(tmp_path / "cc", "exit 0 # updated")
    keys.add(compiler.build_key([command]))
    monkeypatch.setattr(compiler, "_processor", lambda: "another")
    keys.add(compiler.build_key([command]))
    assert len(keys) == 5
    assert compiler.build_key([command]) in keys
