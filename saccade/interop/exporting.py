"""Exporting a model to another engine, and checking that both translate the same lines equally."""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from saccade.decoding.nonautoregressive.decoders import DECODERS
from saccade.errors import Unsupported
from saccade.interop.ctranslate2 import (
    about_ctranslate2,
    convert_and_open,
    open_ctranslate2,
    write_ctranslate2,
)
from saccade.interop.exported import Target, exported_folder, exported_target, is_exported, load_exported
from saccade.interop.onnx import OnnxTransformer, about_onnx, onnx_decoder, write_onnx
from saccade.interop.onnx_nonautoregressive import (
    OnnxBody,
    about_nonautoregressive,
    write_nonautoregressive_onnx,
)
from saccade.machine import possible_threads, usable_device
from saccade.model_folder.checkpoint import Model, load_model, save_model
from saccade.models import KINDS
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.models.transformer import Transformer
from saccade.quantisation import Precision
from saccade.storage.digests import verify
from saccade.text.lines import require_lines
from saccade.text.m2m import ManyLanguagesTokenizer
from saccade.text.tokenizer import Tokenizer
from saccade.use.translator import Translator, make_reranker

_LINES, _LONGEST, _BEAM = 32, 64, 4
_GREEDY = "greedy search"
_MARKED = re.compile(r"<.*>|>>.*<<|__.*__|\[.*\]|")

Ways = Callable[[Translator], dict[str, dict[str, Any]]]
"""A function that returns the decoding options to compare, by name, for our translator; those that must give
equal translations come first."""


@dataclass(frozen=True)
class Checked:
    """The number of equal translations among `lines`, by the name of the decoding options."""

    lines: int
    same: dict[str, int]


@dataclass(frozen=True)
class Exporter:
    """The functions that export a kind of network to a target.

    about: returns the entries of export.json; raises UserError for a model that the target cannot express.
    write: writes the engine's files to an existing folder. ways: returns the options to compare.
    """

    about: Callable[[Model], dict[str, Any]]
    write: Callable[[Model, Path], None]
    ways: Ways


def search_ways(ours: Translator) -> dict[str, dict[str, Any]]:
    """Options for greedy search and the model's own beam search."""
    own = {"beam": max(ours.options().beam, _BEAM)}
    return _named_ways([own])


def ctranslate2_ways(ours: Translator) -> dict[str, dict[str, Any]]:
    """Options for greedy search, the model's own beam search, and CTranslate2's if its rules differ."""
    own: dict[str, Any] = {"beam": max(ours.options().beam, _BEAM)}
    engines = {**own, "length_penalty": "power", "alpha": 1.0, "early_stopping": True}
    options = ours.options(**own)
    if options.length_penalty != "power" and options.alpha:
        return _named_ways([engines])
    return _named_ways([own] if options.early_stopping else [own, engines])


def one_candidate(_: Translator) -> dict[str, dict[str, Any]]:
    """Options of a non-autoregressive model for a single candidate."""
    return {"one candidate": {"candidates": 1}}


