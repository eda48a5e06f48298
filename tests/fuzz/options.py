"""Command lines that are wrong: exit code 2, one message, no traceback, nothing on standard output."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from saccade.__main__ import app
from saccade.model_folder.checkpoint import save_model
from tests import labelled
from tests.fuzz import subjects
from tests.fuzz.campaign import Campaign, Outcome
from tests.fuzz.isolation import isolated
from tests.fuzz.warming import import_what_training_imports

Line = tuple[str, list[str]]
"""What is wrong, and the words of the command line."""


class Options(Campaign):
    """Each case is one command line with one mistake in it."""

    name = "options"

    def full(self) -> int:
        """As many as can be made, of which there are more than the acceptance asks for."""
        return 600

    def prepare(self) -> None:
        """Makes a model of each family, text, and all the lines."""
        ready = self.place / "ready"
        ready.mkdir()
        import_what_training_imports(ready)
        text = subjects.corpus(ready)
        models = {one.name: one.folder for one in subjects.models(ready)}
        run = subjects.finished_run("transformer", ready, "run")
        save_model(ready / "tagger", labelled.tagger())
        (ready / "empty").mkdir()
        (ready / "file.txt").write_text("one\n")
        (ready / "config.toml").write_text('[model]\nkind = "transformer"\n')
        self.names: dict[str, Path] = {
            "MT": models["packed"],
            "NAT": models["nat-ctc"],
            "LM": models["recurrent-lm"],
            "TAGGER": ready / "tagger",
            "RUN": run,
            "EMPTY": ready / "empty",
            "FILE": ready / "file.txt",
            "CONFIG": ready / "config.toml",
            **{
                name.upper().replace(".", "_"): text / name
                for name in ("train.en", "train.de", "test.en", "test.de")
            },
        }
        self.lines = sorted({(what, tuple(words)) for what, words in lines()})
        random.Random(self.seed).shuffle(self.lines)

    def case(self, number: int) -> Outcome:
        """One line; where more are asked for than there are, none."""
        if number >= len(self.lines):
            return Outcome("not needed")
        what, template = self.lines[number]
        words = [str(self.names.get(word, word)) for word in template]
        place = self.place / f"case-{number}"
        place.mkdir()
        ended = isolated(lambda: subjects.call(*words), place=place, stdin=b"one\n")
        fault = ended.fault()
        if fault is None and ended.code != 2:
            fault = f"exit code {ended.code}, {ended.out[:200]!r}"
        elif fault is None and ended.out:
            fault = f"prints {ended.out[:200]!r}"
        left = [path.name for path in place.iterdir()]
        if fault is None and left:
            fault = f"leaves {left}"
        if fault is not None:
            return Outcome("fault", f"{what}: saccade {' '.join(map(repr, words))}: {fault}")
        place.rmdir()
        return Outcome("refused")


_PAIR = ["--source", "TRAIN_EN", "--target", "TRAIN_DE"]
_TEST = ["--source", "TEST_EN", "--target", "TEST_DE"]
RIGHT: dict[str, list[str]] = {
    "train": ["train", *_PAIR, "--out", "new"],
    "translate": ["translate", "MT", "TEST_EN"],
    "evaluate": ["evaluate", "MT", "--source", "TEST_EN", "--reference", "TEST_DE"],
    "score": ["score", "MT", *_TEST],
    "compare": ["compare", "TEST_DE", "TEST_DE", "--reference", "TEST_DE"],
    "generate": ["generate", "LM"],
    "predict": ["predict", "TAGGER", "TEST_EN"],
    "lab": ["lab", "future", "--out", "new"],
    "perplexity": ["perplexity", "LM", "--text", "TEST_EN"],
    "check": ["check", *_PAIR],
    "info": ["info", "MT"],
    "attention": ["attention", "MT", "one", "--out", "a.png"],
    "distill": ["distill", "MT", "--source", "TEST_EN", "--out", "new"],
    "align": ["align", "MT", *_TEST, "--out", "new"],
    "import": ["import", "EMPTY", "--out", "new"],
    "export": ["export", "MT", "--to", "saccade", "--out", "new"],
    "doctor": ["doctor"],
    "demo": ["demo", "--out", "new"],
}
"""A line for each command that would be right, so that one change makes it wrong."""


def lines() -> Iterator[Line]:
    """All lines that are wrong."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert RIGHT.keys() == commands.keys(), "a command is not in the table"
    yield "no such command", ["tranlsate", "MT"]
    yield "no such command", ["--no-such-option"]
    for name, command in commands.items():
        right = RIGHT[name]
        yield "unknown option", [*right, "--no-such-option"]
        yield "unknown short option", [*right, "-z"]
        yield "too many arguments", [*right, "a", "b", "c", "d"] if name != "compare" else [*right, "--bad"]
        yield from _options(right, command)
        if name not in ("doctor", "demo", "train", "check", "import", "compare", "lab"):
            for model in ("not/there", "EMPTY", "FILE", "/dev/null", ""):
                yield "no model", [name, model, *right[2:]]
        if name not in ("doctor", "demo", "lab"):
            yield "incomplete", right[:1]
        if len(right) > 1 and right[-2].startswith("--"):
            yield "incomplete", right[:-1]
    yield from WRONG
    for command in ("train", "check"):
        yield from (("bad setting", [*RIGHT[command], "--set", value]) for value in SETTINGS)
    for command in ("translate", "evaluate", "score"):
        yield from (("bad setting", [*RIGHT[command], "--set", value]) for value in DECODING)


