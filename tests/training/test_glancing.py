"""CTC with glancing: the loss is every path's, and as much is revealed as the paper says."""

from __future__ import annotations

import math

import pytest
import torch

from saccade.nn.ctc_loss import Slots
from saccade.training.glancing import GlancingCtc, reveal
from tests.models.test_nonautoregressive import network
from tests.reference.nonautoregressive import best_path, ctc_log_prob
from tests.tiny import END, batch, scheme, sentences, value

SOURCE, TARGET = sentences([4, 3], size=6), [[5, 4, 5, END], [4, END]]


def test_without_glancing_the_loss_is_minus_log_of_the_sum_over_every_path() -> None:
    model = network("ctc", size=6)
    total = 0.0
    for source, target in zip(SOURCE, TARGET, strict=True):
        hidden, _ = scheme(model).write(model.encode(torch.tensor([source]), torch.tensor([len(source)])))
        total -= ctc_log_prob(model.output(hidden)[0].log_softmax(-1).detach(), target[:-1], 0)
    assert value(GlancingCtc()(model, batch(SOURCE, TARGET))) == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_as_many_slots_are_revealed_as_the_share_of_the_hamming_distance(share: float) -> None:
    torch.manual_seed(1)
    slots, lengths = torch.tensor([5, 3, 1]), torch.tensor([3, 1, 2])
    pieces = torch.tensor([[1, 2, 2], [2, 0, 0], [1, 1, 0]])
    log_probs = torch.randn(3, 5, 3, dtype=torch.float64).log_softmax(-1)
    noise = torch.rand(3, 5)
    classes = torch.cat([torch.zeros_like(pieces[:, :1]), pieces], 1)
    values = log_probs.gather(2, classes[:, None].expand(-1, 5, -1))
    part = Slots(log_probs, pieces, slots, lengths)
    found = reveal(values, log_probs.argmax(-1), part, noise=noise, share=share, blank=0)
    for row in range(2):
        length = int(slots[row])
        path = best_path(log_probs[row, :length], pieces[row, : lengths[row]].tolist(), 0)
        said = log_probs[row, :length].argmax(-1).tolist()
        wrong = sum(a != b for a, b in zip(path, said, strict=True))
        assert wrong
        shown = [slot for slot in range(5) if found[row, slot] >= 0]
        assert len(shown) == math.floor(share * wrong)
        assert all(int(found[row, slot]) == path[slot] for slot in shown)
        assert shown == sorted(sorted(range(length), key=lambda slot: noise[row, slot])[: len(shown)])
    assert found[2].tolist() == [-1] * 5, "a target without room shows nothing"


def test_both_passes_have_the_same_dropout_and_the_draws_go_on() -> None:
    model = network("ctc", dropout=0.3).train()
    given = batch(sentences([7, 5]), sentences([6, 4], seed=1))
    seen: list[torch.Tensor] = []
    decode = model.decode

    def watched(*read: object, revealed: torch.Tensor | None = None) -> object:
        hidden = decode(*read)  # nothing revealed: then both passes are one
        seen.append(hidden.detach())
        return hidden

    model.decode = watched
    torch.manual_seed(0)
    objective = GlancingCtc(share=(0.5, 0.5))
    objective(model, given)
    objective(model, given)
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[0], seen[2])


def test_the_share_falls_in_a_line_and_nothing_is_revealed_outside_training() -> None:
    model = network("ctc")
    given = batch(sentences([7, 5]), sentences([6, 4], seed=1))
    plain = value(GlancingCtc()(model, given))
    objective = GlancingCtc(share=(1.0, 0.0))
    assert value(objective(model, given)) == plain
    model.train()
    assert value(objective(model, given)) != plain
    objective.at(1.0)
    assert value(objective(model, given)) == plain


def test_label_smoothing_adds_the_mean_over_the_vocabulary() -> None:
    model = network("ctc")
    given = batch(sentences([7, 5]), sentences([6, 4], seed=1))
    memory = model.encode(given["source"].values, given["source"].lengths)
    hidden, slots = scheme(model).write(memory)
    log_probs = model.output(hidden).log_softmax(-1)
    spread = -sum(log_probs[row, : slots[row]].mean(-1).sum().item() for row in range(2))
    plain = value(GlancingCtc()(model, given))
    smooth = value(GlancingCtc(label_smoothing=0.2)(model, given))
    assert smooth == pytest.approx(0.8 * plain + 0.2 * spread, abs=1e-4)


def test_a_target_without_room_counts_nothing_and_harms_no_gradient() -> None:
    model = network("ctc").train()
    given = batch(sentences([2, 5]), sentences([9, 4], seed=1))
    loss = GlancingCtc(share=(0.5, 0.5))(model, given)
    loss.backward()
    assert math.isfinite(value(loss))
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
