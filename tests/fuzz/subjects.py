"""Small models and runs of every kind, made in seconds, and what can be done with each."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from saccade.__main__ import app
from saccade.model_folder.checkpoint import Model, save_model, vocabulary_of
from saccade.models import KINDS, build_model, model_config
from saccade.models.families import LanguageModel, NonAutoregressive
from saccade.models.nonautoregressive import SCHEMES
from saccade.text.numbers import write_corpus
from saccade.training.metrics_log import MetricsLog
from tests import kinds
from tests.fuzz.isolation import isolated
from tests.tiny import randomise, sentence_pieces

TEXT = ["one hundred and seven", "twelve", "nine thousand and forty"]
_SIZES = {
    "transformer": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1},
    "recurrent": {"width": 16, "embedding": 16, "encoder_layers": 1, "decoder_layers": 1},
    "convolutional": {"width": 16, "embedding": 16, "encoder_layers": 1, "decoder_layers": 1},
    "nonautoregressive": {
        "width": 16,
        "heads": 2,
        "feed_forward": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
    },
    "transformer-xl": {"width": 16, "heads": 2, "feed_forward": 32, "layers": 1, "segment": 16},
    "transformer-lm": {"width": 16, "heads": 2, "feed_forward": 32, "layers": 1, "segment": 16},
    "recurrent-lm": {"width": 16, "layers": 1, "segment": 16},
}
STEPS = 10
_TRAINING = {
    "training.steps": STEPS,
    "training.batch_tokens": 128,
    "training.warmup": 2,
    "training.save_every": 2,
    "training.log_every": 1,
    "validation.every": 2,
    "validation.max_sentences": 3,
    "tokenizer.vocab_size": 300,
    "model.dropout": 0.1,
}


@dataclass(frozen=True)
class Subject:
    """A folder, which is copied before it is damaged. run: it is a run that was killed before its end."""

    name: str
    folder: Path
    language_model: bool
    run: bool


def call(*words: object) -> None:
    """A command, as if it had been typed; ends in SystemExit."""
    app([str(word) for word in words], prog_name="saccade")


def corpus(place: Path) -> Path:
    """Parallel text in small files: train.en, train.de, valid.en, ..."""
    folder = place / "corpus"
    if not folder.exists():
        write_corpus(folder, train=150, valid=5, test=3)
    return folder


def training(kind: str, text: Path, **changes: Any) -> list[str]:
    """What `train` is called with for a small run of a kind (nonautoregressive: of decoder CTC)."""
    settings: dict[str, Any] = {**_TRAINING, "model.kind": kind}
    settings |= {f"model.{name}": value for name, value in _SIZES[kind].items()}
    if issubclass(KINDS[kind].family, LanguageModel):
        settings |= {"data.text": text / "train.en", "data.valid_text": text / "valid.en"}
        del settings["validation.max_sentences"]
    else:
        for split, name in (("", "train"), ("valid_", "valid")):
            settings |= {
                f"data.{split}source": text / f"{name}.en",
                f"data.{split}target": text / f"{name}.de",
            }
        settings |= {"data.max_dropped": 1.0, "decoding.max_length": 12}
    if issubclass(KINDS[kind].family, NonAutoregressive):
        settings |= {"model.decoder": "ctc"}
        del settings["decoding.max_length"]
    settings |= changes
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def finished_run(kind: str, place: Path, name: str, **changes: Any) -> Path:
    """A run that was trained to its end."""
    run = place / name
    words = training(kind, corpus(place), **changes)
    ended = isolated(lambda: call("train", *words, "--out", run), place=place, seconds=120)
    if ended.code != 0:
        raise RuntimeError(f"{name} could not be trained: {ended.err}")
    return run


def killed_run(kind: str, place: Path, name: str, **changes: Any) -> Path:
    """A run that was killed between its second checkpoint and its end."""
    run, words, record = place / name, training(kind, corpus(place), **changes), MetricsLog.record

    def killing(log: MetricsLog, *said: Any) -> None:
        if _steps(run) >= 4:
            os.kill(os.getpid(), signal.SIGKILL)
        record(log, *said)

    def until_the_second_checkpoint() -> None:
        MetricsLog.record = killing  # type: ignore[method-assign]  # of this child alone
        call("train", *words, "--out", run)

    ended = isolated(until_the_second_checkpoint, place=place, seconds=120)
    if ended.code != -signal.SIGKILL or not 4 <= _steps(run) < STEPS:
        raise RuntimeError(f"{name} could not be trained or killed: {ended.err}")
    return run


def _steps(run: Path) -> int:
    try:
        text = (run / "checkpoints" / "last" / "training.json").read_text(encoding="utf-8")
        return int(json.loads(text)["counters"]["step"])
    except (OSError, ValueError, KeyError):
        return 0


def models(place: Path) -> list[Subject]:
    """Model folders with random weights: each kind, each decoder, some variants, and one stored in int8."""
    torch.manual_seed(0)
    tables: dict[str, dict[str, Any]] = {
        **{name: {"kind": "transformer", **table} for name, table in kinds.KINDS.items()},
        **{f"nat-{decoder}": _table("nonautoregressive", decoder=decoder) for decoder in SCHEMES},
        **{kind: _table(kind) for kind, record in KINDS.items() if record.family is LanguageModel},
        "packed": _table("transformer"),
    }
    made = [_model(place, name.replace(", ", "-"), table) for name, table in tables.items()]
    return [*made, _model(place, "int8", _table("transformer"), precision="int8")]


def _table(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, **_SIZES[kind], **more}


def _model(place: Path, name: str, table: dict[str, Any], **stored: Any) -> Subject:
    tokenizer = sentence_pieces()
    config = model_config({"dropout": 0.0, **table})
    network: Any = build_model(config, vocabulary_of(tokenizer))
    randomise(network)
    reads_text = isinstance(network, LanguageModel)
    decoding = {"tokens": 5} if reads_text else {}
    if not reads_text and not isinstance(network, NonAutoregressive):
        decoding = {"beam": 2, "max_length": 8}
    model = Model(network.eval(), config, tokenizer, decoding)
    save_model(place / name, replace(model, **stored))
    return Subject(name, place / name, reads_text, run=False)


def runs(place: Path, *, brief: bool) -> list[Subject]:
    """Killed runs, which differ in what their folders hold; brief: one."""
    everything = {"training.ema": 0.9, "training.average": 2, "training.accumulate": 2}
    wanted: Sequence[tuple[str, str, dict[str, Any]]] = (
        ("run", "transformer", {}),
        ("run-ema", "transformer", {**everything, "tokenizer.sampling": 0.1}),
        ("run-ctc", "nonautoregressive", {}),
        ("run-recurrent", "recurrent", {}),
        ("run-xl", "transformer-xl", everything),
    )
    return [
        Subject(name, killed_run(kind, place, name, **changes), KINDS[kind].family is LanguageModel, run=True)
        for name, kind, changes in wanted[: 1 if brief else None]
    ]