def _options(right: list[str], command: Any) -> Iterator[Line]:
    for parameter in command.params:
        names = [name for name in parameter.opts if name.startswith("--")]
        if not names or names[0] == "--help" or parameter.hidden:
            continue
        option = names[0]
        if parameter.is_flag:
            yield "value for a flag", [*right, f"{option}=x"]
            continue
        yield "misspelt", [*right, f"{option[:-1]}q", "1"]
        yield "without a value", [*right, option]
        if parameter.metavar in ("N", "X") and not parameter.multiple:
            yield "given twice", [*right, option, "2", option, "3"]
        for value in _bad(parameter):
            if (right[0], value) not in (("distill", "FILE"), ("align", "FILE")):  # which write files
                yield f"bad value for {option}", _with(right, option, value)


_FILES = ("source", "target", "valid_source", "valid_target", "reference", "prefix_file", "text")
_BAD: dict[str, list[str]] = {
    **{name: ["not/there", "/", "EMPTY"] for name in _FILES},
    **{name: ["not/there", "EMPTY", "FILE"] for name in ("reranker", "init_from")},
    "out": ["/proc/x/y", "FILE"],
    "overrides": ["", "x", "=", "x=1", "x.y=1", ".=", "decoding.no_such=1", "decoding=1"],
    "device": ["", "x", "cuda:99", "tpu"],
}
"""Bad values by the parameter's name."""


def _with(right: list[str], option: str, value: str) -> list[str]:
    """The line with another value for an option."""
    if option not in right:
        return [*right, option, value]
    place = right.index(option) + 1
    return [*right[:place], value, *right[place + 1 :]]


def _bad(parameter: Any) -> list[str]:
    # Where the bounds are depends on typer's version.
    low, high = (
        getattr(parameter, name, getattr(getattr(parameter, "type", None), name, None))
        for name in ("min", "max")
    )
    # A parameter may be a file of one command and a text of another, which takes any value.
    bad = [] if parameter.metavar == "TEXT" else list(_BAD.get(parameter.name, ()))
    if parameter.metavar == "N":
        bad += ["x", "1.5", "", "1e3", "nan", "--"]
    elif parameter.metavar == "X":
        bad += ["x", "", "nan", "inf", "1,5"]
    elif "|" in (parameter.metavar or ""):
        bad += ["x", "", parameter.metavar]
    beyond = [low - 1 if low is not None else None, high + 1 if high is not None else None]
    return [*bad, *(str(int(value)) for value in beyond if value is not None)]


