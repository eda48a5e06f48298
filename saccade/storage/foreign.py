"""Naming what was given instead of a model folder: files and folders of other programs or of other kinds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from saccade.errors import DamagedFile, NotFound, Unsupported, UserError
from saccade.storage.structured import SMALL, is_plain, read_json, require_plain

IMPORTABLE = ("marian", "m2m_100")
"""The types of transformers' models that can be imported, as `model_type` of config.json names them."""

_MOST_NAMES = 10_000
_POINTER_SIZE = 1024  # bytes, at most


class Given(NamedTuple):
    """What was given, and what helps; topic: see `UserError`."""

    what: str
    advice: str
    topic: str | None = None


def not_a_model(path: Path) -> UserError:
    """The error for a path that holds no model of Saccade."""
    if problem := _absent(path):
        return problem
    if not path.is_dir():
        found = _file(path)
        return NotFound(f"{path}: {found.what}, not a model folder. {found.advice}")
    names = _names(path)
    if problem := _pointers(path, names):
        return problem
    if known := _ours(path, names) or named(path):
        return NotFound(f"{path}: {known.what}. {known.advice}", topic=known.topic, folder=path)
    content = f"holds {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" if names else "it is empty"
    return NotFound(
        f"{path}: not a Saccade model folder: model.json is missing ({content}). Give a run folder or one "
        "that holds model.json."
    )


def require_published(path: Path) -> None:
    """Raises UserError, which names what was given, unless it is a folder that may be imported."""
    if problem := _absent(path):
        raise problem
    if not path.is_dir():
        found = _file(path)
        raise NotFound(f"{path}: {found.what}, not a folder. {found.advice}")
    names = _names(path)
    if problem := _pointers(path, names):
        raise problem
    if "config.json" in names and not (_converted(path, names) or _only_graphs(names)):
        return  # the type of the model is checked where it is imported
    if "model.json" in names or (path / "checkpoints" / "best" / "model.json").is_file():
        raise Unsupported(f"{path}: already a model of Saccade, which needs no import.")
    if known := _ours(path, names) or named(path):
        raise Unsupported(f"{path}: {known.what}. {known.advice}", topic=known.topic, folder=path)


def named(folder: Path) -> Given | None:
    """What another program's folder is, or None if it is not known."""
    names = _names(folder)
    if _only_graphs(names):
        return _graphs(folder, names)
    for recognise in (_converted, _transformers, _marian, _graphs, _checkpoints, _cache, _packed):
        if found := recognise(folder, names):
            return found
    return None


