"""Files as frames, and the picture of what a model reads."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError, UserError
from saccade.frames.pictures import patches, read_picture
from saccade.frames.settings import FramesConfig
from saccade.frames.sounds import mel_frames, read_sound

Frames = NDArray[np.float32]
"""(positions, width)"""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".wav", ".npy")
"""Endings of files that hold one picture, sound or array."""
_MOST = 1 << 24  # bytes of an array file
_NAME = 200  # characters of a name that is too long


class View(NamedTuple):
    """What a model reads as a picture: values (height, width), and how positions lie on it.

    A position is a box of `box` (height, width); `stacked` of them stand above one another. square: whether a
    value is as wide as it is high, as a pixel is.
    """

    values: Frames
    box: tuple[int, int]
    stacked: int
    square: bool = True


def read_frames(path: Path, config: FramesConfig) -> Frames:
    """The frames of a file, (positions, config.frame_width). Raises UserError if it cannot be read."""
    return _read(path, config)[0]


def read_view(path: Path, config: FramesConfig) -> View:
    """The picture of a file as the model reads it; sounds have high frequencies at the top."""
    frames, picture = _read(path, config)
    if picture is not None:
        return View(picture, (config.patch_height, config.patch_width), config.stacked)
    return View(np.ascontiguousarray(frames.T[::-1]), (frames.shape[1], 1), 1, square=False)


def _read(path: Path, config: FramesConfig) -> tuple[Frames, Frames | None]:
    try:
        if not path.is_file():
            raise InputError("no such file.")
        if config.reads == "pictures":
            picture = read_picture(path, height=config.height)
            return patches(picture, config), picture
        if config.reads == "sounds":
            return mel_frames(read_sound(path, rate=config.rate), config), None
        return _array(path, config.frame_width), None
    except UserError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:  # a name that no file can have
        raise InputError(f"{str(path)[:_NAME]}: {error.strerror}.") from error


def _array(path: Path, width: int) -> Frames:
    if path.stat().st_size > _MOST:
        raise InputError(f"larger than {_MOST:,} bytes.")
    try:
        # Mapped first: a file may promise a larger array than it holds, which would be allocated.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise InputError("not an NPY file of numbers, or a damaged one.") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu" or found.ndim != 2:
        raise InputError("an array has to hold numbers (positions, width).")
    if found.shape[1] != width:
        raise InputError(f"{found.shape[1]} values at each position, and the model reads {width}.")
    if not np.isfinite(found).all():
        raise InputError("it has values that are not finite.")
    with np.errstate(over="ignore"):
        values = np.array(found, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("it has values that are too large for float32.")
    return values
