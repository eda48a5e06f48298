"""Sentences that come and go while others are decoded, for every model and engine that search drives."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import Search, search
from saccade.models.interface import IncrementalDecoder
from tests.tiny import padded, sentences

WAYS: tuple[dict[str, Any], ...] = (
    {"beam": 1},
    {"beam": 4, "nbest": 3},
    {"beam": 4, "min_length": 2, "max_ratio": 2.0},
    {"beam": 3, "length_penalty": "power", "alpha": 1.0, "early_stopping": True},
    {"beam": 2, "banned": (7, 8), "rules": "renormalized"},
    {"sample": True, "nbest": 3, "top_p": 0.9, "temperature": 1.3},
    {"sample": True, "nbest": 1, "seed": 5},
)


@dataclass(frozen=True)
class Job:
    """A sentence with all that its result depends on."""

    source: list[int]
    options: DecodingConfig
    line: int
    prefix: tuple[int, ...]


def jobs(count: int, *, seed: int, longest: int = 9, size: int = 13) -> list[Job]:
    rng = random.Random(seed)
    sources = sentences([rng.randint(1, longest) for _ in range(count)], seed=seed, size=size)
    return [
        Job(
            source,
            DecodingConfig(max_extra=rng.randint(3, 8), **rng.choice(WAYS)),
            rng.randrange(100),
            tuple(rng.randint(4, 6) for _ in range(rng.choice([0, 0, 2]))),
        )
        for source in sources
    ]


def alone(model: IncrementalDecoder, job: Job) -> list[Hypothesis]:
    source, lengths = padded([job.source])
    (found,) = search(model, source, lengths, options=job.options, lines=[job.line], prefixes=[job.prefix])
    return found


def as_they_come(
    model: IncrementalDecoder, work: Sequence[Job], *, seed: int, cancelled: Collection[int] = ()
) -> dict[int, list[Hypothesis]]:
    """Results by number of the job. One to three are added at random moments; those of `cancelled` are given
    up again at a random moment, if they have not finished by then."""
    rng, running = random.Random(seed), Search(model)
    number: dict[int, int] = {}
    found: dict[int, list[Hypothesis]] = {}
    waiting = list(range(len(work)))
    while waiting or not running.done:
        if waiting and (running.done or rng.random() < 0.4):
            now, waiting = waiting[:3], waiting[3:]
            some = [work[job] for job in now]
            handles = running.add(
                *padded([job.source for job in some]),
                options=[job.options for job in some],
                lines=[job.line for job in some],
                prefixes=[job.prefix for job in some],
            )
            number.update(zip(handles, now, strict=True))
        for handle in running.present:
            if number[handle] in cancelled and rng.random() < 0.5:
                running.cancel(handle)
                assert handle not in running.present
        running.step()
        for handle, hypotheses in running.take_finished():
            assert number[handle] not in found
            found[number[handle]] = hypotheses
    return found
