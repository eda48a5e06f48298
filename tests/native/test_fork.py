"""A child that was forked after a model was loaded or used works, or says why it can't; it never hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.interop.exporting import export_model
from saccade.model_folder.checkpoint import Model, save_model, vocabulary_of
from saccade.models import build_model, model_config
from tests import kinds
from tests.tiny import model, randomise, sentence_pieces

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

# Prints what the child found and what the parent finds after it; a child that hangs is killed.
PROGRAM = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons, about just this
import torch
torch.set_num_threads(2)
import saccade
from saccade.interop.exported import is_exported
from saccade.interop.exporting import open_exported
from pathlib import Path
_, when, *folders = sys.argv
lines = ["the dog sees an apple.", "nobody paints seven books!"] * 5
def ready(folder):
    if is_exported(Path(folder)): return open_exported(Path(folder), threads=2)
    return saccade.load(folder, device="cpu")
def work(one):
    try:
        if isinstance(one, saccade.TextGenerator):
            return one.generate("the dog", tokens=5, seed=1)[0].text, one.score(lines).nats
        return [found.text for found in one.translate(lines)]
    except saccade.UserError as error:
        return f"refused: {error}"
models = [ready(folder) for folder in folders]
before = [work(one) for one in models] if when == "used" else None
read, write = os.pipe()
child = os.fork()
if not child:
    threading.Timer(120, lambda: os._exit(3)).start()
    os.write(write, repr(([work(one) for one in models], torch.get_num_threads())).encode())
    os._exit(0)
os.close(write)
with open(read) as pipe:
    found, threads = eval(pipe.read() or "(None, None)")
_, status = os.waitpid(child, 0)
after = [work(one) for one in models]
print(repr((status, threads, torch.get_num_threads(), before or after, found, after)))
"""


def outcome(*folders: Path, when: str, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, when, *map(str, folders)],
        env={**os.environ, "OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return eval(done.stdout)


def assert_works(*folders: Path, when: str, **environment: str) -> None:
    status, child_threads, threads, before, found, after = outcome(*folders, when=when, **environment)
    assert status == 0
    assert before == found == after
    assert (child_threads, threads) == (1, 2)


def saved(folder: Path, **table: Any) -> Path:
    """A small model of some kind, large enough for torch and C to use two threads."""
    tokenizer = sentence_pieces()
    config = model_config({"width": 64, "dropout": 0.0, **table})
    network: Any = build_model(config, vocabulary_of(tokenizer))
    randomise(network, scale=0.1)
    decoding = {} if table["kind"].endswith(("lm", "xl", "ve")) else {"beam": 2, "max_length": 9}
    save_model(folder, Model(network.eval(), config, tokenizer, decoding))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    transformer = {"heads": 2, "feed_forward": 512, "encoder_layers": 1, "decoder_layers": 1}
    return [
        saved(place / "transformer", kind="transformer", **transformer),
        saved(place / "ctc", kind="nonautoregressive", decoder="ctc", **transformer),
        saved(place / "mask", kind="nonautoregressive", decoder="mask-predict", **transformer),
        saved(place / "recurrent", kind="recurrent", embedding=64, encoder_layers=1, decoder_layers=1),
        saved(
            place / "xl", kind="transformer-xl", heads=2, feed_forward=512, layers=1, segment=16, memory=16
        ),
        saved(place / "rnn", kind="recurrent-lm", layers=1, segment=16),
    ]


@pytest.mark.parametrize(
    ("when", "native"),
    [
        pytest.param("used", "1", id="used, kernels"),
        pytest.param("loaded", "0", id="loaded, plain torch"),
        pytest.param("loaded", "1", id="loaded, kernels", marks=pytest.mark.slow),
        pytest.param("used", "0", id="used, plain torch", marks=pytest.mark.slow),
    ],
)
def test_a_forked_child_uses_the_models_of_its_parent(folders: list[Path], when: str, native: str) -> None:
    assert_works(*folders, when=when, SACCADE_NATIVE=native)


@pytest.mark.parametrize("target", ["ctranslate2", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_forked_child_is_refused_the_exported_models_of_its_parent(target: Any, tmp_path: Path) -> None:
    pytest.importorskip({"ctranslate2": "ctranslate2", "onnx": "onnxscript"}[target])
    ours = replace(model(dtype=torch.float32), decoding={"beam": 1, "max_length": 9})
    export_model(ours, tmp_path / "out", target=target)
    status, _, _, before, found, after = outcome(tmp_path / "out", when="used")
    assert status == 0
    assert found[0].startswith("refused: this exported model was opened before the process forked")
    assert len(before[0]) == 10
    assert before == after


def test_no_thread_builds_something_while_the_process_forks() -> None:
    """Else the child would wait for ever for the lock that a thread of its parent held."""
    program = """
import os, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from saccade.decoding.lazy import Lazy
begun = threading.Event()
def slow():
    begun.set()
    time.sleep(0.5)
    return 7
lazy = Lazy(slow)
thread = threading.Thread(target=lazy.get)
thread.start()
begun.wait()
child = os.fork()
if not child:
    threading.Timer(20, lambda: os._exit(3)).start()
    os._exit(0 if lazy.get() == 7 else 4)
thread.join()
print(os.waitpid(child, 0)[1], lazy.get())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "0 7\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", kinds.KINDS)
def test_every_kind_survives_a_fork(name: str, tmp_path: Path) -> None:
    sizes = {"width": 48, "dtype": torch.float32}
    save_model(tmp_path / "model", kinds.model(name, **sizes))
    assert_works(tmp_path / "model", when="used")
