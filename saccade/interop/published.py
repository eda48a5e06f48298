"""Reading a model folder that was published for transformers: settings and weights."""

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saccade.errors import DamagedFile, NotFound, Unsupported, UserError
from saccade.model_folder.tensors import read_all, read_header
from saccade.storage import structured
from saccade.storage.structured import read_json, reason, require_plain

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""File names of weights, in the order of preference; each may be split into parts listed in an index."""


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object; raises UserError if it is missing or damaged."""
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: not found. Give the whole folder as it was published.") from error
    except (OSError, ValueError) as error:
        raise broken(path, reason(error)) from error
    if not isinstance(content, dict):
        raise broken(path, "it holds no JSON object")
    return content


def optional_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object as `read_object` does; returns an empty one if the file does not exist."""
    return read_object(path) if path.exists() else {}


def read_bytes(path: Path) -> bytes:
    """Reads a whole file; raises UserError if it is missing or too large."""
    try:
        return structured.read_bytes(path)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: not found. Give the whole folder as it was published.") from error
    except (OSError, ValueError) as error:
        raise broken(path, reason(error)) from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors by name, floating-point ones in float32; raises UserError for an unusable file."""
    weights: dict[str, Tensor] = {}
    for path in weight_files(folder):
        weights.update(_read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path))
    for name, tensor in weights.items():
        if not tensor.is_floating_point() or tensor.is_sparse or tensor.is_quantized:
            raise broken(folder, f"{name} holds numbers of type {tensor.dtype}; floats were expected")
    return {name: x.float() for name, x in weights.items()}


def weight_files(folder: Path) -> list[Path]:
    """The file of the weights, or its parts."""
    for name in WEIGHTS:
        if (folder / name).exists():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.exists():
            parts = read_object(index).get("weight_map")
            if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
                raise broken(index, "it has no weight_map")
            return [folder / Path(part).name for part in sorted(set(parts.values()))]
    raise NotFound(f"{folder}: holds no weights: neither {' nor '.join(WEIGHTS)}.")


def broken(path: Path, reason: str) -> UserError:
    """The error for a file that cannot be used."""
    return DamagedFile(f"{path}: damaged: {' '.join(reason.split())}. Copy or download it again.")


class Settings:
    """The settings in config.json, read by type; raises UserError, naming the setting, if one is wrong."""

    def __init__(self, path: Path, values: Mapping[str, Any] | None = None) -> None:
        """values: settings to use instead of the file's."""
        self.path, self.values = path, read_object(path) if values is None else values

    def whole(self, name: str, default: int | None = None) -> int:
        """The value of a setting that is a whole number."""
        value = self._get(name, default)
        if type(value) is not int or value < 0:
            raise self._wrong(name, value, "a whole number")
        return value

    def token(self, name: str, size: int) -> int:
        """The value of a setting that is an id below `size`, the number of ids."""
        value = self.whole(name)
        if value >= size:
            raise DamagedFile(f"{self.path}: {name} {value} is not below {size}, the size of the vocabulary.")
        return value

    def share(self, name: str, default: float = 0.0) -> float:
        """The value of a setting that is at least 0 and less than 1."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise self._wrong(name, value, "a number at least 0 and less than 1")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """The value of a setting that is true or false."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def choice(self, name: str, allowed: Mapping[str, str], default: str) -> str:
        """The name here of a setting's value, out of those allowed."""
        value = self._get(name, default)
        if not isinstance(value, str) or value not in allowed:
            raise Unsupported(
                f"{self.path}: {name} = {json.dumps(value)} is not supported; {', '.join(allowed)} are."
            )
        return allowed[value]

    def _get(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def _wrong(self, name: str, value: Any, wanted: str) -> UserError:
        what = f"has no {name}" if value is None else f"{name} = {json.dumps(value)} is not {wanted}"
        return DamagedFile(f"{self.path}: {what}.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        read_header(path)
        return read_all(path)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: not found. Give the whole folder as it was published.") from error
    except (OSError, ValueError) as error:
        raise broken(path, reason(error)) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        require_plain(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle format, which does not help the user
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: not found. Give the whole folder as it was published.") from error
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error) and "Weights only" not in str(error):
            raise broken(path, str(error)) from error
        raise UserError(
            f"{path}: refused: it holds more than weights, and loading it could run code from the file. "
            "Use a folder with model.safetensors."
        ) from error
    except Exception as error:  # the errors of a damaged file have no common class
        raise broken(path, str(error) or type(error).__name__) from error
    if not isinstance(content, dict):
        raise broken(path, "it holds no table of weights")
    return dict(_tensors(content, path))


def _tensors(content: Mapping[Any, Any], path: Path) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise broken(path, "it holds no table of weights")
        yield name, tensor
