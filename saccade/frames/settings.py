"""How a file becomes frames: the settings that are stored with a model."""

from typing import Literal, Self

from pydantic import Field, model_validator

from saccade.config import Section

Reads = Literal["pictures", "sounds", "arrays"]


class FramesConfig(Section):
    """Settings of models that read pictures, sounds or arrays, section `[tokenizer]`."""

    reads: Reads = "pictures"
    """What the files hold. pictures: PNG, JPEG, BMP, PGM or PPM; sounds: WAV; arrays: NPY, numbers
    (positions, width)."""
    height: int = Field(32, ge=1, le=1024)
    """Height in pixels that a picture is scaled to; its width follows in proportion."""
    patch_height: int = Field(32, ge=1, le=1024)
    """Height of a patch in pixels; it divides `height`. A line of text is read in patches of full height."""
    patch_width: int = Field(4, ge=1, le=1024)
    """Width of a patch in pixels."""
    rate: int = Field(8000, ge=1000, le=48_000)
    """Samples per second that a sound is converted to."""
    bands: int = Field(40, ge=4, le=256)
    """Number of mel bands of a sound's frame."""
    window: float = Field(0.025, gt=0, le=1)
    """Length in seconds of the window that a sound's frame is computed from."""
    step: float = Field(0.01, gt=0, le=1)
    """Time in seconds between two frames of a sound."""
    width: int | None = Field(None, ge=1, le=65_536)
    """Number of values at each position of an array."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, field in type(self).model_fields.items():
            owner = _OWNERS.get(name, self.reads)
            if owner != self.reads and getattr(self, name) != field.default:
                raise ValueError(f"{name} is a setting of {owner}, and this model reads {self.reads}")
        if self.reads == "arrays" and self.width is None:
            raise ValueError("arrays: set width, the number of values at each position")
        if self.reads == "pictures" and self.height % self.patch_height:
            raise ValueError(f"height {self.height} is not a multiple of patch_height {self.patch_height}")
        if self.reads == "sounds" and self.window * self.rate < 2:
            raise ValueError(f"a window of {self.window} s has fewer than two samples at rate {self.rate}")
        return self

    @property
    def frame_width(self) -> int:
        """Number of values at each position."""
        if self.reads == "pictures":
            return self.patch_height * self.patch_width
        return self.bands if self.reads == "sounds" else self.width or 1

    @property
    def stacked(self) -> int:
        """Number of positions that stand above one another, the topmost first."""
        return self.height // self.patch_height if self.reads == "pictures" else 1


_OWNERS: dict[str, Reads] = {
    **dict.fromkeys(("height", "patch_height", "patch_width"), "pictures"),
    **dict.fromkeys(("rate", "bands", "window", "step"), "sounds"),
    "width": "arrays",
}
