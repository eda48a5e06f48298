"""What can't be imported: one clear message, and nothing written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from saccade.__main__ import app
from tests.interop.published import many, opus

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("published")
    opus(place / "opus")
    many(place / "many")
    return place


def change(name: str, **values: object) -> Callable[[Path], None]:
    """Other values in a JSON file; None takes a key out."""

    def apply(folder: Path) -> None:
        content = {**json.loads((folder / name).read_text()), **values}
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))

    return apply


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return apply


def weights(**tensors: torch.Tensor | None) -> Callable[[Path], None]:
    """Other weights; None takes one out. "__" stands for "."."""

    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        found = load_file(path)
        for name, tensor in tensors.items():
            found.pop(name.replace("__", "."), None)
            if tensor is not None:
                found[name.replace("__", ".")] = tensor
        save_file(found, path)

    return apply


class Harm:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def unsafe(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Harm()}))


def unsafe_archive(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Harm()}, folder / "pytorch_model.bin")


def parts(folder: Path) -> None:
    """Weights in parts, of which one did not come along."""
    (folder / "model.safetensors").rename(folder / "first.safetensors")
    table = {"a": "first.safetensors", "b": "part.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def cut(name: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[:-100])

    return apply


def cut_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    cut("pytorch_model.bin")(folder)


EITHER = [
    ("no config", drop("config.json"), "config.json: not found"),
    ("config is no JSON", write("config.json", b"{"), "config.json: damaged"),
    ("another architecture", change("config.json", model_type="t5"), "of type 't5'; types that can be"),
    ("no architecture", change("config.json", model_type=None), "a model of type None"),
    ("no weights", drop("model.safetensors"), "holds no weights"),
    ("weights cut short", cut("model.safetensors"), "model.safetensors: damaged"),
    ("weights are text", write("model.safetensors", b"version https://git-lfs"), "damaged"),
    ("pickle cut short", cut_pickle, "pytorch_model.bin: damaged"),
    ("unsafe pickle", unsafe, "pytorch_model.bin: refused: it holds more than weights"),
    ("unsafe archive", unsafe_archive, "pytorch_model.bin: refused: it holds more than weights"),
    ("a weight is missing", weights(model__encoder__layers__0__fc1__weight=None), "lacks model.encoder"),
    ("a weight is unknown", weights(model__extra=torch.zeros(2)), "holds model.extra, which"),
    ("fewer layers", change("config.json", decoder_layers=1), "holds model.decoder.layers.1"),
    ("far too many layers", change("config.json", encoder_layers=10**9), "layers, but"),
    ("more layers", change("config.json", encoder_layers=3), "lacks model.encoder.layers.2"),
    (
        "another inner size",
        change("config.json", encoder_ffn_dim=50, decoder_ffn_dim=50),
        "config.json needs [50, 32]",
    ),
    ("another width", change("config.json", d_model=64), "do not belong together"),
    (
        "heads that don't fit",
        change("config.json", encoder_attention_heads=5, decoder_attention_heads=5),
        "heads",
    ),
    ("unlike sides", change("config.json", decoder_ffn_dim=50), "decoder_ffn_dim differs"),
    ("a size that is text", change("config.json", d_model="32"), 'd_model = "32" is not a whole number'),
    ("no size", change("config.json", d_model=None), "config.json: has no d_model"),
    ("another activation", change("config.json", activation_function="tanh"), '"tanh" is not supported'),
    ("phrases", change("generation_config.json", bad_words_ids=[[1, 2]]), "phrases of several tokens"),
    ("phrases of text", change("generation_config.json", bad_words_ids="a"), "not a list of lists of tokens"),
    ("a length that is text", change("generation_config.json", max_length="9"), '"9" is not a whole number'),
    ("an architecture that is none", change("config.json", model_type=["marian"]), "of type ['marian']"),
    ("a part is missing", parts, "part.safetensors: not found"),
    ("a wrong beam", change("generation_config.json", num_beams=0), "decoding.beam"),
]
OPUS = [
    ("no source pieces", drop("source.spm"), "source.spm: not found"),
    ("no table", drop("vocab.json"), "vocab.json: not found"),
    ("damaged pieces", write("target.spm", b"nonsense"), "damaged"),
    ("a table of lists", write("vocab.json", b"[1]"), "vocab.json: damaged"),
    ("a table without end", write("vocab.json", b'{"<unk>": 1}'), "it has no '</s>'"),
    (
        "sides of one matrix that differ",
        change("config.json", vocab_size=10**12),
        "decoder_vocab_size differ",
    ),
    (
        "a size beyond all memory",
        change("config.json", vocab_size=10**12, decoder_vocab_size=10**12),
        "config.json needs [1000000000000, 32]",
    ),
    (
        "no table of the other side",
        change("tokenizer_config.json", separate_vocabs=True),
        "target_vocab.json",
    ),
    ("more pieces than rows", change("config.json", vocab_size=20, decoder_vocab_size=20), "not below 20"),
    (
        "fewer pieces than rows",
        change("config.json", vocab_size=2000, decoder_vocab_size=2000),
        "config.json needs [2000",
    ),
    ("padding beyond", change("config.json", pad_token_id=9999), "pad_token_id 9999 is not below"),
]
MANY = [
    ("no pieces", drop("sentencepiece.bpe.model"), "sentencepiece.bpe.model: not found"),
    ("no table", drop("vocab.json"), "vocab.json: not found"),
    (
        "tokens of no form",
        change("tokenizer_config.json", added_tokens_decoder=["a"]),
        "damaged: its tokeniser",
    ),
    ("no room for languages", change("config.json", vocab_size=640), "more than vocab_size in config.json"),
]
CASES = [
    *[("opus", *case) for case in EITHER + OPUS],
    *[("many", *case) for case in EITHER + MANY],
]


@pytest.mark.parametrize(
    ("kind", "name", "damage", "message"), CASES, ids=[f"{case[0]}, {case[1]}" for case in CASES]
)
def test_it_is_one_clear_message(
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    name: str,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "published"
    shutil.copytree(published / kind, folder)
    damage(folder)
    result = CliRunner().invoke(app, ["import", "published", "--out", "models/new"])
    assert result.exit_code == 2 and result.stdout == ""
    assert message in result.stderr
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["published"], "nothing half-written, nothing run"
