"""The smoke test that other Pythons are tried with, on this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from saccade.models import KINDS
from saccade.models.nonautoregressive import SCHEMES


@pytest.mark.slow
def test_every_kind_is_trained_killed_resumed_and_used() -> None:
    script = Path(__file__).with_name("smoke.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    used = [line.partition(":")[0] for line in done.stdout.splitlines() if "killed, resumed, used" in line]
    kinds = {name.removesuffix(f"-{decoder}").partition(",")[0] for name in used for decoder in SCHEMES}
    assert kinds >= KINDS.keys()
    assert {decoder for decoder in SCHEMES for name in used if name.endswith(f"-{decoder}")} == SCHEMES.keys()
