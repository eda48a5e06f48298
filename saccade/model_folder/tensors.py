"""Reading of safetensors files: the header first, so that nothing is allocated that it does not promise."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from saccade.quantisation import SCALE
from saccade.storage.structured import require_plain

_LARGEST_HEADER = 1 << 24  # bytes; a tensor takes about a hundred
_FLOATS = {"F64", "F32", "F16", "BF16"}


class Stored(NamedTuple):
    """The entry of a tensor in a header: safetensors' name of its type, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Stored]:
    """Type and shape of each tensor, without reading one. Raises OSError or ValueError for a damaged file."""
    require_plain(path)
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > _LARGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    try:
        with safe_open(path, framework="pt") as content:
            slices = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118 - no mapping
            return {name: Stored(one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def read_all(path: Path) -> dict[str, Tensor]:
    """All tensors by name. Raises OSError or ValueError for a damaged file."""
    require_plain(path)
    try:
        return load_file(path)
    except (SafetensorError, KeyError) as error:  # KeyError: a type that torch does not have
        raise ValueError(str(error)) from error


def restored_shapes(header: Mapping[str, Stored]) -> dict[str, tuple[int, ...]]:
    """The shapes that `quantisation.restored` will return.

    Raises ValueError for a scale that does not belong to the rows of its matrix, and for numbers that are
    neither floating-point nor scaled.
    """
    scales = {name for name in header if name.endswith(SCALE) and name.removesuffix(SCALE) in header}
    for name in scales:
        matrix = header[name.removesuffix(SCALE)]
        if len(matrix.shape) != 2 or header[name].shape != matrix.shape[:1] or header[name].dtype != "F32":
            raise ValueError(f"{name} is {list(header[name].shape)} for {list(matrix.shape)}")
    for name, (dtype, _) in header.items():
        if dtype not in _FLOATS and not (dtype == "I8" and name + SCALE in scales):
            raise ValueError(f"{name} has numbers of type {dtype}")
    return {name: stored.shape for name, stored in header.items() if name not in scales}
