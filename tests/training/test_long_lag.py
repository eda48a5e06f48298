"""What lies further back than a segment: known through memory, and through nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from saccade.models import build_model, model_config
from saccade.text.streams import Streams
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.loader import Loader
from saccade.training.objective import Loss, NextToken
from saccade.training.optim import OptimizerConfig, learning_rate, make_optimizer
from saccade.training.streams import TextStreams
from tests.tiny import vocabulary

SEGMENT, WORDS, REPEATS = 8, 8, 8
LONG, SHORT = 12, 3
"""A token is that of so many tokens before: never in its segment, or often."""
CHANCE = math.log(WORDS)


def text(blocks: int, *, lag: int, seed: int) -> np.ndarray:
    """Random blocks of `lag` tokens, each repeated."""
    random = np.random.default_rng(seed).integers(4, 4 + WORDS, (blocks, 1, lag))
    return random.repeat(REPEATS, 1).reshape(-1).astype(np.uint16)


def trained(kind: str, *, lag: int, steps: int, **settings: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"width": 32, "heads": 2, "feed_forward": 64, "layers": 2, "dropout": 0.0, "segment": SEGMENT}
    network: Any = build_model(model_config({"kind": kind, **sizes, **settings}), vocabulary(4 + WORDS))
    config = OptimizerConfig(peak_rate=4e-3, warmup=30, schedule="cosine")
    step = EagerStep(
        Loss(network, NextToken()),
        make_optimizer(network, config),
        group=Group(),
        clip_norm=1.0,
        autocast=False,
    )
    ids = text(1 + steps * 16 * SEGMENT // (lag * REPEATS), lag=lag, seed=1)  # none of it is read twice
    data = TextStreams(
        ids=ids, start=network.start, segment=SEGMENT, rows=16, accumulate=1, seed=1, pad=0, group=Group()
    )
    with Loader(data, Group()) as loader:
        for number, shares in enumerate(loader.epoch(0, done=0), start=1):
            step(shares, rate=learning_rate(number, config=config, steps=steps + 5))
    return network.eval()


@torch.no_grad()
def losses(network: Any, *, lag: int) -> tuple[float, list[float]]:
    """Mean nats of tokens that repeat others, on new text; and by place within the segment."""
    streams = Streams(text(64, lag=lag, seed=2), 64)  # a stream is a block and its repetitions
    memory, by_place = network.start(64), torch.zeros(SEGMENT)
    counted = torch.zeros(SEGMENT)
    for number in range(streams.segments(SEGMENT)):
        read, gold = map(torch.from_numpy, streams.segment(number, SEGMENT, pad=0))
        hidden, memory = network.read(read, memory)
        nats = -network.output(hidden).log_softmax(-1).gather(2, gold[..., None]).squeeze(2)
        if number * SEGMENT >= lag:  # the block itself cannot be known
            by_place += nats.mean(0)
            counted += 1
    found = by_place / counted
    return float(found.mean()), found.tolist()


@pytest.mark.slow
def test_memory_makes_a_lag_beyond_the_segment_known() -> None:
    mean, by_place = losses(trained("transformer-xl", lag=LONG, steps=500, memory=16), lag=LONG)
    assert mean < 0.25, mean
    assert max(by_place) < 0.3, by_place


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer-xl", "transformer-lm"])
def test_without_memory_it_stays_at_chance(kind: str) -> None:
    mean, _ = losses(trained(kind, lag=LONG, steps=500, memory=0), lag=LONG)
    assert mean > 0.95 * CHANCE, mean


@pytest.mark.slow
def test_without_memory_the_context_is_fragmented() -> None:
    """Where a segment begins, what it needs is in the segment before: chance; further on it is known."""
    _, cut = losses(trained("transformer-xl", lag=SHORT, steps=300, memory=0), lag=SHORT)
    assert min(cut[: SHORT - 1]) > 0.9 * CHANCE, cut
    assert max(cut[SHORT:]) < 0.25 * CHANCE, cut
    _, whole = losses(trained("transformer-xl", lag=SHORT, steps=300, memory=8), lag=SHORT)
    assert max(whole) < 0.25 * CHANCE, whole
