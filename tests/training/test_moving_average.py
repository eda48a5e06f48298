"""A moving average holds averaged weights, and never the tables that each network derives for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from saccade.model_folder.checkpoint import read_tensors
from saccade.models import build_model, model_config
from saccade.nn.positions import SinusoidalPositions
from saccade.training.moving_average import MovingAverage
from tests import tiny
from tests.training.test_loop import run

SIZES = {"width": 12, "heads": 3, "feed_forward": 20, "dropout": 0.0}
KINDS: dict[str, dict[str, Any]] = {
    "transformer": SIZES,
    "alibi": {**SIZES, "positions": "alibi"},
    "recurrent": {"kind": "recurrent", "width": 12, "embedding": 10},
    **{
        f"nonautoregressive, {decoder}": {
            **SIZES,
            "kind": "nonautoregressive",
            "decoder": decoder,
            **({"tied_embeddings": "none"} if decoder == "ctc" else {}),
        }
        for decoder in ("ctc", "fertility", "mask-predict")
    },
    "transformer-lm": {**SIZES, "kind": "transformer-lm"},
    "transformer-xl": {**SIZES, "kind": "transformer-xl"},
}


def move(network: torch.nn.Module, *, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)


def grow(network: torch.nn.Module, length: int) -> None:
    """Let every table of sinusoids reach `length`."""
    for module in network.modules():
        if isinstance(module, SinusoidalPositions):
            module.rows(0, length)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_average_whichever_network_has_read_longer_sentences(kind: str) -> None:
    torch.manual_seed(1)
    network = build_model(model_config(KINDS[kind]), tiny.vocabulary())
    average = MovingAverage(network, 0.8)
    expected: dict[str, torch.Tensor] = {}
    for update in range(4):
        move(network, seed=update)
        for name, parameter in network.named_parameters():
            now = parameter.detach().double()
            expected[name] = 0.8 * expected[name] + 0.2 * now if update else now
        grow((network, average.network)[update % 2], 600 * (update + 1))
        average.update()
    for name, parameter in average.network.named_parameters():
        torch.testing.assert_close(parameter.detach().double(), expected[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_every_weight_is_torchs_average_bit_for_bit(decay: float) -> None:
    network = tiny.transformer(dtype=torch.float32)
    expected = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
    average = MovingAverage(network, decay)
    for update in range(5):
        move(network, seed=update)
        expected.update_parameters(network)
        average.update()
    torchs = expected.module.state_dict()
    for name, tensor in average.network.state_dict().items():
        assert torch.equal(tensor, torchs[name]), name


@pytest.mark.parametrize("settings", [("training.ema=0.9",), ("training.ema=0.9", "training.average=2"), ()])
def test_a_run_trains_on_sentences_longer_than_its_tables(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    """Tables of two positions grow at once, in validation to another length than in training."""
    plain, _ = run(corpus, *settings, name="plain")
    monkeypatch.setitem(SinusoidalPositions.__init__.__kwdefaults__, "length", 2)
    short, _ = run(corpus, *settings, name="short")
    for name in ("last", "best"):
        file = Path("checkpoints", name, "model.safetensors")
        for key, tensor in read_tensors(plain / file).items():
            assert torch.equal(read_tensors(short / file)[key], tensor), key