def _named_ways(beams: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    length = {"max_length": _LONGEST}
    found = {_GREEDY: {"beam": 1, **length}}
    for options in beams:
        name = ", ".join(f"{name} {value}" for name, value in options.items()).replace("_", " ")
        found[name] = {**options, **length}
    return found


EXPORTERS: dict[tuple[Target, type[nn.Module]], Exporter] = {
    ("ctranslate2", Transformer): Exporter(about_ctranslate2, write_ctranslate2, ctranslate2_ways),
    ("onnx", Transformer): Exporter(about_onnx, write_onnx, search_ways),
    ("onnx", NonAutoregressiveTransformer): Exporter(
        about_nonautoregressive, write_nonautoregressive_onnx, one_candidate
    ),
}
"""The exporter of each target and network."""

STORED: dict[type[nn.Module], Ways] = {
    Transformer: search_ways,
    NonAutoregressiveTransformer: one_candidate,
}
"""The options to compare for each network whose weights can be stored in another precision."""


def export_model(
    model: Model,
    out: Path,
    *,
    target: Target,
    precision: Precision = "float32",
    lines: Sequence[str] | None = None,
) -> Checked:
    """Exports a model to the folder `out` and compares translations of `lines` (unset: random pieces).

    Raises UserError for a model that the target cannot express, or if float32 translations with the first
    options differ; `out` is not written then. Differences due to int8 are counted only.
    """
    if target == "onnx" and precision != "float32":
        raise Unsupported(
            f"precision {precision}: ONNX graphs are written in float32 only. Quantise them with "
            "onnxruntime, export to ctranslate2, or leave the precision out."
        )
    exporter = EXPORTERS.get((target, type(model.network)))
    if exporter is None:
        known = _kinds(network for name, network in EXPORTERS if name == target)
        kind = _kinds([type(model.network)])
        raise Unsupported(f"model.kind = {kind}: export to {target} supports only {known}.")
    about = exporter.about(model)
    with exported_folder(out, model, target=target, about=about) as new:
        ours, lines = _speaking(Translator.of(model)), _checked_lines(model, lines)
        ways = exporter.ways(ours)
        exporter.write(model, new)
        checked = _check(ours, _speaking(open_exported(new)), lines, ways)
        if precision != "float32":
            write_ctranslate2(model, new, precision=precision)
            checked = _counted(ours, _speaking(open_exported(new)), lines, ways)
        return checked


def store_model(
    model: Model, out: Path, *, precision: Precision = "float32", lines: Sequence[str] | None = None
) -> Checked:
    """Writes a Saccade model folder with weights stored in `precision`, and compares translations.

    Raises UserError for models that always compute in float32.
    """
    ways = STORED.get(type(model.network))
    if ways is None:
        kind = _kinds([type(model.network)])
        raise Unsupported(
            f"model.kind = {kind}: only {_kinds(STORED)} models can be stored in another precision. Copy the "
            "model folder instead."
        )
    ours, lines = _speaking(Translator.of(model)), _checked_lines(model, lines)
    save_model(out, replace(model, precision=precision))
    return _counted(ours, _speaking(Translator.load(out, device="cpu")), lines, ways(ours))


def open_exported(
    folder: Path,
    *,
    target: Target | None = None,
    device: str | None = None,
    threads: int | None = None,
    reranker: Path | None = None,
) -> Translator:
    """Opens a translator over an exported folder, or over a model or run folder converted for `target`.

    reranker: a Saccade model folder, see `Translator.of`.
    """
    made = _opened(folder, target=target, device=device, threads=threads, reranker=reranker)
    judge = None if reranker is None else reranker.absolute()
    made.reopen = partial(
        open_exported, folder.absolute(), target=target, device=device, threads=threads, reranker=judge
    )
    return made


def _opened(
    folder: Path, *, target: Target | None, device: str | None, threads: int | None, reranker: Path | None
) -> Translator:
    if reranker is not None and (target == "ctranslate2" or exported_target(folder) == "ctranslate2"):
        raise Unsupported("a reranker is for non-autoregressive models; CTranslate2 does not support them.")
    threads = None if threads is None else possible_threads(threads)
    if device is not None:
        usable_device(device)
    if not is_exported(folder) and target == "ctranslate2":
        return convert_and_open(load_model(folder), device=device, threads=threads)
    found = exported_target(folder)
    if target is not None and found != target:
        raise Unsupported(f"{folder}: exported for {found}, not for {target}.")
    if found == "ctranslate2":
        opened = open_ctranslate2(folder, device=device, threads=threads)
    else:
        other = None if reranker is None else load_model(reranker)
        opened = open_onnx(folder, threads=threads, reranker=other)
    verify(folder)
    return opened


def open_onnx(folder: Path, *, threads: int | None = None, reranker: Model | None = None) -> Translator:
    """Opens a translator over graphs that onnxruntime runs on the CPU. reranker: see `Translator.of`."""
    exported = load_exported(folder, target="onnx")
    settings, tokenizer = exported.decoding, exported.tokenizer
    other = None if reranker is None else make_reranker(reranker, tokenizer, "cpu")
    if exported.config is None:
        if other is not None:
            raise Unsupported("a reranker is for non-autoregressive models; this one is not.")
        graphs = OnnxTransformer(exported, folder, threads=threads)
        return Translator(onnx_decoder(graphs), tokenizer, settings=settings, seen=exported.seen)
    body = OnnxBody(exported, folder, threads=threads)
    decoder = DECODERS[body.config.decoder](lambda: body, exported.vocabulary, reranker=other)
    return Translator(decoder, tokenizer, settings=settings, seen=exported.seen)


def _checked_lines(model: Model, lines: Sequence[str] | None) -> list[str]:
    given = [] if lines is None else require_lines(lines, "lines")
    return given or sample_lines(model.tokenizer)


def sample_lines(tokenizer: Tokenizer, *, count: int = _LINES, seed: int = 1) -> list[str]:
    """Random lines of 1 to 20 pieces of the tokeniser."""
    generator = random.Random(seed)
    pieces = tokenizer.source_pieces(range(tokenizer.source_vocab_size))
    usable = [piece for piece in pieces if not _MARKED.fullmatch(piece)] or ["a"]
    drawn = ("".join(generator.choices(usable, k=1 + number % 20)) for number in range(count))
    return [line.replace("\u2581", " ").strip() or "a" for line in drawn]


def _check(
    ours: Translator, theirs: Translator, lines: list[str], ways: dict[str, dict[str, Any]]
) -> Checked:
    checked = _counted(ours, theirs, lines, ways)
    name, options = next(iter(ways.items()))
    if checked.same[name] < checked.lines:
        different = _different(ours, theirs, lines, **options)
        raise Unsupported(
            f"the exported model translates {len(different)} of {len(lines)} lines differently, the first: "
            f"{lines[different[0]]!r}. The model was not written."
        )
    return checked


def _counted(
    ours: Translator, theirs: Translator, lines: list[str], ways: dict[str, dict[str, Any]]
) -> Checked:
    same = {
        name: len(lines) - len(_different(ours, theirs, lines, **options)) for name, options in ways.items()
    }
    return Checked(len(lines), same)


def _kinds(networks: Iterable[type[nn.Module]]) -> str:
    """The kinds of these networks, as a configuration names them."""
    classes = set(networks)
    return " and ".join(name for name, kind in KINDS.items() if kind.network in classes)


def _different(ours: Translator, theirs: Translator, lines: list[str], **options: Any) -> list[int]:
    first, second = (one.translate(lines, **options) for one in (ours, theirs))
    pairs = enumerate(zip(first, second, strict=True))
    return [number for number, (one, other) in pairs if one.text != other.text]


def _speaking(translator: Translator) -> Translator:
    """The translator with a pair of languages, if the model needs one and has no default."""
    tokenizer = translator.tokenizer
    if not isinstance(tokenizer, ManyLanguagesTokenizer):
        return translator
    config = tokenizer.config
    first, last = min(config.languages), max(config.languages)
    return translator.between(config.source_language or first, config.target_language or last)
