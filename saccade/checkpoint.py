"""Model folders: writing them atomically, and reading them with clear errors.

MODEL/  model.json         format, architecture, vocabulary, decoding defaults, provenance
        model.safetensors  weights
        tokenizer.json ... the tokeniser's own files

A folder appears under its name only when it is complete and on disk; see `replace_folder`.
"""

import errno
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from saccade.config import Section
from saccade.errors import DamagedFile, NotFound, UserError
from saccade.folders import beside, read_whole, replace_folder
from saccade.models import build_model, model_config
from saccade.models.families import Network
from saccade.models.interface import Vocabulary
from saccade.models.renamed import current_name
from saccade.native.fork import survive_fork
from saccade.quantisation import Precision, quantised, restored
from saccade.text.tokenizer import Tokenizer, load_tokenizer, save_tokenizer

FORMAT = 3
"""Format number, which increases when older versions of Saccade can no longer read a folder correctly. 2:
weights in int8; 3: the encoder is a module of its own, so that parameters are renamed (`models.renamed`)."""

_LOOKS = 5
"""Number of times that the places of a model are looked through."""


@dataclass(frozen=True)
class Model:
    """The contents of a model folder, in memory."""

    network: Network
    config: Section
    tokenizer: Tokenizer
    decoding: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    precision: Precision = "float32"
    """The precision in which a folder stores the weights."""


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """The vocabulary of a model with this tokeniser."""
    return Vocabulary(
        source_size=tokenizer.source_vocab_size,
        target_size=tokenizer.target_vocab_size,
        pad=tokenizer.pad,
        start=tokenizer.start,
        end=tokenizer.end,
        shared=tokenizer.shared,
    )


def write_model(folder: Path, model: Model, *, weights: Mapping[str, Tensor] | None = None) -> None:
    """Writes a model's files to an existing folder. weights: used instead of the network's own."""
    description = {
        "format": FORMAT,
        "model": model.config.model_dump(mode="json", exclude_none=True),
        "vocabulary": asdict(model.network.vocabulary),
        "tokenizer": save_tokenizer(model.tokenizer, folder),
        "decoding": model.decoding,
        "provenance": model.provenance,
    }
    tensors = dict(weights or unique_tensors(model.network))
    if model.precision == "int8":
        description["precision"], tensors = model.precision, quantised(model.network, tensors)
    write_json(folder / "model.json", description)
    write_tensors(folder / "model.safetensors", tensors)


def save_model(folder: Path, model: Model, *, weights: Mapping[str, Tensor] | None = None) -> None:
    """Saves a model folder atomically, replacing an older one."""
    with replace_folder(folder) as new:
        write_model(new, model, weights=weights)


def load_model(folder: Path) -> Model:
    """Reads a model folder, or the best checkpoint of a run folder; the network is in evaluation mode.

    If another process replaces the folder meanwhile, the model is the old or the new one. Raises UserError
    for a folder that is missing, damaged, of a foreign format, or from a newer Saccade.
    """
    survive_fork()
    return read_whole(partial(find_model, folder), _load)


def _load(folder: Path) -> Model:
    description = read_description(folder)
    tokenizer = load_tokenizer(folder, digests=description["tokenizer"])
    try:
        config = model_config(description["model"])
    except UserError as error:
        raise _damaged(folder / "model.json", str(error)) from error
    try:
        vocabulary = Vocabulary(**description["vocabulary"])
    except TypeError as error:
        raise _damaged(folder / "model.json", f"vocabulary: {error}") from error
    if vocabulary != vocabulary_of(tokenizer):
        raise _damaged(folder, "its tokeniser is not the one that the model was trained with")
    network = build_model(config, vocabulary)
    load_weights(network, read_weights(folder), folder=folder)
    network.eval()
    return Model(
        network,
        config,
        tokenizer,
        description["decoding"],
        description["provenance"],
        description.get("precision", "float32"),
    )


def read_weights(folder: Path) -> dict[str, Tensor]:
    """A model folder's weights in float32 under today's names; UserError when they are missing or damaged."""
    current = names_in(folder)
    stored = restored(read_tensors(folder / "model.safetensors"))
    return {current(name): tensor for name, tensor in stored.items()}


