"""Continuing a text: against a loop that reads everything anew for each token."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from saccade.config import build
from saccade.decoding.continuation import continue_text
from saccade.decoding.sampling import Draw, uniform_draws
from saccade.decoding.text_options import ContinuationConfig
from saccade.errors import UserError
from tests.models.test_language_models import KINDS, network

TEXT = torch.tensor([3, 7, 5, 9, 4, 11, 8])


def options(**changes: Any) -> ContinuationConfig:
    return build(ContinuationConfig, changes, where="decoding")


def naive(
    model: Any, settings: ContinuationConfig, *, banned: list[int], segment: int
) -> list[tuple[int, ...]]:
    """Row by row; the whole text is read again, cut as the real one cuts it, for each new token."""
    draws = uniform_draws([0], samples=settings.samples, length=settings.tokens, seed=settings.seed)[0]
    found = []
    for row in range(settings.samples):
        written: list[int] = []
        for place in range(settings.tokens):
            memory, hidden = model.start(1), torch.zeros(0)
            cuts = [*TEXT[None].split(segment, 1), *(torch.tensor([[token]]) for token in written)]
            for piece in cuts:
                hidden, memory = model.read(piece, memory)
            scores = model.output(hidden[:, -1]).log_softmax(-1).detach()
            scores[:, banned] = -torch.inf
            if settings.temperature == 0:
                written.append(int(scores.argmax()))
            else:
                draw = Draw(settings.temperature, settings.top_k, settings.top_p)
                written.append(int(draw.tokens(scores.float(), draws[row : row + 1, place])))
        found.append(tuple(written))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes", [{"temperature": 0.0}, {"samples": 3, "seed": 5}, {"samples": 2, "top_k": 4, "top_p": 0.8}]
)
def test_memory_serves_as_a_cache(kind: str, changes: dict[str, Any]) -> None:
    model, settings = network(kind), options(tokens=6, **changes)
    found = continue_text(model, TEXT, options=settings, segment=3, banned=(0, 1, 2))
    assert [one.tokens for one in found] == naive(model, settings, banned=[0, 1, 2], segment=3)
    assert not {0, 1, 2} & {token for one in found for token in one.tokens}


def test_the_score_is_the_log_probability_of_what_was_written() -> None:
    model = network("transformer-xl", memory=40)
    [found] = continue_text(model, TEXT, options=options(tokens=5, temperature=0.7), segment=4)
    whole = torch.tensor([[*TEXT.tolist(), *found.tokens]])
    hidden, _ = model.read(whole[:, :-1], model.start(1))
    log_probs = model.output(hidden).log_softmax(-1).gather(2, whole[:, 1:, None])[0, -5:]
    assert found.log_prob == pytest.approx(float(log_probs.sum().detach()), abs=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -0.1}, {"top_p": 0.0}, {"top_k": 0}, {"tokens": 0}, {"beam": 4}]
)
def test_wrong_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"decoding\.{next(iter(wrong))} = "):
        options(**wrong)
