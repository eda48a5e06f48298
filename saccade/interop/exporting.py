"""A model out to another engine, checked before it gets its name: the same lines in, the same lines out."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from saccade.checkpoint import Model, load_model, save_model
from saccade.errors import UserError
from saccade.interop.ctranslate2 import CTranslate2Translator, open_ctranslate2, write_ctranslate2
from saccade.interop.exported import Target, exported_folder, exported_target, is_exported
from saccade.interop.onnx import open_onnx, write_onnx
from saccade.models.interface import Parallel
from saccade.models.nonautoregressive import NonAutoregressive
from saccade.models.transformer import Transformer
from saccade.quantisation import Precision
from saccade.text.m2m import ManyLanguagesTokenizer
from saccade.text.tokenizer import Tokenizer
from saccade.translator import Translator

_WRITERS = {"ctranslate2": write_ctranslate2, "onnx": write_onnx}
_LINES, _LONGEST, _BEAM = 32, 64, 4
_GREEDY = "greedy search"
_MARKED = re.compile(r"<.*>|>>.*<<|__.*__|\[.*\]|")


@dataclass(frozen=True)
class Checked:
    """Of `lines` translations, how many are the same with each of the settings named."""

    lines: int
    same: dict[str, int]


def export_model(
    model: Model,
    out: Path,
    *,
    target: Target,
    precision: Precision = "float32",
    lines: Sequence[str] | None = None,
) -> Checked:
    """Write `out` for another engine, and compare translations of `lines` (made of its pieces if not given).

    Raises UserError for a model that the target can't express, and when translations by greedy search
    differ in float32; nothing is left behind then. What int8 changes is counted, not judged.
    """
    if target == "onnx" and precision != "float32":
        raise UserError(
            f"precision {precision}: ONNX graphs are written in float32 alone, and quantised with "
            "onnxruntime's own tools. Export to ctranslate2, or leave it out."
        )
    with exported_folder(out, model, target=target) as new:
        ours, lines = _speaking(Translator(model)), list(lines or sample_lines(model.tokenizer))
        _WRITERS[target](model, new)
        checked = _check(ours, _speaking(open_exported(new)), lines)
        if precision != "float32":
            write_ctranslate2(model, new, precision=precision)
            checked = _counted(ours, _speaking(open_exported(new)), lines)
        return checked


def store_model(
    model: Model, out: Path, *, precision: Precision = "float32", lines: Sequence[str] | None = None
) -> Checked:
    """Write a model folder of our own, its weights stored as `precision` says, and compare translations.

    Raises UserError for models that compute in float32 whatever is stored.
    """
    if not isinstance(model.network, Transformer | NonAutoregressive):
        kind = getattr(model.config, "kind", type(model.config).__name__)
        raise UserError(
            f"model.kind = {kind}: only transformer and nonautoregressive are stored anew; copy the model "
            "folder instead."
        )
    ours, lines = _speaking(Translator(model)), list(lines or sample_lines(model.tokenizer))
    save_model(out, replace(model, precision=precision))
    return _counted(ours, _speaking(Translator.load(out, device="cpu")), lines)


def open_exported(
    folder: Path,
    *,
    target: Target | None = None,
    device: str | None = None,
    threads: int | None = None,
    teacher: Path | None = None,
) -> Translator:
    """A translator over an exported folder; or over a model or run folder, converted for `target`.

    teacher: a model folder of our own, see `Translator`.
    """
    if teacher is not None and (target == "ctranslate2" or exported_target(folder) == "ctranslate2"):
        raise UserError("a teacher judges non-autoregressive models; CTranslate2 has none.")
    if not is_exported(folder) and target == "ctranslate2":
        return open_ctranslate2(load_model(folder), device=device, threads=threads)
    found = exported_target(folder)
    if target is not None and found != target:
        raise UserError(f"{folder}: exported for {found}, not for {target}.")
    if found == "ctranslate2":
        return open_ctranslate2(folder, device=device, threads=threads)
    return open_onnx(folder, threads=threads, teacher=None if teacher is None else load_model(teacher))


def sample_lines(tokenizer: Tokenizer, *, count: int = _LINES, seed: int = 1) -> list[str]:
    """Lines of 1 to 20 pieces of the model's own, drawn at random."""
    generator = random.Random(seed)
    pieces = tokenizer.source_pieces(range(tokenizer.source_vocab_size))
    usable = [piece for piece in pieces if not _MARKED.fullmatch(piece)] or ["a"]
    drawn = ("".join(generator.choices(usable, k=1 + number % 20)) for number in range(count))
    return [line.replace("\u2581", " ").strip() or "a" for line in drawn]


def _check(ours: Translator, theirs: Translator, lines: list[str]) -> Checked:
    checked = _counted(ours, theirs, lines)
    name, options = next(iter(_ways(ours, theirs).items()))
    if checked.same[name] < checked.lines:
        different = _different(ours, theirs, lines, **options)
        raise UserError(
            f"the exported model translates {len(different)} of {len(lines)} lines otherwise, the first: "
            f"{lines[different[0]]!r}. It was not written."
        )
    return checked


def _counted(ours: Translator, theirs: Translator, lines: list[str]) -> Checked:
    same = {
        name: len(lines) - len(_different(ours, theirs, lines, **options))
        for name, options in _ways(ours, theirs).items()
    }
    return Checked(len(lines), same)


def _ways(ours: Translator, theirs: Translator) -> dict[str, dict[str, Any]]:
    """The settings that are compared, by what they are called; those that must give the same come first."""
    if isinstance(ours.network, Parallel):
        return {"one candidate": {"candidates": 1}}
    length = {"max_length": _LONGEST}
    found = {_GREEDY: {"beam": 1, **length}}
    for options in _beams(ours, theirs):
        name = ", ".join(f"{name} {value}" for name, value in options.items()).replace("_", " ")
        found[name] = {**options, **length}
    return found


def _beams(ours: Translator, theirs: Translator) -> list[dict[str, Any]]:
    """The model's own beam search, and the engine's as far as its rules differ."""
    own: dict[str, Any] = {"beam": max(ours.options().beam, _BEAM)}
    if not isinstance(theirs, CTranslate2Translator):
        return [own]
    engines = {**own, "length_penalty": "power", "alpha": 1.0, "early_stopping": True}
    options = ours.options(**own)
    if options.length_penalty != "power" and options.alpha:
        return [engines]
    return [own] if options.early_stopping else [own, engines]


def _different(ours: Translator, theirs: Translator, lines: list[str], **options: Any) -> list[int]:
    first, second = (one.translate(lines, **options) for one in (ours, theirs))
    pairs = enumerate(zip(first, second, strict=True))
    return [number for number, (one, other) in pairs if one.text != other.text]


def _speaking(translator: Translator) -> Translator:
    """With some languages, where the model needs them and has none of its own."""
    tokenizer = translator.model.tokenizer
    if not isinstance(tokenizer, ManyLanguagesTokenizer):
        return translator
    config = tokenizer.config
    first, last = min(config.languages), max(config.languages)
    return translator.between(config.source_language or first, config.target_language or last)