SETTINGS = [
    "model.kind=x", "model.width=0", "model.width=-8", "model.width=1.5", "model.heads=3", "model.width=true",
    "model.dropout=2", "model.dropout=nan", "model.positions=x", "model.no_such=1", "training.steps=0",
    "training.steps=x", "training.steps=1e400", "training.batch_tokens=0", "training.accumulate=0",
    "training.ema=1.5", "training.precision=x", "training.seed=x", "tokenizer.vocab_size=1", "nothing.here=1",
    "tokenizer.no_such=2", "optimizer.no_such=2", "validation.every=0", "data.no_such=1", "decoding.beam=0",
    "training=1", "[model]", "model.width", "model..width=8", "training.steps=[1]", "model.kind=recurrent-lm",
    "training.init_from=not/there", "training.teacher=not/there", "data.source=not/there",
    "model.preset=huge",
    "model.window=-1", "training.average=-1", "training.warmup=-5", "model.encoder_layers=-1",
]  # fmt: skip
DECODING = [
    "decoding.beam=0", "decoding.beam=x", "decoding.beam=-1", "decoding.beam=1.5", "decoding.alpha=nan",
    "decoding.alpha=-1", "decoding.max_length=0", "decoding.batch_tokens=0", "decoding.no_such=1",
    "model.width=8", "decoding.length_penalty=x", "decoding.early_stopping=7",
    "decoding.banned=[-1]", "training.steps=3",
]  # fmt: skip
WRONG: list[Line] = [
    ("another family", ["translate", "LM", "TEST_EN"]),
    ("another family", ["evaluate", "LM", "--source", "TEST_EN", "--reference", "TEST_DE"]),
    ("another family", ["score", "LM", *_TEST]),
    ("another family", ["generate", "MT"]),
    ("another family", ["perplexity", "NAT", "--text", "TEST_EN"]),
    ("another family", ["attention", "LM", "one", "--out", "a.png"]),
    ("another family", ["distill", "LM", "--source", "TEST_EN", "--out", "new"]),
    ("another family", ["translate", "NAT", "TEST_EN", "--reranker", "LM"]),
    ("contradiction", ["train", "--resume", "RUN", *_PAIR]),
    ("contradiction", ["train", "--resume", "RUN", "--out", "new"]),
    ("contradiction", ["train", "--resume", "RUN", "CONFIG"]),
    ("contradiction", ["train", *_PAIR, "--out", "RUN"]),
    ("contradiction", ["train", *_PAIR, "--valid-source", "TEST_EN", "--out", "new"]),
    ("contradiction", ["train", "--source", "TRAIN_EN", "--target", "TEST_DE", "--out", "new"]),
    ("contradiction", ["translate", "MT", "TEST_EN", "--nbest", "9", "--beam", "2"]),
    ("contradiction", ["translate", "MT", "TEST_EN", "--engine", "torch", "--precision", "int8"]),
    ("contradiction", ["translate", "MT", "TEST_EN", "--engine", "ctranslate2", "--precision", "int8"]),
    ("contradiction", ["translate", "MT", "TEST_EN", "--iterations", "3"]),
    ("contradiction", ["translate", "NAT", "TEST_EN", "--sample"]),
    ("contradiction", ["translate", "MT", "TEST_EN", "--min-length", "9", "--max-length", "3"]),
    ("contradiction", ["translate", "MT", "TEST_EN", "--target-language", "de"]),
    ("contradiction", ["translate", "MT", "TEST_EN", "--reranker", "MT", "--candidates", "3"]),
    ("contradiction", ["export", "MT", "--to", "ctranslate2", "--out", "RUN"]),
    ("contradiction", ["export", "LM", "--to", "ctranslate2", "--out", "new"]),
    ("contradiction", ["export", "NAT", "--to", "ctranslate2", "--out", "new"]),
    ("contradiction", ["attention", "MT", "one", "--out", "a.xyz"]),
    ("contradiction", ["import", "RUN", "--out", "new"]),
    ("contradiction", ["score", "MT", "--source", "TRAIN_EN", "--target", "TEST_DE"]),
    ("contradiction", ["compare", "TEST_DE", "TRAIN_DE", "--reference", "TEST_DE"]),
    ("contradiction", ["evaluate", "MT", "--source", "TEST_EN", "--reference", "TRAIN_DE"]),
    ("contradiction", ["demo", "--out", "RUN"]),
    ("nothing to do", ["train"]),
    ("nothing to do", ["check"]),
    ("nothing to do", ["train", "--resume", "EMPTY"]),
    ("nothing to do", ["train", "--resume", "not/there"]),
    ("nothing to do", ["train", "not-there.toml"]),
    ("nothing to do", ["train", "/dev/null"]),
    ("nothing to do", ["translate", "MT", "not-there.txt"]),
    ("nothing to do", ["translate", "MT", "/"]),
]
