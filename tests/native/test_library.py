from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from saccade.native.library import library, why_not

REPORT = "from saccade.native.library import library, why_not; print(library() is None, why_not())"


def said(**environment: str) -> str:
    """What a fresh process says of its kernels."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def compiler() -> None:
    if library() is None:
        pytest.skip(f"no kernels here: {why_not()}")


def test_they_are_compiled_once_and_then_taken_from_the_cache(tmp_path: Path) -> None:
    compiler()
    assert said(XDG_CACHE_HOME=str(tmp_path)) == "False None"
    (built,) = (tmp_path / "saccade").iterdir()
    before = built.stat().st_mtime_ns
    assert said(XDG_CACHE_HOME=str(tmp_path)) == "False None"
    assert built.stat().st_mtime_ns == before


def test_they_can_be_switched_off() -> None:
    assert said(SACCADE_NATIVE="0") == "True switched off by SACCADE_NATIVE=0"


def test_without_a_compiler_there_are_none_and_the_reason_is_told(tmp_path: Path) -> None:
    assert said(PATH="", CC="", XDG_CACHE_HOME=str(tmp_path)) == "True no C compiler (cc, gcc or clang)"


def test_a_compiler_that_fails_is_named_with_its_first_complaint(tmp_path: Path) -> None:
    broken = tmp_path / "broken-cc"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "no such luck" >&2\nexit 1\n')
    broken.chmod(0o755)
    assert said(CC=str(broken), XDG_CACHE_HOME=str(tmp_path)) == f"True {broken} failed: no such luck"
    assert not list((tmp_path / "saccade").iterdir())


def test_a_cache_that_cannot_be_made_is_replaced_by_a_temporary_folder(tmp_path: Path) -> None:
    compiler()
    (tmp_path / "file").touch()
    assert said(XDG_CACHE_HOME=str(tmp_path / "file"), TMPDIR=str(tmp_path)) == "False None"
