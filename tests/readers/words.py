"""Taggers, classifiers and masked language models: words whose last letter says everything."""

from __future__ import annotations

import random
from pathlib import Path

from tests.readers import SIZES, Reader, Refusal

ENCODER = (*SIZES, "model.layers=1")


def write_sentences(path: Path, count: int, seed: int) -> None:
    """Sentences whose label depends on a word's ending and on the word before it."""
    generator = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(count):
            before = ""
            for _ in range(generator.randint(2, 9)):
                word = "".join(generator.choices("abcde", k=generator.randint(1, 4))) + generator.choice("xy")
                label = ("AFTER-" if before.endswith("x") else "") + word[-1].upper()
                stream.write(f"{word}\t{label}\n")
                before = word
            stream.write("\n")


def write_text(path: Path, count: int, seed: int) -> None:
    """The same sentences as text, one a line."""
    write_sentences(path, count, seed)
    blocks = path.read_text().strip().split("\n\n")
    lines = [" ".join(line.partition("\t")[0] for line in block.split("\n")) for block in blocks]
    path.write_text("".join(f"{line}\n" for line in lines))


def write_labelled_texts(path: Path, count: int, seed: int) -> None:
    """The same text, with a label in front of each line: whether the first word ends in x."""
    write_text(path, count, seed)
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{'X' if one.split()[0][-1] == 'x' else 'Y'}\t{one}\n" for one in lines))


def with_gaps(path: Path) -> Path:
    """A text with a gap in each line."""
    made = path.with_name("gaps.txt")
    made.write_text("".join(f"{line} [MASK]\n" for line in path.read_text().splitlines()[:6]))
    return made


_TAGGER = {
    "write": write_sentences,
    "metrics": ("accuracy",),
    "scored": "accuracy",
    "shown": lambda _: "abx bcy",
    "wrong": (
        Refusal("abx\tX\nbcy\n\n", "FILE:2: 1 columns"),
        Refusal("", "FILE is empty"),
    ),
    "unknown": Refusal("abx\tX\nbcy\tZ\n\n", "FILE:2: the label 'Z' does not occur in the training text"),
}
_CLASSIFIER = {
    "write": write_labelled_texts,
    "metrics": ("accuracy",),
    "scored": "accuracy",
    "shown": lambda _: "abx bcy",
    "wrong": (
        Refusal("X\tabx\nabx bcy\n", "FILE:2: 1 columns"),
        Refusal("", "the training text has no lines"),
    ),
    "unknown": Refusal("X\tabx\nZ\tbcy\n", "FILE:2: the label 'Z' does not occur in the training text"),
}
_SPELLING = ("model.spelling=8", "model.spelling_embedding=4", "model.max_bytes=8")

READERS = {
    "bert": Reader(
        "bert",
        (*ENCODER, "model.max_positions=32", "tokenizer.vocab_size=60", "data.block=16"),
        write_text,
        metrics=("accuracy",),
        scored=None,
        shown=lambda _: "abx [MASK]",
        given=with_gaps,
    ),
    "tagger": Reader("tagger", (*ENCODER, *_SPELLING), **_TAGGER),
    "tagger, crf": Reader("tagger", (*ENCODER, *_SPELLING, "model.crf=true"), **{**_TAGGER, "wrong": ()}),
    "bert-tagger": Reader("bert-tagger", SIZES, starts_from="bert", **_TAGGER),
    "classifier": Reader("classifier", (*SIZES, "tokenizer.model=word"), **_CLASSIFIER),
    "bert-classifier": Reader("bert-classifier", SIZES, starts_from="bert", **_CLASSIFIER),
}
