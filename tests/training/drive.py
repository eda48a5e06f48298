"""Run a tiny training in a process of its own, as torchrun or a test starts it; may kill itself.

    python drive.py RUN [--resume] [--kill-at STEP] [--stop-at STEP] [section.key=value ...]

The corpus lies beside the run folder.
"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from saccade.errors import Interrupted, UserError
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.training.distributed import process_group
from saccade.training.eager import EagerStep

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.readers import READERS, STEPS

TINY = [
    "tokenizer.vocab_size=60",
    "tokenizer.byte_fallback=false",
    "model.width=16",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "training.steps=12",
    "training.batch_tokens=200",
    "training.warmup=4",
    "training.log_every=1",
    "training.save_every=5",
    "validation.every=6",
    "validation.max_sentences=4",
]
TINY_TEXT = [
    "tokenizer.vocab_size=60",
    "tokenizer.byte_fallback=false",
    "model.segment=7",
    "model.width=16",
    "training.steps=12",
    "training.batch_tokens=60",
    "training.warmup=4",
    "training.log_every=1",
    "training.save_every=5",
    "validation.every=6",
]
READING = ["training.steps=12", "training.save_every=5", "validation.every=6"]
SIZES = {
    "transformer": ["model.heads=2", "model.feed_forward=32"],
    "recurrent": ["model.embedding=12"],
    "convolutional": ["model.embedding=12"],
    "nonautoregressive": ["model.heads=2", "model.feed_forward=32"],
}
"""What each kind of translator needs besides."""
TEXT_SIZES = {
    "transformer-xl": ["model.heads=2", "model.feed_forward=32", "model.layers=2", "model.memory=9"],
    "transformer-lm": ["model.heads=2", "model.feed_forward=32", "model.layers=2"],
    "recurrent-lm": [],
}
"""What each kind of language model needs besides."""


def overrides(folder: Path, settings: list[str]) -> list[str]:
    """A tiny run of the corpus in `folder`, before `settings`."""
    kinds = [setting.partition("=")[2] for setting in settings if setting.startswith("model.kind=")]
    kind = kinds[-1] if kinds else "transformer"
    english, german = folder / "train.en", folder / "train.de"
    if kind in TEXT_SIZES:
        return [f"data.text={english}", f"data.valid_text={german}", *TINY_TEXT, *TEXT_SIZES[kind]]
    reader = next((one for one in READERS.values() if one.kind == kind), None)
    if reader is not None:
        return [*reader.files(folder), *STEPS, *READING, *reader.settings]
    files = [f"data.source={english}", f"data.target={german}", "data.holdout=20"]
    if (folder / "train.links").exists():
        files.append(f"data.alignments={folder / 'train.links'}")
    return [*files, *TINY, *SIZES[kind]]


def send_at(step: int, number: signal.Signals) -> None:
    """Send ourselves a signal when update `step` of this process begins."""
    update, calls = EagerStep.__call__, iter(range(1, 1_000_000))

    def wrapped(self, shares, *, rate):
        if next(calls) == step:
            os.kill(os.getpid(), number)
        return update(self, shares, rate=rate)

    EagerStep.__call__ = wrapped


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--stop-at", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_intermixed_args(words)
    torch.set_num_threads(1)
    if arguments.kill_at:
        send_at(arguments.kill_at, signal.SIGKILL)
    if arguments.stop_at:
        send_at(arguments.stop_at, signal.SIGINT)
    before = overrides(arguments.run.parent, arguments.settings)
    try:
        with process_group() as group:
            if arguments.resume:
                resume_run(arguments.run, group)
            else:
                experiment = read_experiment(overrides=[*before, *arguments.settings])
                start_run(experiment, arguments.run, group)
    except Interrupted as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 130
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def life(*words: str, environment: Mapping[str, str]) -> None:
    """`main` as all that a process of `multiprocessing` does."""
    os.environ.update(environment)
    sys.exit(main(list(words)))


if __name__ == "__main__":
    sys.exit(main())