def names_in(folder: Path) -> Callable[[str], str]:
    """A function from the names of parameters in a model folder, which an older version may have written, to
    today's names."""
    description = read_description(folder)
    if description["format"] == FORMAT:
        return lambda name: name
    return partial(current_name, kind=str(description["model"].get("kind", "transformer")))


def find_model(folder: Path) -> Path:
    """The model folder itself, or the best checkpoint of a run folder.

    It also finds a model that `replace_folder` has moved aside, and leaves it there, because a run may be
    writing.
    """
    best = folder / "checkpoints" / "best"
    # Between two looks a run may have put a new folder in its place and removed the old one.
    for candidate in (folder, beside(folder, "old"), best, beside(best, "old")) * _LOOKS:
        if (candidate / "model.json").is_file():
            return candidate
    if not folder.exists():
        raise NotFound(f"{folder}: no such model folder. Give a run folder or one that holds model.json.")
    if not folder.is_dir():
        raise NotFound(f"{folder}: a file, not a model folder. Give the folder that holds model.json.")
    if (folder / "config.toml").is_file():
        raise NotFound(
            f"{folder}: this run has no checkpoint yet; wait for its first validation, or resume it."
        )
    hint = ""
    if (folder / "config.json").is_file():
        hint = " It looks like a folder of transformers."
    raise NotFound(f"{folder}: not a Saccade model folder: it has no model.json.{hint}")


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], *, folder: Path) -> None:
    """Copies weights to a network; names and shapes must match. Tied matrices are stored once."""
    own = unique_tensors(network)
    missing, unknown = own.keys() - weights.keys(), weights.keys() - own.keys()
    if missing or unknown:
        what = f"lacks {min(missing)}" if missing else f"holds the unknown {min(unknown)}"
        reason = f"it {what}; weights and model.json do not belong together"
        raise _damaged(folder / "model.safetensors", reason)
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            shapes = f"{list(weights[name].shape)} instead of {list(tensor.shape)}"
            raise _damaged(folder / "model.safetensors", f"{name} is {shapes}")
        with torch.no_grad():
            tensor.copy_(weights[name])


def unique_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and stored buffers by name; tied ones only under their first name."""
    seen: set[int] = set()
    unique = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            unique[name] = tensor.detach()
    return unique


def average_weights(folders: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of several model folders' weights ("Attention Is All You Need", section 6.1)."""
    first = read_weights(folders[0])
    # With sums in float64, the average of n copies of a checkpoint is that checkpoint.
    total = {name: tensor.double() for name, tensor in first.items()}
    for folder in folders[1:]:
        weights = read_weights(folder)
        if {name: x.shape for name, x in weights.items()} != {name: x.shape for name, x in first.items()}:
            raise DamagedFile(f"{folder}: cannot be averaged with {folders[0]}: the shapes differ.")
        for name, tensor in weights.items():
            total[name] += tensor
    return {name: (total[name] / len(folders)).to(tensor.dtype) for name, tensor in first.items()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes readable JSON; `replace_folder` flushes it to disk before the folder appears."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; raises UserError if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(path, "it holds no JSON object")
    return content


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file."""
    path.touch()
    mode = path.stat().st_mode  # from the user's umask; safetensors would make the file private
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        # safetensors reports a full disk as an exception of its own.
        raise OSError(errno.EIO, str(error), str(path)) from error
    path.chmod(mode)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file; raises UserError if it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error


def read_description(folder: Path) -> dict[str, Any]:
    """Reads model.json of a model folder (see `find_model`); raises UserError if it is not valid."""
    path = folder / "model.json"
    description = read_json(path)
    version = description.get("format")
    if not isinstance(version, int) or not isinstance(description.get("model"), dict):
        raise DamagedFile(f"{path}: not written by Saccade: it has no format number.", topic="no-model")
    if version > FORMAT:
        raise DamagedFile(
            f"{path}: format {version} is newer than this Saccade reads ({FORMAT}). Install a newer Saccade."
        )
    description.setdefault("tokenizer", {})  # the oldest folders have no digests
    for name in ("vocabulary", "tokenizer", "decoding", "provenance"):
        if not isinstance(description.get(name), dict):
            raise _damaged(path, f"it has no {name}")
    return description


def _damaged(path: Path, reason: str) -> UserError:
    return DamagedFile(f"{path}: damaged: {reason}. Copy the model folder again, or use another checkpoint.")
