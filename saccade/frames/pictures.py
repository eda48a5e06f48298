"""Pictures as patches: grey values of equal height, in columns of patches from left to right."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.distribution import missing
from saccade.errors import InputError
from saccade.frames.settings import FramesConfig

FORMATS = ("PNG", "JPEG", "BMP", "PPM")
MOST_PIXELS = 1 << 24
"""Largest number of pixels of a picture."""
WIDEST = 1 << 14
"""Largest width of a scaled picture in pixels."""
_ORIENTATION = 0x0112  # the tag of Exif


def read_picture(path: Path, *, height: int) -> NDArray[np.float32]:
    """The picture (height, width), scaled to a height: 0 for the background, up to 1 for what stands out.

    The background is the median of the border, and the sign is chosen so that most of the rest is positive;
    so dark ink on white paper looks like chalk on a board. Raises UserError for a file that is no picture.
    """
    grey = _grey(path, height)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    apart = grey - np.median(border)
    if apart.mean() < 0:
        apart = -apart
    most = float(np.abs(apart).max())
    scaled: NDArray[np.float32] = (apart / most if most else apart).astype(np.float32)
    return scaled


def patches(picture: NDArray[np.float32], config: FramesConfig) -> NDArray[np.float32]:
    """Patches (positions, patch_height x patch_width) of a picture (height, width), column by column.

    The right edge is filled with background.
    """
    high, wide = config.patch_height, config.patch_width
    columns = -(-picture.shape[1] // wide)
    padded = np.zeros((config.height, columns * wide), dtype=np.float32)
    padded[:, : picture.shape[1]] = picture
    split = padded.reshape(config.stacked, high, columns, wide)
    # (columns, rows, high, wide): the patches of a column are neighbours.
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3)).reshape(columns * config.stacked, high * wide)


def _grey(path: Path, height: int) -> NDArray[np.float64]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise missing("reading pictures needs Pillow", "pictures") from error
    try:
        with Image.open(path, formats=FORMATS) as opened:
            width, tall = opened.size
            if opened.getexif().get(_ORIENTATION, 1) >= 5:  # it is shown lying on its side
                width, tall = tall, width
            if width * tall > MOST_PIXELS:
                raise InputError(f"{width} x {tall} pixels, and at most {MOST_PIXELS:,} are read.")
            wide = max(1, round(width * height / tall))
            if wide > WIDEST:
                raise InputError(
                    f"{wide:,} pixels wide when it is {height} high; at most {WIDEST:,} are read."
                )
            grey: Any = _in_grey(ImageOps.exif_transpose(opened))
            if grey.size != (wide, height):
                smooth = Image.Resampling.BOX if tall > height else Image.Resampling.BILINEAR
                grey = grey.resize((wide, height), smooth)
            return np.asarray(grey, dtype=np.float64)
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow reports what it does not know, and what ends too early, in all of these ways.
        names = ", ".join(FORMATS)
        raise InputError(f"not a picture that can be read ({names}), or a damaged one.") from error


def _in_grey(picture: Any) -> Any:
    """A picture in 8-bit grey, on white where it is transparent."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        return Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("L")
