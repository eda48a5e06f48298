"""Models that read frames: padding, steps against the whole, and what takes part."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from saccade.models.recogniser import TransformerRecogniser
from saccade.nn.rows import RowLayout, Rows
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


def test_a_classifier_of_frames_reads_no_padding_and_uses_every_parameter() -> None:
    from saccade.text.batching import PaddedColumn

    network: Any = frame_classifier(strides=[2]).network
    x, lengths = frames(9, 4)
    together = network.encode({"source": PaddedColumn(x, lengths, 0, 13)})
    alone = network.encode({"source": PaddedColumn(x[1:, :4], lengths[1:], 0, 4)})
    torch.testing.assert_close(together[1], alone[0])
    network.output(together).square().sum().backward()
    assert not [key for key, one in network.named_parameters() if one.grad is None]
