"""What is given instead of a model folder is named as what it is, with what helps, by every command."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import saccade
from saccade.__main__ import app
from saccade.errors import UserError
from saccade.interop.importing import ARCHITECTURES, import_folder
from saccade.model_folder.checkpoint import load_model, save_model
from saccade.storage.foreign import IMPORTABLE
from tests import tiny

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 300000000\n"


def files(**contents: str) -> Callable[[Path], None]:
    """A folder of these files; "__" stands for "."."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for name, content in contents.items():
            (folder / name.replace("__", ".")).write_text(content)

    return make


def transformers(**settings: object) -> Callable[[Path], None]:
    return files(config__json=json.dumps(settings), model__safetensors="x", vocab__json="{}")


def native(folder: Path) -> None:
    files(decoder__yml="beam-size: 6", source__spm="", target__spm="")(folder)
    (folder / "opus.spm32k-spm32k.vocab.yml").write_text('"</s>": 0\n')
    np.savez(folder / "opus.model1.npz.best-perplexity.npz", a=np.zeros(3))


def pointer(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        save_model(folder, tiny.model(dtype=torch.float32))
        (folder / name).write_text(POINTER)

    return make


def run_part(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        run = path.parent / "run"
        save_model(run / "checkpoints" / "best", tiny.model(dtype=torch.float32))
        (run / "data").mkdir()
        (run / "config.toml").write_text("")
        path.symlink_to(run / name)

    return make


def without_description(folder: Path) -> None:
    save_model(folder, tiny.model(dtype=torch.float32))
    (folder / "model.json").unlink()


def nested(folder: Path) -> None:
    save_model(folder / "en-de", tiny.model(dtype=torch.float32))


def archive(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("model.json"))


def zipped(folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(folder / "model.zip", "w") as packed:
        packed.writestr("model.json", "{}")


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "native Marian": (native, "Marian's own format .* converted to the format of transformers"),
    "CTranslate2": (
        files(model__bin="x", config__json='{"decoder_start_token": "</s>"}', shared_vocabulary__json="[]"),
        "a model folder of CTranslate2, not of Saccade",
    ),
    "CTranslate2 with text": (
        files(model__bin="x", source_vocabulary__txt="a", target_vocabulary__txt="a"),
        "a model folder of CTranslate2",
    ),
    "T5": (
        transformers(model_type="t5", architectures=["T5ForConditionalGeneration"]),
        "t5.*T5ForConditionalGeneration|T5ForConditionalGeneration",
    ),
    "an adapter": (files(adapter_config__json="{}"), "an adapter"),
    "fairseq": (files(checkpoint_best__pt="x", dict__en__txt="x"), "a checkpoint of fairseq"),
    "OpenNMT": (files(model_step_1000__pt="x"), "a checkpoint of OpenNMT"),
    "PyTorch": (files(model__pt="x"), "a checkpoint of PyTorch"),
    "Sockeye": (files(params__best="x", version="3", config="x"), "a model of Sockeye"),
    "GGUF": (files(model__gguf="x"), "a GGUF model"),
    "ONNX": (files(encoder_model__onnx="x"), "ONNX graphs that Saccade did not export"),
    "ONNX of transformers": (
        files(config__json='{"model_type": "marian"}', encoder_model__onnx="x"),
        "ONNX graphs that Saccade did not export",
    ),
    "TensorFlow": (files(saved_model__pb="x"), "a checkpoint of TensorFlow"),
    "Tensor2Tensor": (files(model__ckpt__index="x", model__ckpt__meta="x"), "a checkpoint of TensorFlow"),
    "NeMo": (files(ende__nemo="x"), "a model of NeMo"),
    "Argos": (files(metadata__json="{}", model="x", sentencepiece__model="x"), "a package of Argos"),
    "a pointer for the description": (pointer("model.json"), "Git LFS.*git lfs pull"),
    "an archive": (archive, "an archive, not a .*Unpack it"),
    "a packed folder": (zipped, "a folder with an archive .*Unpack it"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x")), "an archive"),
    "a GGUF file": (lambda path: path.write_bytes(b"GGUF\0\0"), "a GGUF file of llama.cpp"),
    "a text": (lambda path: path.write_text("x"), "a file, not a"),
    "a pipe": (os.mkfifo, "a pipe or device, not a file"),
    "nothing": (lambda path: None, "no such"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "no such"),
    "an empty folder": (Path.mkdir, "model.json is missing|config.json: not found"),
    "checkpoints of a run": (run_part("checkpoints"), "a part of the run .*Give the run folder itself"),
    "data of a run": (run_part("data"), "a part of the run .*Give the run folder itself"),
    "a folder of models": (nested, "it holds en-de.*Give one of these"),
    "the hub's cache": (
        lambda path: [(path / name).mkdir(parents=True) for name in ("blobs", "snapshots/abc")],
        "in the hub's cache. Give .*snapshots/abc",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_it_is_named_by_loading_and_by_importing(tmp_path: Path, kind: str) -> None:
    make, expected = CASES[kind]
    make(tmp_path / "given")
    for read in (load_model, saccade.load, import_folder):
        with pytest.raises(UserError, match=expected) as caught:
            read(tmp_path / "given")
        assert str(caught.value).startswith(str(tmp_path / "given"))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.model", "tokenizer.json"])
def test_a_pointer_of_git_lfs_in_a_model_folder_is_named(tmp_path: Path, name: str) -> None:
    pointer(name)(tmp_path / "model")
    with pytest.raises(UserError, match=rf"{name}: a pointer of Git LFS.*git lfs pull"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("name", ["config.json", "pytorch_model.bin", "source.spm"])
def test_a_pointer_of_git_lfs_in_a_published_folder_is_named(tmp_path: Path, name: str) -> None:
    transformers(model_type="marian")(tmp_path / "published")
    (tmp_path / "published" / name).write_text(POINTER)
    for read in (load_model, import_folder):
        with pytest.raises(UserError, match=rf"{name}: a pointer of Git LFS.*git lfs pull"):
            read(tmp_path / "published")


def test_a_missing_description_is_called_missing(tmp_path: Path) -> None:
    without_description(tmp_path / "model")
    with pytest.raises(UserError, match=r"model\.json is missing") as caught:
        load_model(tmp_path / "model")
    assert "damaged" not in str(caught.value)


COMMANDS = [
    ["translate", "{}"],
    ["evaluate", "{}", "--source", "text", "--reference", "text"],
    ["score", "{}", "--source", "text", "--target", "text"],
    ["info", "{}"],
    ["export", "{}", "--to", "onnx", "--out", "out"],
    ["generate", "{}"],
    ["perplexity", "{}", "--text", "text"],
    ["doctor", "{}"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_says_how_a_folder_of_transformers_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("a\n")
    transformers(model_type="marian", architectures=["MarianMTModel"])(tmp_path / "hf")
    result = CliRunner().invoke(app, [part.format("hf") for part in command], input="a\n")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "hf: a folder of transformers (marian, MarianMTModel)" in result.stderr
    assert "saccade import hf --out MODEL" in result.stderr


def test_a_model_of_our_own_needs_no_import(tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny.model(dtype=torch.float32))
    with pytest.raises(UserError, match="already a model of Saccade"):
        import_folder(tmp_path / "model")


def test_the_types_that_can_be_imported_are_those_that_messages_name() -> None:
    assert tuple(ARCHITECTURES) == IMPORTABLE


def test_a_path_that_the_system_refuses_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / ("x" * 5000), Path("a\0b"), tmp_path / "loop"):
        with pytest.raises(UserError, match="cannot be read"):
            load_model(path)
