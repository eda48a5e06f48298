"""Files of frames, and models with random weights that read them, for tests."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np

from saccade.frames.settings import FramesConfig
from saccade.model_folder.checkpoint import Model
from saccade.text.framed import FrameTokenizer
from saccade.text.labelled import LabelledTokenizer
from tests.labelled import built

WIDTH = 6
ARRAYS = FramesConfig(reads="arrays", width=WIDTH)
_BODY = {"width": 12, "heads": 3, "feed_forward": 20, "encoder_layers": 2, "decoder_layers": 2}


def recogniser(**changes: Any) -> Model:
    """In float64, so that a mistake cannot pass as rounding."""
    table = {"kind": "recogniser", **_BODY, "strides": [2], "frame_kernel": 3, **changes}
    return built(table, FrameTokenizer(ARRAYS, "ab c"))


def frame_classifier(**changes: Any) -> Model:
    table = {
        "kind": "frame-classifier",
        "width": 12,
        "heads": 3,
        "feed_forward": 20,
        "frame_kernel": 3,
        **changes,
    }
    return built(table, LabelledTokenizer(FrameTokenizer(ARRAYS), ["even", "odd"]))


def write_arrays(folder: Path, lengths: list[int]) -> list[str]:
    """Arrays of these numbers of positions; the names of their files."""
    generator = np.random.default_rng(1)
    names = []
    for number, length in enumerate(lengths):
        np.save(folder / f"{number}.npy", generator.normal(size=(length, WIDTH)).astype(np.float32))
        names.append(str(folder / f"{number}.npy"))
    return names


def write_manifest(folder: Path, name: str, *, count: int, seed: int) -> None:
    """Arrays that say their text: a position of ones in column 0, 1 or 2 for a, b or a space. The label says
    whether the text has an even number of characters."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for number in range(count):
        said = generator.integers(0, 3, size=generator.integers(1, 6))
        said[0] = said[-1] = 0
        array = np.repeat(np.eye(WIDTH, dtype=np.float32)[said], 2, axis=0)
        np.save(folder / f"{name}-{number}.npy", array + generator.normal(0, 0.1, array.shape).astype("f4"))
        text = "".join("ab "[one] for one in said)
        texts.append(f"{name}-{number}.npy\t{text}\n")
        labels.append(f"{name}-{number}.npy\t{'odd' if len(text) % 2 else 'even'}\n")
    (folder / f"{name}.tsv").write_text("".join(texts))
    (folder / f"{name}-labels.tsv").write_text("".join(labels))


def write_wave(path: Path, samples: np.ndarray, *, rate: int, width: int = 2, channels: int = 1) -> None:
    """Samples (count,) or (count, channels) from -1 to 1 as PCM."""
    most = (1 << (8 * width - 1)) - 1
    values = np.round(samples * most).astype(np.int64)
    if width == 1:
        data = (values + 128).astype(np.uint8).tobytes()
    else:
        data = values.reshape(-1, 1).astype("<i8").view(np.uint8)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(data)
