"""The masked loss: what is masked, what counts, and where its random numbers come from."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from saccade.training.masked import MaskedCrossEntropy, random_masks
from tests.models.test_nonautoregressive import network
from tests.tiny import END, batch, scheme, sentences, value

SOURCE, TARGET = sentences([4, 6]), [[5, 6, 7, 5, END], [9, 8, END]]


def test_any_number_of_words_is_masked_alike_and_any_words_are() -> None:
    torch.manual_seed(0)
    real = torch.arange(5) < torch.tensor([4, 1])[:, None]
    masks = [random_masks(real, None) for _ in range(4000)]
    counts = Counter(int(mask[0].sum()) for mask in masks)
    assert all(counts[k] / 4000 == pytest.approx(0.25, abs=0.03) for k in (1, 2, 3, 4))
    single = Counter(int(mask[0].int().argmax()) for mask in masks if int(mask[0].sum()) == 1)
    assert all(single[place] / sum(single.values()) == pytest.approx(0.25, abs=0.06) for place in range(4))
    assert all(int(mask[1].sum()) == 1 and not bool(mask[0, 4]) for mask in masks)


def test_the_loss_is_of_the_masked_words_given_the_others_and_of_the_length() -> None:
    model, given = network("mask-predict").train(), batch(SOURCE, TARGET)
    torch.manual_seed(3)
    loss = value(MaskedCrossEntropy()(model, given))
    torch.manual_seed(3)
    _, real = given["target"].without_end()
    masked = random_masks(real, None)
    assert 0 < int(masked.sum()) < int(real.sum())
    total = 0.0
    for row in range(2):
        length = len(TARGET[row]) - 1
        memory = model.encode(torch.tensor([SOURCE[row]]), torch.tensor([len(SOURCE[row])]))
        shown = [scheme(model).mask if masked[row, t] else TARGET[row][t] for t in range(length)]
        words = model.output(scheme(model).write(torch.tensor([shown]), torch.tensor([length]), memory))[0]
        picked = words.log_softmax(-1)
        total -= sum(picked[t, TARGET[row][t]].item() for t in range(length) if masked[row, t])
        difference = length - (len(SOURCE[row]) - 1)
        total -= scheme(model).length_logits(memory)[0].log_softmax(-1)[128 + difference].item()
    assert loss == pytest.approx(total, abs=1e-4)
    assert value(MaskedCrossEntropy(0.1)(model, given)) != pytest.approx(loss, abs=1e-3)


def test_validation_always_masks_alike_and_draws_nothing_from_training() -> None:
    model, given = network("mask-predict"), batch(SOURCE, TARGET)
    before = torch.get_rng_state()
    first, second = (value(MaskedCrossEntropy()(model, given)) for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.get_rng_state())
    model.train()
    assert len({value(MaskedCrossEntropy()(model, given)) for _ in range(4)}) > 1


def test_the_loss_reaches_every_parameter() -> None:
    model = network("mask-predict").train()
    MaskedCrossEntropy()(model, batch(SOURCE, TARGET)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
