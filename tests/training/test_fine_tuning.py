"""Fine-tuning: the cost against a loop, REINFORCE's gradient against every fertility sequence there is."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.training.fertility import FertilityCrossEntropy
from saccade.training.fine_tuning import FineTuning, bounded, drawn_fertilities, mean_fertilities, reinforce
from tests.models.test_nonautoregressive import network
from tests.tiny import END, START, batch, scheme, transformer, value

SOURCE, TARGET, FERTILITIES = [[5, 7, END]], [[6, 6, 8, END]], [[1, 2, 0]]


def student() -> Any:
    return network("fertility", max_fertility=2)


def fine_tuning(share: float = 0.25) -> FineTuning:
    return FineTuning(FertilityCrossEntropy(), transformer(seed=7), share)


def encoded(model: Any) -> tuple[Any, Any]:
    ids, lengths = torch.tensor(SOURCE), torch.tensor([3])
    with torch.no_grad():
        return model.encode(ids, lengths), fine_tuning().teacher.encode(ids, lengths)


@pytest.mark.parametrize("counts", [[1, 2, 0], [0, 1, 0], [0, 0, 0]])
def test_the_cost_is_a_sum_over_every_place_and_word(counts: list[int]) -> None:
    model, tuning = student(), fine_tuning()
    memory, read = encoded(model)
    cost = value(tuning.cost(scheme(model), memory, torch.tensor([counts]), read))
    total, words = 0.0, [START]
    if sum(counts):
        own = model.output(scheme(model).write(torch.tensor([counts]), memory)[0])[0].log_softmax(-1)
        for place in range(sum(counts)):
            judged = tuning.teacher(torch.tensor([words]), read)[0, -1].log_softmax(-1)
            total -= sum(own[place, word].exp().item() * judged[word].item() for word in range(13))
            words.append(
                max((w for w in range(13) if w not in (0, 2, 3)), key=lambda w: own[place, w].item())
            )
    total -= tuning.teacher(torch.tensor([words]), read)[0, -1].log_softmax(-1)[END].item()
    assert cost == pytest.approx(total, abs=1e-4)


def test_reinforce_in_expectation_has_the_gradient_of_the_expected_cost() -> None:
    """All nine fertility sequences of two words, each weighted with its probability."""
    model, tuning = student(), fine_tuning()
    memory, read = encoded(model)
    parameters = list(model.predictor.parameters())

    def log_probs() -> Tensor:
        return scheme(model).logits(memory)[0].log_softmax(-1)

    sequences = [[a, b, 0] for a, b in itertools.product(range(3), repeat=2)]
    with torch.no_grad():
        costs = [tuning.cost(scheme(model), memory, torch.tensor([counts]), read) for counts in sequences]
        baseline = tuning.cost(
            scheme(model), memory, mean_fertilities(log_probs()[None]) * torch.tensor([1, 1, 0]), read
        )
    chances = [log_probs()[0, a] + log_probs()[1, b] for a, b, _ in sequences]
    expected = sum(chance.exp() * cost.item() for chance, cost in zip(chances, costs, strict=True))
    exact = torch.autograd.grad(expected, parameters)
    estimate = [torch.zeros_like(parameter) for parameter in parameters]
    for (a, b, _), cost in zip(sequences, costs, strict=True):
        chance = (log_probs()[0, a] + log_probs()[1, b])[None]
        gradients = torch.autograd.grad(reinforce(chance, cost, baseline), parameters)
        weight = chance.detach().exp().item()
        estimate = [total + weight * part for total, part in zip(estimate, gradients, strict=True)]
    for one, other in zip(exact, estimate, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
        assert bool((one != 0).any())


def test_the_baseline_takes_the_rounded_mean_fertilities() -> None:
    log_probs = torch.tensor([[[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]]]).log()
    assert mean_fertilities(log_probs).tolist() == [[1, 0]]


def test_draws_follow_the_probabilities_and_the_global_generator() -> None:
    log_probs = torch.tensor([0.2, 0.3, 0.5]).log().expand(1, 5000, 3)
    torch.manual_seed(0)
    drawn = drawn_fertilities(log_probs)
    assert torch.bincount(drawn.flatten()).tolist() == pytest.approx([1000, 1500, 2500], rel=0.1)
    torch.manual_seed(0)
    assert torch.equal(drawn, drawn_fertilities(log_probs))


def test_end_symbols_and_padding_get_no_copies() -> None:
    real = torch.tensor([[True, True, False, False]])
    assert bounded(torch.tensor([[2, 1, 3, 4]]), real).tolist() == [[2, 1, 0, 0]]
    assert bounded(torch.tensor([[50, 50, 3, 4]]), real).sum().item() == 14


def test_the_parts_are_weighted_as_in_equation_11() -> None:
    model, given = student(), batch(SOURCE, TARGET, FERTILITIES)
    memory, read = encoded(model)
    known = value(FertilityCrossEntropy()(model, given))
    propagated = value(fine_tuning().cost(scheme(model), memory, torch.tensor(FERTILITIES), read))
    torch.manual_seed(4)
    total = value(fine_tuning(0.25)(model, given))
    torch.manual_seed(4)
    log_probs = scheme(model).logits(memory).log_softmax(-1)
    drawn, real = drawn_fertilities(log_probs), torch.tensor([[True, True, False]])
    chance = log_probs[0, 0, drawn[0, 0]] + log_probs[0, 1, drawn[0, 1]]
    cost = fine_tuning().cost(scheme(model), memory, bounded(drawn, real), read)
    baseline = fine_tuning().cost(scheme(model), memory, bounded(mean_fertilities(log_probs), real), read)
    reinforced = value((cost - baseline) * chance)
    assert total == pytest.approx(0.25 * (reinforced + propagated) + 0.75 * known, abs=1e-4)


def test_the_student_learns_and_the_teacher_does_not() -> None:
    model, tuning = student().train(), fine_tuning()
    torch.manual_seed(1)
    tuning(model, batch(SOURCE, TARGET, FERTILITIES)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
    assert all(parameter.grad is None for parameter in tuning.teacher.parameters())