def require_readable(path: Path) -> bool:
    """Whether a path exists; raises UserError if the system refuses to look at it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NotFound(f"{str(path)[:200]!r}: cannot be read: {reason}.") from error
    return True


def _absent(path: Path) -> UserError | None:
    if require_readable(path):
        return None
    return NotFound(f"{path}: no such model folder. Give a run folder or one that holds model.json.")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path, _ in zip(folder.iterdir(), range(_MOST_NAMES), strict=False))
    except OSError:
        return []


def _with(names: Sequence[str], *endings: str) -> list[str]:
    return [name for name in names if name.endswith(endings)]


def _pointers(folder: Path, names: Sequence[str]) -> UserError | None:
    """The error for the first pointer of Git LFS, which is a small file in the place of a large one."""
    for name in names:
        path = folder / name
        try:
            if is_plain(path) and path.stat().st_size <= _POINTER_SIZE:
                require_plain(path)
        except DamagedFile as error:
            return error
        except OSError:
            continue
    return None


_FOREIGN = "It cannot be read here; models that were published for transformers can be imported."
_ARCHIVE = Given("an archive", "Unpack it and give the folder that it holds.")
_PART = Given("a single file of a model", "Give the folder that it is in.")
_BY_NAME = (
    ((".npz", ".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".onnx", ".spm", ".model", ".json"), _PART),
    ((".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z"), _ARCHIVE),
)
_BY_CONTENT = (
    (0, b"GGUF", Given("a GGUF file of llama.cpp", _FOREIGN)),
    *(
        (0, magic, _ARCHIVE)
        for magic in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")
    ),
    (257, b"ustar", _ARCHIVE),
)


def _file(path: Path) -> Given:
    """What a file is, by its name and its first bytes."""
    name, start = path.name, b""
    try:
        require_plain(path)
        with path.open("rb") as stream:
            start = stream.read(512)
    except DamagedFile:
        return Given(
            "a pointer of Git LFS",
            "Run `git lfs install` and `git lfs pull` in its repository, then give the folder.",
        )
    except OSError as error:
        return Given(f"{error.strerror}", "Give the folder that holds model.json.")
    for place, magic, found in _BY_CONTENT:
        if start[place:].startswith(magic):
            return found
    whole = Given("a file", "Give the folder that holds model.json.")
    return next((found for endings, found in _BY_NAME if name.endswith(endings)), whole)


def _ours(folder: Path, names: Sequence[str]) -> Given | None:
    """Parts of our own folders, and folders that hold several."""
    place = folder.resolve()
    if is_plain(place.parent / "config.toml") and place.name in ("checkpoints", "data"):
        return Given(f"a part of the run {place.parent}", "Give the run folder itself.")
    for present, found in _OUR_FILES:
        if present <= set(names):
            return found
    inside = [name for name in names if _holds_model(folder / name)]
    if not inside:
        return None
    what = f"not a model folder: model.json is missing, but it holds {', '.join(inside[:5])}"
    return Given(what, f"Give one of these, such as {folder / inside[0]}.")


_OUR_FILES = (
    ({"model.json"}, Given("model.json is not a plain file", "Copy the model folder again.")),
    (
        {"export.json"},
        Given("an exported model, which only translates", "Give the folder that it was exported from."),
    ),
    (
        {"config.toml"},
        Given("this run has no checkpoint yet", "Wait for its first validation, or resume it."),
    ),
    (
        {"model.safetensors", "tokenizer.json", "SHA256SUMS"},
        Given("model.json is missing", "Copy the whole model folder again."),
    ),
    (
        {"cache.json"},
        Given("a token cache, not a model", "Give a run folder, or a model folder."),
    ),
    ({"report.json"}, Given("prepared text, not a model", "Give a run folder, or a model folder.")),
)


def _holds_model(folder: Path) -> bool:
    return is_plain(folder / "model.json") or is_plain(folder / "checkpoints" / "best" / "model.json")


def _config(folder: Path) -> dict[str, Any]:
    try:
        content = read_json(folder / "config.json", limit=SMALL)
    except (OSError, ValueError, UserError):
        return {}
    return content if isinstance(content, dict) else {}


def _converted(folder: Path, names: Sequence[str]) -> Given | None:
    vocabularies = [name for name in names if name.partition(".")[0].endswith("_vocabulary")]
    if "model.bin" in names and (vocabularies or "model_type" not in _config(folder)):
        return Given(
            "a model folder of CTranslate2, not of Saccade",
            "Use it with CTranslate2, or import the model that it was converted from.",
        )
    return None


def _transformers(folder: Path, names: Sequence[str]) -> Given | None:
    if "adapter_config.json" in names:
        return Given(
            "an adapter (PEFT, LoRA) for a model of transformers",
            "Merge it into its model and save that with transformers.",
        )
    if "config.json" not in names:
        return None
    config = _config(folder)
    kind, classes = config.get("model_type"), config.get("architectures")
    name = ", ".join(map(str, classes)) if isinstance(classes, list) else ""
    shown = f"{str(kind)[:40]}{f', {name[:80]}' if name else ''}"
    if isinstance(kind, str) and kind in IMPORTABLE:
        what = f"a folder of transformers ({shown}), not a Saccade model folder: model.json is missing"
        return Given(what, "It has to be imported first.", topic="import")
    return Given(
        f"a folder of transformers ({shown}), which cannot be imported",
        f"Types of models that can be imported: {', '.join(IMPORTABLE)}.",
    )


def _marian(_: Path, names: Sequence[str]) -> Given | None:
    native = [
        name for name in names if ".npz" in name or name.endswith((".intgemm.alphas.bin", ".vocab.yml"))
    ]
    if not native and not ("decoder.yml" in names and _with(names, ".spm", ".yml")):
        return None
    return Given(
        f"a model in Marian's own format ({(native or ['decoder.yml'])[0]})",
        "It has to be converted to the format of transformers first.",
        topic="native-marian",
    )


def _only_graphs(names: Sequence[str]) -> bool:
    """Whether there are ONNX graphs and no weights, as transformers' exporter leaves them."""
    return bool(_with(names, ".onnx")) and not _with(names, ".safetensors", ".bin")


def _graphs(_: Path, names: Sequence[str]) -> Given | None:
    if found := _with(names, ".onnx"):
        return Given(f"ONNX graphs that Saccade did not export ({found[0]})", _FOREIGN)
    if found := _with(names, ".gguf"):
        return Given(f"a GGUF model of llama.cpp ({found[0]})", _FOREIGN)
    if {"saved_model.pb", "checkpoint"} & set(names) or _with(names, ".index"):
        return Given("a checkpoint of TensorFlow", _FOREIGN)
    if found := _with(names, ".nemo"):
        return Given(f"a model of NeMo ({found[0]})", _FOREIGN)
    if {"metadata.json", "model", "sentencepiece.model"} <= set(names):
        return Given("a package of Argos Translate", _FOREIGN)
    return None


def _checkpoints(_: Path, names: Sequence[str]) -> Given | None:
    if any(name.startswith(("params.best", "params.0")) for name in names) or {"symbol.json"} & set(names):
        return Given("a model of Sockeye", _FOREIGN)
    found = _with(names, ".pt", ".ckpt", ".pth")
    if not found:
        return None
    program = "OpenNMT-py or JoeyNMT" if any("step" in name for name in found) else "PyTorch"
    if any(name.startswith("dict.") for name in names) or any(
        name.startswith("checkpoint") for name in found
    ):
        program = "fairseq"
    return Given(f"a checkpoint of {program} ({found[0]})", _FOREIGN)


def _cache(folder: Path, names: Sequence[str]) -> Given | None:
    if not {"snapshots", "blobs"} <= set(names):
        return None
    inside = _names(folder / "snapshots")
    where = folder / "snapshots" / (inside[0] if inside else "...")
    return Given("a model in the hub's cache", f"Give {where}.")


def _packed(_: Path, names: Sequence[str]) -> Given | None:
    if found := _with(names, ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".7z", ".tar.zst"):
        return Given(f"a folder with an archive ({found[0]})", "Unpack it and give the folder that it holds.")
    return None
