"""The model folder: what is written comes back bit for bit, faults are one clear message, and a crash or a
full disk at any moment leaves the old folder or the new one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from saccade.errors import UserError
from saccade.model_folder import checkpoint
from saccade.model_folder.checkpoint import (
    FORMAT,
    Model,
    average_weights,
    find_model,
    load_model,
    save_model,
    unique_tensors,
    vocabulary_of,
)
from saccade.storage import folders
from saccade.storage.folders import replace_folder, settle_folder
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig
from saccade.use.translator import Translator
from tests import kinds, tiny


@pytest.fixture
def model() -> Model:
    made = tiny.model(dtype=torch.float32)
    return replace(made, decoding={"beam": 3, "alpha": 0.8}, provenance={"seed": 7, "text": "Straße"})


@pytest.fixture
def folder(tmp_path: Path, model: Model) -> Path:
    save_model(tmp_path / "model", model)
    return tmp_path / "model"


def weights(model: Model) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in model.network.state_dict().items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def message(folder: Path) -> str:
    """The one message that loading gives."""
    with pytest.raises(UserError) as caught:
        load_model(folder)
    return str(caught.value)


# --- what is written comes back ------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "pre", "activation": "gelu"},
        {"positions": "learned", "max_positions": 20},
        {"tied_embeddings": "none"},
        {"tied_embeddings": "target"},
        {"sinusoid_layout": "halves", "dropout": 0.2},
    ],
)
def test_a_model_comes_back_bit_for_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = tiny.model(dtype=torch.float32, **changes)
    save_model(tmp_path / "m", model)
    loaded = load_model(tmp_path / "m")
    assert_equal(weights(loaded), weights(model))
    assert loaded.config == model.config
    assert loaded.network.vocabulary == model.network.vocabulary
    assert not loaded.network.training
    source = tiny.padded([[5, 9, 3], [8, 3]])
    target = torch.tensor([[2, 7], [2, 11]])
    first, second = (m.network.decode(target, m.network.encode(*source)) for m in (model, loaded))
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_of_model_comes_back_and_translates_alike(tmp_path: Path, kind: str) -> None:
    model = kinds.model(kind, dtype=torch.float32)
    save_model(tmp_path / "m", model)
    loaded = load_model(tmp_path / "m")
    assert loaded.config == model.config
    assert_equal(weights(loaded), weights(model))
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == sum(
        parameter.numel() for parameter in model.network.parameters()
    )
    first, second = (
        Translator.of(m).translate(tiny.LINES[:5], beam=2, max_length=9) for m in (model, loaded)
    )
    assert first == second
    average = average_weights([tmp_path / "m"] * 3)
    assert_equal(average, stored)


def test_two_vocabularies_come_back(tmp_path: Path) -> None:
    model = tiny.model(tiny.sentence_pieces(joint=False), dtype=torch.float32)
    save_model(tmp_path / "m", model)
    loaded = load_model(tmp_path / "m")
    assert_equal(weights(loaded), weights(model))
    assert not loaded.network.vocabulary.shared


def test_decoding_settings_provenance_and_tokeniser_come_back(folder: Path, model: Model) -> None:
    loaded = load_model(folder)
    assert loaded.decoding == model.decoding
    assert loaded.provenance == model.provenance
    lines = ["the dog eats seven books", "Übung"]
    assert loaded.tokenizer.encode_source(lines) == model.tokenizer.encode_source(lines)


@pytest.mark.parametrize(("tied", "matrices"), [("all", 1), ("target", 2), ("none", 3)])
def test_tied_weights_are_stored_once(tmp_path: Path, tied: str, matrices: int) -> None:
    model = tiny.model(dtype=torch.float32, tied_embeddings=tied)
    save_model(tmp_path / "m", model)
    stored = load_file(tmp_path / "m" / "model.safetensors")
    words = model.network.vocabulary.source_size
    assert sum(tensor.shape == (words, 12) for tensor in stored.values()) == matrices
    assert sum(tensor.numel() for tensor in stored.values()) == sum(
        parameter.numel() for parameter in model.network.parameters()
    )
    network: Any = load_model(tmp_path / "m").network
    assert (network.output.weight is network.target_embedding.tokens.weight) == (tied != "none")


def test_other_weights_can_be_stored_in_place_of_the_networks_own(tmp_path: Path, model: Model) -> None:
    doubled = {name: 2 * tensor for name, tensor in unique_tensors(model.network).items()}
    save_model(tmp_path / "m", model, weights=doubled)
    assert_equal(unique_tensors(load_model(tmp_path / "m").network), doubled)


def test_saving_twice_writes_the_same_bytes(tmp_path: Path, model: Model) -> None:
    for name in ("a", "b"):
        save_model(tmp_path / name, model)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {"model.json", "model.safetensors", "tokenizer.json"} <= set(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_model_needs_nothing_but_its_folder(folder: Path, tmp_path: Path, model: Model) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    folder.rename(moved)
    assert_equal(weights(load_model(moved)), weights(model))


def test_a_relative_path_and_the_current_folder_serve_too(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert_equal(weights(load_model(Path())), weights(model))
    assert_equal(weights(load_model(Path("..") / "model")), weights(model))
    monkeypatch.chdir(folder.parent)
    assert_equal(weights(load_model(Path("model"))), weights(model))


# --- averaging -----------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 7])
def test_the_average_of_copies_is_the_checkpoint_itself(folder: Path, model: Model, copies: int) -> None:
    assert_equal(average_weights([folder] * copies), unique_tensors(model.network))


def test_an_average_is_the_mean_of_each_weight(tmp_path: Path) -> None:
    models = [tiny.model(dtype=torch.float32, seed=seed) for seed in range(3)]
    for number, model in enumerate(models):
        save_model(tmp_path / str(number), model)
    average = average_weights([tmp_path / str(number) for number in range(3)])
    parts = [unique_tensors(model.network) for model in models]
    for name, tensor in average.items():
        mean = sum(part[name].double() for part in parts) / 3
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, torch.as_tensor(mean).float())


def test_checkpoints_of_different_models_are_not_averaged(tmp_path: Path, folder: Path) -> None:
    for name, changes in (("wide", {"width": 24}), ("deep", {"encoder_layers": 3})):
        save_model(tmp_path / name, tiny.model(dtype=torch.float32, **changes))
        with pytest.raises(UserError, match="cannot be averaged"):
            average_weights([folder, tmp_path / name])


# --- damage --------------------------------------------------------------------------------------


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def truncate(path: Path, *, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def other_tokenizer(folder: Path) -> None:
    """Of two vocabularies; as if the folder were from before digests were kept."""
    tiny.sentence_pieces(joint=False).save(folder)
    edit(folder, lambda description: description.pop("tokenizer"))


def equally_large_tokenizer(folder: Path) -> None:
    """One letter is another: sizes and special ids are the same."""
    lines = [line.replace("e", "q") for line in tiny.LINES]
    other = SentencePieceTokenizer.learn(
        TokenizerConfig(vocab_size=300), lines, [line.upper() for line in lines]
    )
    assert vocabulary_of(other) == vocabulary_of(tiny.sentence_pieces())
    other.save(folder)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: damaged"),
    "weights cut": (lambda f: truncate(f / "model.safetensors"), "model.safetensors: damaged"),
    "weights cut in the header": (
        lambda f: truncate(f / "model.safetensors", share=0.001),
        "model.safetensors: damaged",
    ),
    "weights empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors: damaged"),
    "weights foreign": (
        lambda f: (f / "model.safetensors").write_bytes(os.urandom(999)),
        "model.safetensors: damaged",
    ),
    "weight missing": (
        lambda f: edit_weights(f, lambda w: w.pop("encoder.layers.1.self_attention_residual.norm.bias")),
        "lacks encoder.layers.1.self_attention_residual.norm.bias",
    ),
    "weight unknown": (
        lambda f: edit_weights(f, lambda w: w.update(extra=torch.ones(1))),
        "holds the unknown extra",
    ),
    "weight of another shape": (
        lambda f: edit_weights(
            f, lambda w: w.update({"encoder.layers.0.feed_forward.inner.bias": torch.ones(3)})
        ),
        "encoder.layers.0.feed_forward.inner.bias is [3] instead of [20]",
    ),
    "another configuration": (
        lambda f: edit(f, lambda d: d["model"].update(feed_forward=24)),
        "instead of [24",
    ),
    "no description": (
        lambda f: (f / "model.json").unlink(),
        "model.json is missing. Copy the whole model folder again.",
    ),
    "description cut": (lambda f: truncate(f / "model.json"), "model.json: damaged"),
    "description empty": (lambda f: (f / "model.json").write_text(""), "model.json: damaged"),
    "description not text": (
        lambda f: (f / "model.json").write_bytes(b"\xff\xfe\x00"),
        "model.json: damaged",
    ),
    "description a list": (lambda f: (f / "model.json").write_text("[]"), "holds no JSON object"),
    "description of another program": (
        lambda f: (f / "model.json").write_text('{"architectures": ["MarianMTModel"]}'),
        "not written by Saccade",
    ),
    "newer format": (
        lambda f: edit(f, lambda d: d.update(format=FORMAT + 1)),
        f"format {FORMAT + 1} is newer than this Saccade reads ({FORMAT}). Install a newer",
    ),
    "format not a number": (lambda f: edit(f, lambda d: d.update(format="one")), "not written by Saccade"),
    "unknown kind": (
        lambda f: edit(f, lambda d: d["model"].update(kind="telepathic")),
        "model.kind = 'telepathic'",
    ),
    "kind not text": (lambda f: edit(f, lambda d: d["model"].update(kind=[1])), "model.kind"),
    "unknown setting": (lambda f: edit(f, lambda d: d["model"].update(widht=3)), "model.widht"),
    "impossible setting": (
        lambda f: edit(f, lambda d: d["model"].update(heads=5)),
        "not a multiple of heads 5",
    ),
    "no model": (lambda f: edit(f, lambda d: d.pop("model")), "not written by Saccade"),
    "no vocabulary": (lambda f: edit(f, lambda d: d.pop("vocabulary")), "it has no vocabulary"),
    "half a vocabulary": (lambda f: edit(f, lambda d: d["vocabulary"].pop("pad")), "vocabulary"),
    "decoding not a table": (lambda f: edit(f, lambda d: d.update(decoding=[1])), "it has no decoding"),
    "another tokeniser": (other_tokenizer, "tokeniser is not the one"),
    "an equally large tokeniser": (equally_large_tokenizer, "tokenizer.model: not the file that the model"),
    "tokeniser digests not a table": (
        lambda f: edit(f, lambda d: d.update(tokenizer=[])),
        "it has no tokenizer",
    ),
    "no tokeniser": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
    "tokeniser cut": (lambda f: truncate(f / "tokenizer.model"), "tokeniser"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_one_clear_message(folder: Path, damage: str) -> None:
    harm, expected = DAMAGE[damage]
    harm(folder)
    text = message(folder)
    assert expected in text
    assert str(folder) in text, "where"
    assert text.count("\n") == 0


def test_folders_that_are_no_models_are_told_apart(tmp_path: Path) -> None:
    assert "no such model folder" in message(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "not a Saccade model folder" in message(tmp_path / "empty")
    (tmp_path / "file").write_text("text")
    assert "a file, not a model folder" in message(tmp_path / "file")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text("{}")
    assert "folder of transformers" in message(tmp_path / "hub")


def test_a_run_stands_for_its_best_checkpoint(tmp_path: Path, model: Model) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text("")
    assert "no checkpoint yet" in message(run)
    save_model(run / "checkpoints" / "best", model)
    assert find_model(run) == run / "checkpoints" / "best"
    assert_equal(weights(load_model(run)), weights(model))


# --- writing: all or nothing ---------------------------------------------------------------------


@pytest.fixture
def newer() -> Model:
    return tiny.model(dtype=torch.float32, seed=1)


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk_in_rust(*_: object, **__: object) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("save_file", full_disk),
        ("save_file", full_disk_in_rust),
        ("write_json", full_disk),
        ("_flush", full_disk),
        ("_flush_entry", full_disk),
    ],
)
@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_keeps_what_was_there(
    tmp_path: Path,
    model: Model,
    newer: Model,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    failure: Callable[..., None],
    existing: bool,
) -> None:
    folder = tmp_path / "model"
    if existing:
        save_model(folder, model)
    with monkeypatch.context() as patch:
        patch.setattr(
            folders if name.startswith("_") else checkpoint,
            name,
            failure,
        )
        with pytest.raises(UserError) as caught:
            save_model(folder, newer)
    assert "the disk is full" in str(caught.value)
    assert str(folder) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == (["model"] if existing else [])
    if existing:
        assert_equal(weights(load_model(folder)), weights(model))
    save_model(folder, newer)
    assert_equal(weights(load_model(folder)), weights(newer))


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_cannot_be_renamed_stays(
    tmp_path: Path, folder: Path, model: Model, newer: Model, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    calls = iter(range(1, 9))
    rename = Path.rename

    def sometimes(self: Path, target: Path) -> Path:
        if next(calls) == failing:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", sometimes)
        with pytest.raises(UserError, match="cannot write: .*Permission denied"):
            save_model(folder, newer)
    assert_equal(weights(load_model(folder)), weights(model))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_interruption_keeps_what_was_there(tmp_path: Path, folder: Path, model: Model) -> None:
    def half_a_save(interruption: type[BaseException]) -> None:
        with replace_folder(folder) as new:
            (new / "half").write_text("")
            raise interruption

    for interruption in (KeyboardInterrupt, RuntimeError, UserError):
        with pytest.raises(interruption):
            half_a_save(interruption)
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        assert_equal(weights(load_model(folder)), weights(model))


def test_a_file_in_the_way_is_not_overwritten(tmp_path: Path, model: Model) -> None:
    (tmp_path / "model").write_text("precious")
    with pytest.raises(UserError, match="a file is in the way"):
        save_model(tmp_path / "model", model)
    assert (tmp_path / "model").read_text() == "precious"
    with pytest.raises(UserError, match="cannot write"):
        save_model(tmp_path / "model" / "inside", model)


def test_the_new_folder_holds_nothing_of_the_old(folder: Path, newer: Model) -> None:
    (folder / "extra").write_text("")
    save_model(folder, newer)
    assert not (folder / "extra").exists()
    assert_equal(weights(load_model(folder)), weights(newer))


def test_a_symbolic_link_stays_one(tmp_path: Path, folder: Path, newer: Model) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    save_model(link, newer)
    assert link.is_symlink()
    assert_equal(weights(load_model(folder)), weights(newer))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model"]


# --- dying at any moment -------------------------------------------------------------------------


def test_a_folder_moved_aside_is_found_and_brought_back(tmp_path: Path, folder: Path, model: Model) -> None:
    """As a crash between the two renames leaves it."""
    shutil.copytree(folder, tmp_path / f".model.partial-{os.getpid()}")
    folder.rename(tmp_path / ".model.old")
    assert_equal(weights(load_model(folder)), weights(model))
    assert not folder.exists(), "a reader changes nothing: a run may be writing"
    settle_folder(folder)
    assert folder.exists()
    assert not (tmp_path / ".model.old").exists()
    assert_equal(weights(load_model(folder)), weights(model))


def test_a_best_checkpoint_moved_aside_is_found(tmp_path: Path, model: Model) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    save_model(checkpoints / "best", model)
    (checkpoints / "best").rename(checkpoints / ".best.old")
    assert_equal(weights(load_model(tmp_path / "run")), weights(model))


def test_what_a_crash_left_behind_does_not_stop_the_next_save(
    tmp_path: Path, folder: Path, newer: Model
) -> None:
    """As a crash after the second rename leaves it, with a half-written attempt of another one."""
    shutil.copytree(folder, tmp_path / ".model.old")
    half = tmp_path / f".model.partial-{os.getpid()}"
    half.mkdir()
    (half / "model.json").write_text("{")
    save_model(folder, newer)
    assert_equal(weights(load_model(folder)), weights(newer))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@contextlib.contextmanager
def dying_at(moment: int) -> Iterator[None]:
    """End the process, without clearing up, just before the given one of its calls to the file system."""
    count = iter(range(1, 10**6))

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*args: Any, **settings: Any) -> Any:
            if next(count) == moment:
                os._exit(9)
            return call(*args, **settings)

        return replacement

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (Path, "mkdir"),
            (Path, "rename"),
            (Path, "write_bytes"),
            (Path, "write_text"),
            (os, "fsync"),
            (os, "rmdir"),
            (os, "unlink"),
            (checkpoint, "save_file"),
        ):
            patch.setattr(owner, name, deadly(getattr(owner, name)))
        yield


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_whenever_the_process_dies_the_old_model_or_the_new_one_is_there(
    tmp_path: Path, model: Model, newer: Model
) -> None:
    old, new = weights(model), weights(newer)
    seen = []
    for moment in range(1, 100):
        folder = tmp_path / str(moment) / "model"
        save_model(folder, model)
        child = os.fork()
        if child == 0:
            with dying_at(moment):
                save_model(folder, newer)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = weights(load_model(folder))
        seen.append(torch.equal(found["output.weight"], new["output.weight"]))
        assert_equal(found, new if seen[-1] else old)
        save_model(folder, newer)
        assert_equal(weights(load_model(folder)), new)
        assert [path.name for path in folder.parent.iterdir()] == ["model"]
        if status == 0:
            break
    assert status == 0, "the last one lived"
    assert seen[-1]
    assert seen == sorted(seen), "once the new one is there it stays"
    assert seen.count(False) > 5
    assert seen.count(True) > 2, "among them moments after the second rename"
