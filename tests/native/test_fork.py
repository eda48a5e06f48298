from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saccade.checkpoint import save_model
from tests.tiny import model

PROGRAM = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons, about just this
import torch
torch.set_num_threads(2)
import saccade
translator = saccade.load(sys.argv[1])
lines = ["the dog sees an apple.", "nobody paints seven books!"] * 40
def texts(): return [one.text for one in translator.translate(lines, beam=2, max_length=9)]
expected = texts() if sys.argv[2] == "used" else None
read, write = os.pipe()
child = os.fork()
if not child:
    found = texts()
    os.write(write, repr((found, torch.get_num_threads())).encode())
    os._exit(0)
os.close(write)
with open(read) as pipe:
    found, threads = eval(pipe.read())
_, status = os.waitpid(child, 0)
own = texts()
assert status == 0 and found == own and threads == 1 and torch.get_num_threads() == 2, (status, threads)
assert expected in (None, own)
print("same")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("before", ["loaded", "used"])
def test_a_forked_child_translates_with_the_model_of_its_parent(tmp_path: Path, before: str) -> None:
    save_model(tmp_path / "model", model(dtype=torch.float32, width=64, heads=2, feed_forward=512))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "model"), before],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "same\n", done.stderr
