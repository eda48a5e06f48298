"""Model folders: writing them atomically, and reading them with clear errors.

MODEL/  model.json         format, architecture, vocabulary, decoding defaults, provenance (`manifest.py`)
        model.safetensors  weights
        tokenizer.json ... the tokeniser's own files
        alignment.json     the heads that align words, if they were chosen (`heads.py`)
        SHA256SUMS         the digests of all of them (`digests.py`)

Sizes are compared with the header of the weights before anything is built. A folder appears under its name
only when it is complete and on disk; see `replace_folder`.
"""

import errno
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from saccade.config import Section
from saccade.errors import DamagedFile, UserError
from saccade.machine import named_shortage, require_memory
from saccade.model_folder.heads import ALIGNMENT, AlignmentHeads, check_heads, read_heads
from saccade.model_folder.manifest import (
    DESCRIPTION,
    FORMAT,
    check_banned,
    damaged,
    read_description,
    read_json,
    read_vocabulary,
)
from saccade.model_folder.tensors import read_all, read_header, restored_shapes
from saccade.models import model_config
from saccade.models.families import Network
from saccade.models.interface import Vocabulary
from saccade.models.outline import blank, outline, parameters_in
from saccade.models.recording import cross_attention
from saccade.models.renamed import current_name
from saccade.native.fork import survive_fork
from saccade.quantisation import Precision, quantised, restored
from saccade.storage.digests import verify, write_digests
from saccade.storage.folders import beside, read_whole, replace_folder
from saccade.storage.foreign import not_a_model, require_readable
from saccade.storage.structured import is_plain, reason
from saccade.text.preprocessor import Preprocessor
from saccade.text.tokenizer import Tokenizer, load_preprocessor, save_preprocessor

__all__ = [
    "FORMAT",
    "Model",
    "average_weights",
    "find_model",
    "load_model",
    "load_weights",
    "names_in",
    "read_description",
    "read_json",
    "read_tensors",
    "read_weights",
    "save_model",
    "unique_tensors",
    "vocabulary_of",
    "write_json",
    "write_model",
    "write_tensors",
]

WEIGHTS = "model.safetensors"

_LOOKS = 5
"""Number of times that the places of a model are looked through."""


@dataclass(frozen=True)
class Model:
    """The contents of a model folder, in memory."""

    network: Network
    config: Section
    tokenizer: Tokenizer
    """What makes columns of the input. Of a family whose input is numbers it is a `Preprocessor` and no more;
    the family's class of use knows its own."""
    decoding: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    precision: Precision = "float32"
    """The precision in which a folder stores the weights."""
    alignment: AlignmentHeads | None = None
    """The heads that align words, if they were chosen."""


def vocabulary_of(tokenizer: Preprocessor) -> Vocabulary:
    """The vocabulary of a model with this preprocessor."""
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
    description: dict[str, Any] = {
        "format": FORMAT,
        "model": model.config.model_dump(mode="json", exclude_none=True),
        "vocabulary": asdict(model.network.vocabulary),
        "tokenizer": save_preprocessor(model.tokenizer, folder),
        "decoding": model.decoding,
        "provenance": model.provenance,
    }
    tensors = dict(weights or unique_tensors(model.network))
    if model.precision == "int8":
        description["precision"], tensors = model.precision, quantised(model.network, tensors)
    write_json(folder / DESCRIPTION, description)
    write_tensors(folder / WEIGHTS, tensors)
    names = [DESCRIPTION, WEIGHTS, *description["tokenizer"]]
    if model.alignment is not None:
        write_json(folder / ALIGNMENT, model.alignment.as_dict())
        names.append(ALIGNMENT)
    write_digests(folder, names)


def save_model(folder: Path, model: Model, *, weights: Mapping[str, Tensor] | None = None) -> None:
    """Saves a model folder atomically, replacing an older one."""
    with replace_folder(folder) as new:
        write_model(new, model, weights=weights)


def load_model(folder: Path) -> Model:
    """Reads a model folder, or the best checkpoint of a run folder; the network is in evaluation mode.

    If another process replaces the folder meanwhile, the model is the old or the new one. Raises UserError
    for a folder that is missing, damaged, of a foreign format, or from a newer Saccade, and for a model that
    does not fit into the free memory.
    """
    survive_fork()
    return read_whole(partial(find_model, folder), _load)


