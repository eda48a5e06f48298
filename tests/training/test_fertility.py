"""The loss with known fertilities against probabilities added up by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from saccade.training.fertility import FertilityCrossEntropy
from tests.models.test_nonautoregressive import network
from tests.tiny import END, batch, scheme, sentences, value

SOURCE, TARGET = sentences([4, 6]), [[5, 6, 7, 5, END], [9, 8, END]]
FERTILITIES = [[1, 0, 3, 0], [0, 1, 0, 0, 1, 0]]


def test_the_loss_is_minus_log_p_of_fertilities_and_of_words_given_them() -> None:
    model = network("fertility", max_fertility=5)
    total = 0.0
    for source, target, fertilities in zip(SOURCE, TARGET, FERTILITIES, strict=True):
        memory = model.encode(torch.tensor([source]), torch.tensor([len(source)]))
        of_counts = scheme(model).logits(memory)[0].log_softmax(-1)
        total -= sum(of_counts[place, count].item() for place, count in enumerate(fertilities[:-1]))
        hidden, _ = scheme(model).write(torch.tensor([fertilities]), memory)
        of_words = model.output(hidden)[0].log_softmax(-1)
        total -= sum(of_words[place, word].item() for place, word in enumerate(target[:-1]))
    loss = FertilityCrossEntropy()(model, batch(SOURCE, TARGET, FERTILITIES))
    assert value(loss) == pytest.approx(total, abs=1e-4)


def test_label_smoothing_is_of_the_words_alone() -> None:
    model, given = network("fertility"), batch(SOURCE, TARGET, FERTILITIES)
    plain, smooth = (value(FertilityCrossEntropy(e)(model, given)) for e in (0.0, 0.1))
    memory = model.encode(given["source"].values, given["source"].lengths)
    logits = model.output(scheme(model).write(given["fertilities"].values, memory)[0])
    pieces, real = given["target"].without_end()
    words = [
        cross_entropy(logits[real], pieces[real], label_smoothing=e, reduction="sum").item()
        for e in (0.0, 0.1)
    ]
    assert smooth - plain == pytest.approx(words[1] - words[0], abs=1e-5)


def test_a_fertility_beyond_the_greatest_counts_as_the_greatest_and_is_copied_in_full() -> None:
    model = network("fertility", max_fertility=2)
    target = [[5, 6, 7, 5, 5, END]]
    loss = FertilityCrossEntropy()(model, batch(SOURCE[:1], target, [[4, 1, 0, 0]]))
    memory = model.encode(torch.tensor(SOURCE[:1]), torch.tensor([4]))
    counts = scheme(model).logits(memory)[0].log_softmax(-1)
    words = model.output(scheme(model).write(torch.tensor([[4, 1, 0, 0]]), memory)[0])[0].log_softmax(-1)
    expected = counts[0, 2] + counts[1, 1] + counts[2, 0]
    expected = expected + sum(words[t, w] for t, w in enumerate(target[0][:-1]))
    assert value(loss) == pytest.approx(-value(expected), abs=1e-4)


def test_rows_add_up() -> None:
    model = network("fertility")
    both = value(FertilityCrossEntropy()(model, batch(SOURCE, TARGET, FERTILITIES)))
    each = [
        value(FertilityCrossEntropy()(model, batch([s], [t], [f])))
        for s, t, f in zip(SOURCE, TARGET, FERTILITIES, strict=True)
    ]
    assert both == pytest.approx(sum(each), abs=1e-4)


def test_the_loss_reaches_every_parameter() -> None:
    model = network("fertility").train()
    FertilityCrossEntropy()(model, batch(SOURCE, TARGET, FERTILITIES)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
