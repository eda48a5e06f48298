"""The convolutional model against the authors' own code, fairseq's `fconv`, weights copied.

fairseq's last release does not import on Python 3.11, so its files are loaded one by one, with stand-ins
for the base classes around them. It is no dependency; name the folder of an unpacked release to run this:

    pip download fairseq==0.12.2 --no-deps --only-binary=:all: --python-version 3.8 \\
        --platform manylinux1_x86_64 -d fairseq && python -m zipfile -e fairseq/*.whl fairseq
    FAIRSEQ=fairseq python -m pytest -m slow tests/models/test_fairseq.py
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from tests.kinds import network
from tests.tiny import PAD, padded, sentences, vocabulary

FOLDER = os.environ.get("FAIRSEQ")
MODULES = {
    "conv_tbc": ("ConvTBC",),
    "learned_positional_embedding": ("LearnedPositionalEmbedding",),
    "grad_multiply": ("GradMultiply",),
    "linearized_convolution": ("LinearizedConvolution",),
}
"""Files of fairseq.modules that `fconv` is built of, and what it takes from each."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOLDER is None, reason="FAIRSEQ names no folder with fairseq's files"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Base(nn.Module):
    """In place of FairseqEncoder and FairseqIncrementalDecoder."""

    def __init__(self, dictionary: Any) -> None:
        super().__init__()
        self.dictionary = dictionary


class Dictionary:
    def __len__(self) -> int:
        return vocabulary().source_size

    def pad(self) -> int:
        return PAD


def positions(tokens: Tensor, pad: int, *, onnx_trace: bool) -> Tensor:
    real = tokens.ne(pad).long()
    return real.cumsum(1) * real + pad


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


def load(name: str) -> ModuleType:
    """One file of fairseq, by its full name."""
    path = Path(str(FOLDER)) / f"{name.replace('.', '/')}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def fconv(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    def put(made: ModuleType) -> ModuleType:
        monkeypatch.setitem(sys.modules, made.__name__, made)
        return made

    utils = module("fairseq.utils", make_positions=positions, get_incremental_state=lambda *_: None)
    put(module("fairseq", utils=utils, __path__=[]))
    put(utils)
    put(module("fairseq.incremental_decoding_utils", with_incremental_state=lambda found: found))
    unused = {"AdaptiveSoftmax": None, "BeamableMM": None}
    parts = put(
        module("fairseq.modules", __path__=[], FairseqDropout=lambda *_, **__: nn.Identity(), **unused)
    )
    for file, names in MODULES.items():
        loaded = put(load(f"fairseq.modules.{file}"))
        vars(parts).update({name: getattr(loaded, name) for name in names})
    bases = ("FairseqEncoder", "FairseqIncrementalDecoder", "FairseqEncoderDecoderModel")
    keep = lambda *_: lambda found: found  # noqa: E731 - a decorator that registers nothing
    decorators = {"register_model": keep, "register_model_architecture": keep}
    put(module("fairseq.models", **dict.fromkeys(bases, Base), **decorators))
    return load("fairseq.models.fconv")


def theirs(fconv: ModuleType, ours: Any) -> SimpleNamespace:
    """fairseq's encoder and decoder of the same sizes, with the same weights."""
    config = ours.config
    sizes = [(config.width, config.kernel)] * config.encoder_layers, [(config.width, config.kernel)]
    layers = [*sizes[0], *config.top_layers], [*sizes[1] * config.decoder_layers, *config.top_layers]
    rows = config.max_positions + PAD + 1
    same = {"embed_dim": config.embedding, "max_positions": rows, "dropout": 0.0}
    encoder = fconv.FConvEncoder(Dictionary(), convolutions=layers[0], **same).double()
    decoder = fconv.FConvDecoder(
        Dictionary(), convolutions=layers[1], out_embed_dim=config.embedding, **same
    ).double()
    encoder.num_attention_layers = len(decoder.attention)
    for mine, its in pairs(ours, encoder, decoder):
        for source, target, order in weights(mine, its):
            target.data.copy_(source.detach().permute(order))
    for mine, its in ((ours.source_embedding, encoder), (ours.target_embedding, decoder)):
        its.embed_tokens.weight.data.copy_(mine.tokens.weight)
        its.embed_positions.weight.data[PAD + 1 :].copy_(mine.positions.table)
    return SimpleNamespace(encoder=encoder, decoder=decoder)


def pairs(ours: Any, encoder: Any, decoder: Any) -> list[tuple[nn.Module, nn.Module]]:
    """Our products and convolutions, and fairseq's."""
    found = [(ours.enter, encoder.fc1), (ours.leave, encoder.fc2)]
    found += [
        (ours.decoder.enter, decoder.fc1),
        (ours.decoder.leave, decoder.fc2),
        (ours.output, decoder.fc3),
    ]
    for layers, side in ((ours.encoder, encoder), (ours.decoder.layers, decoder)):
        for number, layer in enumerate(layers):
            found.append((layer.convolution.convolution, side.convolutions[number]))
            if side.projections[number] is not None:
                found.append((layer.project, side.projections[number]))
            if side is decoder:
                attention = decoder.attention[number]
                found.append((layer.cross_attention.query, attention.in_projection))
                found.append((layer.cross_attention.output, attention.out_projection))
    return found


def weights(mine: Any, its: Any) -> list[tuple[Tensor, Tensor, tuple[int, ...]]]:
    """Gain, direction and bias: ours, fairseq's, and the order of our axes in theirs."""
    assert is_parametrized(mine)
    gain, direction = mine.parametrizations.weight.original0, mine.parametrizations.weight.original1
    order = (2, 1, 0) if isinstance(mine, nn.Conv1d) else (0, 1)
    return [(gain, its.weight_g, order), (direction, its.weight_v, order), (mine.bias, its.bias, (0,))]


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("top", [[], [[16, 3], [9, 1]]])
def test_logits_and_gradients_are_fairseqs(fconv: ModuleType, kernel: int, top: list[list[int]]) -> None:
    ours = network("convolutional", kernel=kernel, top_layers=top, tied_embeddings="none").train()
    other = theirs(fconv, ours)
    source, lengths = padded(sentences([6, 3, 1]))
    target, target_lengths = padded(sentences([5, 7, 2], seed=1))
    real = torch.arange(target.size(1)) < target_lengths[:, None]
    mine = ours(target, ours.encode(source, lengths))[real]
    memory = other.encoder(source, lengths)
    its = other.decoder(target, memory)[0][real]
    # fairseq takes the softmax of padded batches in float32.
    torch.testing.assert_close(mine, its, rtol=0, atol=2e-6)
    asked = torch.randn(mine.shape, dtype=mine.dtype)
    (mine * asked).sum().backward()
    (its * asked).sum().backward()
    compared = 0
    for one, another in pairs(ours, other.encoder, other.decoder):
        for own, copied, order in weights(one, another):
            assert own.grad is not None and copied.grad is not None
            torch.testing.assert_close(own.grad.permute(order), copied.grad, rtol=1e-5, atol=1e-5)
            compared += 1
    assert compared == 3 * len(pairs(ours, other.encoder, other.decoder))
