"""The conditional random field, against an enumeration of all label sequences in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from saccade.nn.crf import Crf

LABELS = 3


@pytest.fixture
def crf() -> Crf:
    field = Crf(LABELS).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return field


def emissions(rows: int, length: int, *, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, length, LABELS, generator=generator, dtype=torch.float64)


def enumerated(crf: Crf, scores: Tensor) -> dict[tuple[int, ...], Tensor]:
    """The score of every label sequence of one sentence (length, labels), by the definition."""
    found = {}
    for labels in itertools.product(range(LABELS), repeat=len(scores)):
        total = crf.starts[labels[0]] + crf.ends[labels[-1]]
        for place, label in enumerate(labels):
            total = total + scores[place, label]
        for before, after in itertools.pairwise(labels):
            total = total + crf.transitions[before, after]
        found[labels] = total
    return found


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_forward_algorithm_sums_over_all_label_sequences(crf: Crf, length: int) -> None:
    scores = emissions(1, length)
    every = torch.stack(list(enumerated(crf, scores[0]).values()))
    torch.testing.assert_close(crf.log_partition(scores, torch.tensor([length]))[0], every.logsumexp(0))


def test_marginals_sum_over_all_sequences_with_the_label_whatever_stands_behind_the_end(crf: Crf) -> None:
    scores, lengths = emissions(3, 4), torch.tensor([4, 2, 1])
    found = crf.log_marginals(scores, lengths)
    for row, length in enumerate(lengths.tolist()):
        every = enumerated(crf, scores[row, :length])
        whole = torch.stack(list(every.values())).logsumexp(0)
        for place, label in itertools.product(range(length), range(LABELS)):
            own = torch.stack([one for labels, one in every.items() if labels[place] == label]).logsumexp(0)
            torch.testing.assert_close(found[row, place, label], own - whole)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_viterbi_finds_the_best_of_all_label_sequences(crf: Crf, length: int) -> None:
    scores = emissions(4, length)
    labels, best = crf.best(scores, torch.full((4,), length))
    for row in range(4):
        every = enumerated(crf, scores[row])
        assert tuple(labels[row].tolist()) == max(every, key=lambda one: float(every[one].detach()))
        torch.testing.assert_close(best[row], max(every.values()))


def test_the_score_of_labels_is_the_definition(crf: Crf) -> None:
    scores = emissions(1, 4)
    for labels, value in enumerated(crf, scores[0]).items():
        found = crf.score(scores, torch.tensor([4]), torch.tensor([labels]))
        torch.testing.assert_close(found[0], value)


def test_gradients_are_those_of_the_enumeration(crf: Crf) -> None:
    scores = emissions(1, 4).requires_grad_()
    parameters = (scores, *crf.parameters())
    gold = (2, 0, 1, 1)
    loss = crf.log_partition(scores, torch.tensor([4])) - crf.score(
        scores, torch.tensor([4]), torch.tensor([gold])
    )
    every = enumerated(crf, scores[0])
    slow = torch.stack(list(every.values())).logsumexp(0) - every[gold]
    for own, expected in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(slow, parameters), strict=True
    ):
        torch.testing.assert_close(own, expected)


def test_a_batch_equals_its_sentences_and_padding_changes_nothing(crf: Crf) -> None:
    lengths = torch.tensor([3, 5, 1])
    scores = emissions(3, 5)
    garbage = scores.clone()
    garbage[0, 3:], garbage[2, 1:] = 1e3, -1e3
    labels = torch.tensor([[0, 1, 2, 0, 0], [1, 1, 0, 2, 2], [2, 0, 0, 0, 0]])
    partition, own = crf.log_partition(garbage, lengths), crf.score(garbage, lengths, labels)
    best, _ = crf.best(garbage, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, size = scores[row : row + 1, :length], torch.tensor([length])
        torch.testing.assert_close(partition[row], crf.log_partition(alone, size)[0])
        torch.testing.assert_close(own[row], crf.score(alone, size, labels[row : row + 1, :length])[0])
        assert best[row, :length].tolist() == crf.best(alone, size)[0][0].tolist()
        assert best[row, length:].tolist() == [0] * (5 - length)


def test_scores_in_16_bits_are_summed_in_32(crf: Crf) -> None:
    narrow = emissions(1, 5).bfloat16()
    found = crf.float().log_partition(narrow, torch.tensor([5]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, crf.log_partition(narrow.float(), torch.tensor([5])))
