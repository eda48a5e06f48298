"""The pointer network against plain loops, and decoded by search against enumeration."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import Search, search
from saccade.models.recording import record_attention
from tests.labelled import pointer

VARIANTS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru, two layers": {"cell": "gru", "decoder_layers": 2},
    "without positions": {"positions": "none"},
    "numbers": {"numbers": 1, "norm": "post"},
    "no encoder layers, learned": {"layers": 0, "positions": "learned"},
}


def network(name: str) -> Any:
    return pointer(**VARIANTS[name]).network


def tasks(model: Any, lengths: list[int], *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths), model.config.numbers)
    values = torch.rand(shape, generator=generator, dtype=torch.float64)
    for row, length in zip(values, lengths, strict=True):
        row[length:] = 0
    return values, torch.tensor(lengths)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def by_loops(model: Any, states: NDArray[np.float64], read: list[int]) -> list[NDArray[np.float64]]:
    """The scores of each step from the weights: an LSTM's equations, then v . tanh(W1 e_j + W2 d_i)."""
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    layer, width = "decoder.layers.0.", model.config.width
    hidden, cell, found = np.zeros(width), np.zeros(width), []
    for position in read:
        gates = weights[f"{layer}weight_ih_l0"] @ states[position] + weights[f"{layer}bias_ih_l0"]
        gates = gates + weights[f"{layer}weight_hh_l0"] @ hidden + weights[f"{layer}bias_hh_l0"]
        take, forget, new, give = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(take) * np.tanh(new)
        hidden = sigmoid(give) * np.tanh(cell)
        keys = states @ weights["pointer.key.weight"].T
        query = weights["pointer.query.weight"] @ hidden
        found.append(np.array([sum(weights["pointer.score"] * np.tanh(key + query)) for key in keys]))
    return found


def test_scores_are_those_of_the_paper() -> None:
    model = network("lstm")
    values, lengths = tasks(model, [4])
    memory = model.encode(values, lengths)
    read = [0, 3, 1, 4]
    logits = model.decode(torch.tensor([read]), memory)[0].softmax(-1)
    expected = np.stack(by_loops(model, memory.states[0].detach().numpy(), read))
    expected = np.exp(expected) / np.exp(expected).sum(-1, keepdims=True)
    torch.testing.assert_close(logits.detach(), torch.from_numpy(expected))


@pytest.mark.parametrize("name", VARIANTS)
def test_stepwise_is_teacher_forced_and_company_changes_nothing(name: str) -> None:
    model = network(name)
    values, lengths = tasks(model, [5, 3])
    read = torch.tensor([[0, 2, 5, 1], [0, 3, 3, 1]])
    values[1, 3:] = 7.5  # padding
    together = model.decode(read, model.encode(values, lengths))  # (2, 4, 6)
    assert torch.isneginf(together[1, :, 4:]).all()
    assert torch.isfinite(together[1, :, :4]).all()
    alone = model.decode(read[1:], model.encode(values[1:, :3], lengths[1:]))
    torch.testing.assert_close(together[1:, :, :4], alone)
    state = model.start(model.encode(values, lengths), 9)
    for place in range(4):
        logits, state = model.step(read[:, place], state)
        torch.testing.assert_close(logits, together[:, place])


def test_without_positions_shuffled_inputs_have_shuffled_scores() -> None:
    model = network("without positions")
    values, lengths = tasks(model, [6])
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    places = torch.cat([torch.tensor([0]), order + 1])
    read = torch.tensor([[0, 2, 6]])
    moved = torch.tensor([[places.tolist().index(position) for position in read[0].tolist()]])
    before = model.decode(read, model.encode(values, lengths))
    after = model.decode(moved, model.encode(values[:, order], lengths))
    torch.testing.assert_close(after, before[..., places])


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_recorded_is_what_is_pointed_at_and_every_parameter_takes_part(name: str) -> None:
    model = network(name)
    values, lengths = tasks(model, [5, 3])
    read = torch.tensor([[0, 2], [0, 3]])
    with record_attention(model) as maps:
        logits = model.decode(read, model.encode(values, lengths))
    for one in maps.values():
        rows = one.weights[1] if one.kind == "cross" else one.weights[1, :, :4]
        torch.testing.assert_close(rows.sum(-1), torch.ones_like(rows[..., 0]))
    [pointed] = [one for one in maps.values() if one.kind == "cross"]
    torch.testing.assert_close(pointed.weights[:, 0], logits.softmax(-1).detach())
    logits[logits.isfinite()].square().sum().backward()
    assert not [key for key, one in model.named_parameters() if one.grad is None]


def answers(model: Any, values: torch.Tensor, lengths: torch.Tensor, **options: Any) -> list[Any]:
    config = DecodingConfig(**{"alpha": 0.0, "max_ratio": 1.0, "max_extra": 2, **options})
    return [found[0] for found in search(model, values, lengths, options=config)]


@torch.no_grad()
def log_prob(model: Any, values: torch.Tensor, lengths: torch.Tensor, answer: tuple[int, ...]) -> float:
    logits = model.decode(torch.tensor([[0, *answer]]), model.encode(values, lengths))[0].log_softmax(-1)
    return float(sum(row[token] for row, token in zip(logits, (*answer, 0), strict=True)))


@pytest.mark.parametrize("distinct", [False, True])
def test_a_wide_beam_finds_the_likeliest_answer_of_all(distinct: bool) -> None:
    model = network("lstm")
    values, lengths = tasks(model, [3], seed=2)
    possible = [
        answer
        for length in range(5)
        for answer in itertools.product((1, 2, 3), repeat=length)
        if not distinct or len(set(answer)) == len(answer)
    ]
    scores = {answer: log_prob(model, values, lengths, answer) for answer in possible}
    [found] = answers(model, values, lengths, beam=120, no_repeat_ngram_size=int(distinct))
    assert found.tokens == max(scores, key=scores.__getitem__)
    assert found.log_prob == pytest.approx(scores[found.tokens], rel=1e-5)
    if not distinct:
        assert sum(math.exp(score) for score in scores.values()) < 1 + 1e-9


def test_greedy_search_follows_the_highest_score() -> None:
    model = network("lstm")
    values, lengths = tasks(model, [6, 4, 6], seed=3)
    for row, found in enumerate(answers(model, values, lengths, beam=1)):
        length = int(lengths[row])
        own = values[row : row + 1, :length], lengths[row : row + 1]
        tokens: list[int] = []
        while len(tokens) < length + 1:
            token = int(model.decode(torch.tensor([[0, *tokens]]), model.encode(*own))[0, -1].argmax())
            if token == 0:
                break
            tokens.append(token)
        assert found.tokens == tuple(tokens)


def test_tasks_that_join_later_have_the_answers_that_they_have_alone() -> None:
    model = network("lstm")
    values, lengths = tasks(model, [3, 7], seed=4)
    options = [DecodingConfig(beam=beam, alpha=0.0, max_extra=2) for beam in (3, 2)]
    running, handles = Search(model), []
    for row in range(2):
        own = values[row : row + 1, : int(lengths[row])], lengths[row : row + 1]
        handles += running.add(*own, options=options[row])
        running.step()
    while not running.done:
        running.step()
    found = dict(running.take_finished())
    for row, handle in enumerate(handles):
        own = values[row : row + 1, : int(lengths[row])], lengths[row : row + 1]
        [[alone]] = search(model, *own, options=options[row])
        assert found[handle][0].tokens == alone.tokens
        assert found[handle][0].log_prob == pytest.approx(alone.log_prob, rel=1e-5)
