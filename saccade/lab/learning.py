"""Training in miniature, with the objective, the update and the learning rates of real runs."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import nn

from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.lab.toys import Pair, column
from saccade.models import build_model, model_config
from saccade.models.interface import Vocabulary
from saccade.text.vocabulary import END
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.objective import CrossEntropy, Loss, Objective
from saccade.training.optim import OptimizerConfig, learning_rate, make_optimizer


def seeded(seed: int) -> None:
    """Seeds torch's generator, from which weights and dropout are drawn."""
    torch.manual_seed(seed)


def new_model(kind: str, vocabulary: Vocabulary, *, seed: int, **settings: object) -> Any:
    """A model of this kind with random weights and without dropout."""
    seeded(seed)
    return build_model(model_config({"kind": kind, "dropout": 0.0, **settings}), vocabulary)


def fit(
    model: nn.Module,
    batches: Iterator[Any],
    *,
    steps: int,
    objective: Objective | None = None,
    peak_rate: float = 3e-3,
    warmup: int | None = None,
    schedule: str = "inverse_sqrt",
    clip_norm: float = 0.0,
) -> list[float]:
    """Trains the model for some updates; returns the loss in nats per target token before each.

    objective: unset, cross-entropy with teacher forcing. warmup: unset, a tenth of the updates. An update is
    left out if its loss or gradient is not finite.
    """
    config = OptimizerConfig.model_validate(
        {
            "peak_rate": peak_rate,
            "warmup": steps // 10 if warmup is None else warmup,
            "schedule": schedule,
            "clip_norm": clip_norm,
        }
    )
    group = Group()
    loss = Loss(model, objective or CrossEntropy())
    step = EagerStep(
        loss,
        make_optimizer(model, config),
        group=group,
        clip_norm=config.clip_norm,
        autocast=False,
    )
    model.train()
    losses = []
    for number, batch in enumerate(islice(batches, steps), start=1):
        rate = learning_rate(number, config=config, steps=steps)
        losses.append(step([group.share(batch)], rate=rate).loss)
    model.eval()
    return losses


def translate(
    model: Any, sources: Sequence[list[int]], *, beam: int = 1, alpha: float = 0.0
) -> list[list[int]]:
    """The best target of each source without its end symbol, by the toolkit's search."""
    source = column([[*row, END] for row in sources])
    options = DecodingConfig(beam=beam, alpha=alpha, max_ratio=2.0, max_extra=4)
    found = search(model, source.values, source.lengths, options=options)
    return [[token for token in best.tokens if token != END] for best, *_ in found]


def exact(model: Any, pairs: Sequence[Pair]) -> float:
    """The share of targets that greedy search writes without a mistake."""
    written = translate(model, [source for source, _ in pairs])
    right = sum(said == target for said, (_, target) in zip(written, pairs, strict=True))
    return right / len(pairs)