def _load(folder: Path) -> Model:
    description, path = read_description(folder), folder / DESCRIPTION
    tokenizer = load_preprocessor(folder, digests=description["tokenizer"])
    try:
        config = model_config(description["model"])
        vocabulary = read_vocabulary(description["vocabulary"])
        check_banned(description["decoding"], vocabulary)
    except (UserError, ValueError) as error:
        raise damaged(path, str(error).rstrip(".")) from error
    if vocabulary != vocabulary_of(tokenizer):
        raise damaged(folder, "its tokeniser is not the one that the model was trained with")
    network = _network(config, vocabulary, folder)
    return Model(
        network,
        config,
        cast(Tokenizer, tokenizer),
        description["decoding"],
        description["provenance"],
        description["precision"],
        _alignment(network, folder),
    )


def _alignment(network: Network, folder: Path) -> AlignmentHeads | None:
    """The heads that align words, if the folder names them and the network has them."""
    try:
        found = read_heads(folder, advice="Delete it, or choose the heads again.")
        if found is not None:
            check_heads(found, [module.heads for module in cross_attention(network)])
    except ValueError as error:
        raise damaged(folder / ALIGNMENT, str(error)) from error
    return found


def _network(config: Section, vocabulary: Vocabulary, folder: Path) -> Network:
    """The network with the folder's weights, in evaluation mode; sizes are checked before memory is used."""
    current = names_in(folder)
    try:
        shapes = restored_shapes(read_header(folder / WEIGHTS))
    except (OSError, ValueError) as error:
        raise damaged(folder / WEIGHTS, reason(error)) from error
    try:
        expected = outline(config, vocabulary)
    except UserError as error:
        raise damaged(folder / DESCRIPTION, str(error).rstrip(".")) from error
    _compare_shapes(expected, {current(name): shape for name, shape in shapes.items()}, folder=folder)
    what = f"{folder}: the model of {parameters_in(expected):,} parameters"
    require_memory(4 * parameters_in(expected), what)
    with named_shortage(what):
        network = blank(config, vocabulary)
        load_weights(network, read_weights(folder), folder=folder)
    return network.eval()


def read_weights(folder: Path) -> dict[str, Tensor]:
    """A model folder's weights in float32 under today's names; UserError when they are missing or damaged.

    They are compared with their digest, if the folder has one.
    """
    current, path = names_in(folder), folder / WEIGHTS
    try:
        restored_shapes(read_header(path))
    except (OSError, ValueError) as error:
        raise damaged(path, reason(error)) from error
    if read_description(folder)["format"] == FORMAT:  # older formats have no digests
        verify(folder, [WEIGHTS])
    return {current(name): tensor for name, tensor in restored(read_tensors(path)).items()}


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
    require_readable(folder)
    best = folder / "checkpoints" / "best"
    # Between two looks a run may have put a new folder in its place and removed the old one.
    for candidate in (folder, beside(folder, "old"), best, beside(best, "old")) * _LOOKS:
        if is_plain(candidate / DESCRIPTION):
            return candidate
    raise not_a_model(folder)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], *, folder: Path) -> None:
    """Copies weights to a network; names and shapes must match. Tied matrices are stored once."""
    _compare_shapes(network, {name: tensor.shape for name, tensor in weights.items()}, folder=folder)
    for name, tensor in unique_tensors(network).items():
        with torch.no_grad():
            tensor.copy_(weights[name])


def _compare_shapes(network: nn.Module, shapes: Mapping[str, Sequence[int]], *, folder: Path) -> None:
    """Raises UserError unless the names and shapes are those of the network."""
    own, path = unique_tensors(network), folder / WEIGHTS
    missing, unknown = own.keys() - shapes.keys(), shapes.keys() - own.keys()
    if missing or unknown:
        what = f"lacks {min(missing)}" if missing else f"holds the unknown {min(unknown)}"
        raise damaged(path, f"it {what}; weights and model.json do not belong together")
    for name, tensor in own.items():
        if tuple(tensor.shape) != tuple(shapes[name]):
            raise damaged(path, f"{name} is {list(shapes[name])} instead of {list(tensor.shape)}")


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
    """Writes readable JSON; `replace_folder` flushes it to disk before the folder appears.

    Infinity and NaN, which JSON does not have, are written as text.
    """
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return str(content) if isinstance(content, float) and not math.isfinite(content) else content


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
        return read_all(path)
    except (OSError, ValueError) as error:
        raise damaged(path, reason(error)) from error
