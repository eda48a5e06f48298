"""Models that read frames: padding, steps against the whole, and what takes part."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import ctc_loss

from saccade.models.recogniser import TransformerRecogniser
from saccade.nn.rows import RowLayout, Rows
from saccade.text.batching import PaddedColumn
from saccade.text.translation import translation_batch
from saccade.training.recognition import TranscriptLoss
from tests.framed import WIDTH, frame_classifier, recogniser

RECOGNISERS: dict[str, dict[str, Any]] = {
    "strides": {},
    "no convolution": {"strides": []},
    "pre-norm, rotary": {"norm": "pre", "positions": "rotary"},
    "learned": {"positions": "learned", "max_positions": 40, "strides": [2, 2]},
}


def frames(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    x = torch.randn(len(lengths), max(lengths), WIDTH, dtype=torch.float64)
    return x, torch.tensor(lengths)


@pytest.mark.parametrize("name", RECOGNISERS)
def test_a_recogniser_writes_step_by_step_what_it_reads_at_once(name: str) -> None:
    network = recogniser(**RECOGNISERS[name]).network
    assert isinstance(network, TransformerRecogniser)
    body = network.body
    x, lengths = frames(11, 6)
    target = torch.tensor([[2, 4, 5, 6], [2, 7, 4, 4]])
    with torch.inference_mode():
        memory = body.encode(x, lengths)
        whole = body.output(body.decode(target, memory))
        state = body.start(memory, 4)
        for place in range(4):
            logits, state = body.step(target[:, place], state)
            torch.testing.assert_close(logits, whole[:, place])
            state = state.select(Rows(torch.arange(2), None, RowLayout.even(2, 1)))


@pytest.mark.parametrize("name", RECOGNISERS)
def test_padding_changes_nothing(name: str) -> None:
    network = recogniser(**RECOGNISERS[name]).network
    assert isinstance(network, TransformerRecogniser)
    x, lengths = frames(11, 6)
    target = torch.tensor([[2, 4, 5], [2, 4, 5]])
    together = network.body.decode(target, network.body.encode(x, lengths))[1]
    alone = network.body.decode(target[1:], network.body.encode(x[1:, :6], lengths[1:]))[0]
    torch.testing.assert_close(together, alone)


def test_the_decoder_is_that_of_the_transformer_and_every_parameter_takes_part() -> None:
    network = recogniser().network
    assert isinstance(network, TransformerRecogniser)
    x, lengths = frames(11, 6)
    network.body(torch.tensor([[2, 4], [2, 5]]), network.body.encode(x, lengths)).square().sum().backward()
    assert not [key for key, one in network.named_parameters() if one.grad is None]
    assert network.output is network.body.output
    assert recogniser(positions="learned", max_positions=5, strides=[2, 3]).network.max_source_length == 30  # type: ignore[union-attr]


def test_the_loss_of_both_heads_is_their_weighted_sum_with_the_ctc_loss_of_torch() -> None:
    network: Any = recogniser(ctc=0.3, strides=[2]).network
    x, lengths = frames(11, 6)
    target = PaddedColumn(torch.tensor([[4, 4, 6, 3], [5, 3, 0, 0]]), torch.tensor([4, 2]), 0, 6)
    batch = translation_batch({"source": PaddedColumn(x, lengths, 0, 17), "target": target}, start=2)
    states = network.body.encode(x, lengths).states
    assert network.positions(lengths).tolist() == [6, 3]
    log_probs = network.ctc(states).log_softmax(-1).transpose(0, 1)
    ids, sizes = torch.tensor([[4, 4, 6], [5, 0, 0]]), torch.tensor([3, 1])
    alone = ctc_loss(log_probs, ids, torch.tensor([6, 3]), sizes, reduction="sum")
    decoder = TranscriptLoss(0.1)(network, batch)
    torch.testing.assert_close(TranscriptLoss(0.1, ctc=0.3)(network, batch), 0.7 * decoder + 0.3 * alone)
    TranscriptLoss(ctc=0.3)(network, batch).backward()
    assert not [key for key, one in network.named_parameters() if one.grad is None]


def test_a_classifier_of_frames_reads_no_padding_and_uses_every_parameter() -> None:
    network: Any = frame_classifier(strides=[2]).network
    x, lengths = frames(9, 4)
    together = network.encode({"source": PaddedColumn(x, lengths, 0, 13)})
    alone = network.encode({"source": PaddedColumn(x[1:, :4], lengths[1:], 0, 4)})
    torch.testing.assert_close(together[1], alone[0])
    network.output(together).square().sum().backward()
    assert not [key for key, one in network.named_parameters() if one.grad is None]
