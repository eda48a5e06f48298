"""Model folders that were damaged or made to do harm: one message, before memory or time is spent."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import saccade
import saccade.model_folder.checkpoint
from saccade.doctor import check_model
from saccade.errors import DamagedFile, UserError
from saccade.interop.exported import load_exported
from saccade.model_folder.checkpoint import average_weights, load_model, save_model
from saccade.model_folder.description import describe
from saccade.quantisation import quantise
from saccade.storage.digests import DIGESTS, verify, write_digests
from tests import kinds, tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", tiny.model(dtype=torch.float32))
    return tmp_path / "model"


@pytest.fixture
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building a network with weights, or reading the weights, fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("built before the sizes were compared")

    for name in ("blank", "read_all"):
        monkeypatch.setattr(saccade.model_folder.checkpoint, name, refuse)


def edit(folder: Path, change: Callable[[dict[str, Any]], object], name: str = "model.json") -> None:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def one_message(call: Callable[[], object], file: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert str(file) in text
    assert "\n" not in text
    assert len(text) < 600
    return text


MODEL: dict[str, dict[str, Any]] = {
    "far too wide": {"width": 65_536},
    "wider than any machine": {"width": 10**30},
    "far too deep": {"encoder_layers": 10**6},
    "deeper than any number": {"decoder_layers": 10**40},
    "not a number": {"dropout": "nan"},
    "negative": {"width": -8},
    "a fraction": {"heads": 2.5},
    "a truth value": {"encoder_layers": True},
    "too large an inner size": {"feed_forward": 1 << 24},
    "both at once": {"width": 1 << 24, "feed_forward": 1 << 24},
    "a long list": {"window": [1] * 100_000},
    "a nested list": {"window": [[[1]]]},
    "long text": {"activation": "x" * 1_000_000},
    "too many positions": {"positions": "learned", "max_positions": 10**9},
}


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize("kind", MODEL)
def test_sizes_that_are_not_those_of_the_weights_are_refused_before_anything_is_built(
    folder: Path, kind: str
) -> None:
    edit(folder, lambda content: content["model"].update(MODEL[kind]))
    one_message(lambda: load_model(folder), folder)


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize("name", ["width", "encoder_layers"])
def test_nan_and_repeated_keys_in_model_json_are_refused(folder: Path, name: str) -> None:
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace(f'"{name}": ', f'"{name}": NaN, "was": '))
    assert "NaN is not a number" in one_message(lambda: load_model(folder), folder / "model.json")
    (folder / "model.json").write_text(text.replace(f'"{name}": ', f'"{name}": 1, "{name}": '))
    assert f"'{name}' occurs twice" in one_message(lambda: load_model(folder), folder / "model.json")


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize("name", ["model.json", "tokenizer.json"])
def test_deep_json_is_one_message(folder: Path, name: str) -> None:
    (folder / name).write_text('{"a":' * 200_000 + "1" + "}" * 200_000)
    one_message(lambda: load_model(folder), folder / name)


VOCABULARY: list[dict[str, Any]] = [
    {"end": 10**9},
    {"end": -1},
    {"start": 10**9},
    {"pad": 10**18},
    {"pad": True},
    {"pad": 0.0},
    {"start": "2"},
    {"source_size": 10**12},
    {"target_size": -5},
    {"shared": 1},
    {"shared": None},
    {"source_size": None},
]


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize("change", VOCABULARY, ids=str)
def test_ids_that_are_not_in_the_vocabulary_are_refused_where_they_are_read(
    folder: Path, change: dict[str, Any]
) -> None:
    edit(folder, lambda content: content["vocabulary"].update(change))
    for read in (load_model, describe):
        assert "vocabulary" in one_message(lambda read=read: read(folder), folder / "model.json")  # type: ignore[misc]


@pytest.mark.parametrize("banned", [[10**9], [-1], ["a"], [True], 5, [[1]]])
def test_banned_ids_are_in_the_vocabulary(folder: Path, banned: object) -> None:
    edit(folder, lambda content: content["decoding"].update(banned=banned))
    assert "decoding.banned" in one_message(lambda: load_model(folder), folder / "model.json")


PROVENANCE: list[dict[str, Any]] = [
    {"step": "many", "target_tokens": 3},
    {"step": -1},
    {"validation": [1]},
    {"validation": {"bleu": [1]}},
    {"languages": {"source": 3}},
    {"data": [1]},
    {"versions": "none"},
    {"pairs": 1.5},
]


@pytest.mark.parametrize("change", PROVENANCE, ids=str)
def test_a_provenance_of_other_types_is_refused(folder: Path, change: dict[str, Any]) -> None:
    edit(folder, lambda content: content["provenance"].update(change))
    for read in (load_model, describe):
        assert "provenance." in one_message(lambda read=read: read(folder), folder / "model.json")  # type: ignore[misc]


def test_scores_that_are_not_finite_can_be_saved_and_loaded(tmp_path: Path) -> None:
    model = tiny.model(dtype=torch.float32)
    model.provenance["validation"] = {"loss": float("inf"), "bleu": float("nan"), "chrf": 1.5}
    save_model(tmp_path / "model", model)
    found = load_model(tmp_path / "model").provenance["validation"]
    assert found == {"loss": "inf", "bleu": "nan", "chrf": 1.5}


@pytest.mark.parametrize("name", ["../model.json", "/etc/passwd", "a/b", "", "."])
def test_digests_of_files_elsewhere_are_refused(folder: Path, name: str) -> None:
    edit(folder, lambda content: content["tokenizer"].update({name: "0" * 64}))
    one_message(lambda: load_model(folder), folder)


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize("shape", [(1,), (60_000,), (16, 1), ()])
def test_scales_of_another_shape_are_not_multiplied(folder: Path, shape: tuple[int, ...]) -> None:
    path, name = folder / "model.safetensors", "encoder.layers.0.feed_forward.inner.weight"
    tensors = load_file(path)
    tensors[name], _ = quantise(tensors[name])
    tensors[f"{name}.scale"] = torch.ones(shape)
    save_file(tensors, path)
    assert f"{name}.scale is {list(shape)}" in one_message(lambda: load_model(folder), path)
    one_message(lambda: average_weights([folder]), path)


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.int8, torch.uint8])
def test_weights_of_other_types_are_refused(folder: Path, dtype: torch.dtype) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["output.bias" if "output.bias" in tensors else min(tensors)] = torch.ones(1).to(dtype)
    save_file(tensors, path)
    assert "numbers of type" in one_message(lambda: load_model(folder), path)


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize("length", [1 << 63, 1 << 40, (1 << 24) + 1])
def test_a_header_that_promises_gigabytes_is_not_read(folder: Path, length: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with path.open("ab") as stream:
        stream.truncate(1 << 25)
    assert "a header of" in one_message(lambda: load_model(folder), path)


FILES = ["model.json", "model.safetensors", "tokenizer.json", "tokenizer.model", DIGESTS]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_not_a_plain_file_is_one_message_at_once(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    for read in (load_model, saccade.load, check_model):
        one_message(lambda read=read: read(folder), folder)  # type: ignore[misc]


@pytest.mark.parametrize("name", ["tokenizer.model", "model.json", "tokenizer.json", DIGESTS])
def test_files_have_a_largest_size(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as stream:
        stream.truncate(1 << 33)
    one_message(lambda: load_model(folder), folder)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", [-1, -1000, -4001])
def test_a_bit_that_flipped_in_the_weights_is_noticed_when_they_are_read(folder: Path, place: int) -> None:
    path = folder / "model.safetensors"
    load_model(folder)
    flip(path, place)
    for read in (lambda: load_model(folder), lambda: average_weights([folder])):
        assert "not what was written, according to SHA256SUMS" in one_message(read, path)


def test_the_doctor_notices_a_bit_that_flipped_in_any_file(folder: Path) -> None:
    assert verify(folder) == sorted(path.name for path in folder.iterdir() if path.name != DIGESTS)
    [finding] = check_model(folder).values()
    assert "4 files are as they were written" in finding
    for name in verify(folder):
        before = (folder / name).read_bytes()
        flip(folder / name, len(before) // 2)
        one_message(lambda: check_model(folder), folder)
        (folder / name).write_bytes(before)
    edit(folder, lambda content: content["decoding"].update(alpha=0.7))
    load_model(folder)
    assert "model.json: damaged: not what was written" in one_message(lambda: check_model(folder), folder)


def test_the_doctor_notices_weights_that_are_not_finite(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors[min(tensors)].view(-1)[0] = float("nan")
    save_file(tensors, path)
    write_digests(folder, ["model.json", "model.safetensors"])
    assert "not finite" in one_message(lambda: check_model(folder), path)


def test_a_folder_without_digests_still_loads(folder: Path) -> None:
    """As those of earlier versions."""
    (folder / DIGESTS).unlink()
    load_model(folder)
    [finding] = check_model(folder).values()
    assert "no digests to compare with" in finding


@pytest.mark.parametrize("content", [b"\xff", b"0123  model.json\n", b"a" * 64 + b"  ../model.json\n"])
def test_damaged_digests_are_damage(folder: Path, content: bytes) -> None:
    (folder / DIGESTS).write_bytes(content)
    one_message(lambda: load_model(folder), folder / DIGESTS)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_of_model_has_bounds(tmp_path: Path, kind: str) -> None:
    save_model(tmp_path / "model", kinds.model(kind, dtype=torch.float32))
    stored = json.loads((tmp_path / "model" / "model.json").read_text())["model"]
    numbers = [name for name, value in stored.items() if type(value) is int]
    assert numbers
    for name in numbers:
        edit(tmp_path / "model", lambda content, name=name: content["model"].update({name: 10**12}))  # type: ignore[misc]
        one_message(lambda: load_model(tmp_path / "model"), tmp_path)
        edit(tmp_path / "model", lambda content: content.update(model=stored))
    load_model(tmp_path / "model")


def test_export_json_is_checked_as_model_json_is(folder: Path) -> None:
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").unlink()
    exported = {"target": "onnx", "longest": 1024, **content, "decoding": {}}
    exported.pop("model")
    wrong: list[dict[str, Any]] = [
        {"longest": 10**18},
        {"longest": "x"},
        {"vocabulary": {**content["vocabulary"], "end": 10**9}},
        {"decoding": {"banned": [10**9]}},
        {"decoding": []},
        {"target": ["onnx"]},
    ]
    for change in wrong:
        (folder / "export.json").write_text(json.dumps({**exported, **change}))
        assert "damaged" in one_message(lambda: load_exported(folder, target="onnx"), folder / "export.json")
    (folder / "export.json").write_text(json.dumps(exported))
    assert load_exported(folder, target="onnx").longest == 1024


def test_a_model_larger_than_memory_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saccade.machine._free_in_process", lambda: [1000])
    with pytest.raises(UserError, match="parameters needs 0.0 GB of memory, and 0.0 GB are free"):
        load_model(folder)


def test_damage_is_an_error_of_its_own(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(DamagedFile):
        load_model(folder)
