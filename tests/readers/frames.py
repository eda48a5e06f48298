"""Classifiers and recognisers of arrays: a position of ones in a column for each character."""

from __future__ import annotations

from pathlib import Path

from tests.framed import WIDTH, write_manifest
from tests.readers import SIZES, Reader, Refusal

_ARRAYS = (*SIZES, "tokenizer.reads=arrays", f"tokenizer.width={WIDTH}", "model.strides=[2]")


def _write(path: Path, count: int, seed: int) -> None:
    write_manifest(path.parent, path.name.partition(".")[0].removesuffix("-labels"), count=count, seed=seed)


def _first(path: Path) -> str:
    return str(path.parent / path.read_text().partition("\t")[0])


_EMPTY = Refusal("", "the training")

READERS = {
    "frame-classifier": Reader(
        "frame-classifier",
        (*_ARRAYS, "model.layers=1"),
        _write,
        metrics=("accuracy",),
        scored="accuracy",
        shown=_first,
        wrong=(
            Refusal("train-0.npy\todd\ntrain-1.npy\n", "FILE:2: 1 columns"),
            Refusal("none.npy\todd\n", "FILE:1: "),
            _EMPTY,
        ),
        unknown=Refusal("train-0.npy\tneither\n", "FILE:1: the label 'neither' does not occur"),
        ending="-labels.tsv",
    ),
    "recogniser": Reader(
        "recogniser",
        (*_ARRAYS, "model.encoder_layers=1", "model.decoder_layers=1", "decoding.max_length=6"),
        _write,
        metrics=("accuracy", "cer", "wer", "exact"),
        scored="CER",
        shown=_first,
        wrong=(
            Refusal("train-0.npy\tab\ntrain-1.npy\n", "FILE:2: 1 columns"),
            Refusal("none.npy\tab\n", "FILE:1: "),
            _EMPTY,
        ),
    ),
}
