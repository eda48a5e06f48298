"""Taggers of words: what every kind of them has to keep, and the convolutional feed-forward network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.models import build_model, model_config
from saccade.models.recording import record_attention
from saccade.models.tagger import WordTagger
from saccade.nn.layers import BlockSettings, ConvolutionalFeedForward, EncoderLayer
from saccade.nn.spelling import SPELLING_SIZE
from saccade.text.batching import PaddedColumn
from tests.tiny import randomise, vocabulary

SIZES = {"width": 12, "heads": 3, "feed_forward": 10, "spelling": 6, "spelling_embedding": 4, "max_bytes": 6}
CASES: dict[str, dict[str, Any]] = {
    "convolutional": {},
    "position-wise, random field": {"kernel": 1, "crf": True},
    "sinusoidal, post-norm": {"positions": "sinusoidal", "norm": "post"},
    "learned": {"positions": "learned", "max_positions": 9},
    "rotary": {"positions": "rotary"},
    "words alone": {"spelling": 0},
    "lstm": {"encoder": "lstm"},
}
LENGTHS = [5, 2, 7]


def tagger(name: str, **changes: Any) -> WordTagger:
    torch.manual_seed(0)
    table = {"kind": "tagger", "dropout": 0.0, **SIZES, **CASES[name], **changes}
    network = build_model(model_config(table), vocabulary(13, target_size=4))
    assert isinstance(network, WordTagger)
    randomise(network.double())
    return network.eval()


def columns(lengths: list[int], *, seed: int = 0, extra: int = 0) -> dict[str, PaddedColumn]:
    """Random words; extra: columns of padding that hold garbage."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths) + extra
    words = torch.randint(1, 13, (len(lengths), longest), generator=generator)
    spelling = torch.randint(1, SPELLING_SIZE, (len(lengths), longest, 6), generator=generator)
    sizes = torch.tensor(lengths)
    return {
        "source": PaddedColumn(words, sizes, 0, sum(lengths)),
        "spelling": PaddedColumn(spelling, sizes, 0, sum(lengths)),
    }


def rows(found: Tensor, lengths: list[int]) -> list[Tensor]:
    return [one[:length] for one, length in zip(found, lengths, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_a_sentence_is_read_alike_whatever_stands_beside_and_behind_it(name: str) -> None:
    network = tagger(name)
    inputs = columns(LENGTHS, extra=2)
    together = rows(network.encode(inputs), LENGTHS)
    for number, length in enumerate(LENGTHS):
        own = {
            key: PaddedColumn(one.values[number : number + 1, :length], torch.tensor([length]), 0, length)
            for key, one in inputs.items()
        }
        torch.testing.assert_close(together[number], network.encode(own)[0])


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_takes_part(name: str) -> None:
    network = tagger(name)
    inputs = columns(LENGTHS)
    emissions = network.output(network.encode(inputs))
    total = emissions.sum()
    if network.crf is not None:
        total = total + network.crf.log_partition(emissions, torch.tensor(LENGTHS)).sum()
    total.backward()
    unused = [key for key, one in network.named_parameters() if one.grad is None or not one.grad.abs().sum()]
    assert not unused


@pytest.mark.parametrize("name", [name for name in CASES if name != "lstm"])
def test_recorded_attention_sums_to_one_over_the_words(name: str) -> None:
    network = tagger(name)
    with record_attention(network) as maps:
        network.encode(columns(LENGTHS))
    assert [one.layer for one in maps.values()] == [1, 2]
    for one in maps.values():
        assert (one.kind, one.heads) == ("encoder", 3)
        torch.testing.assert_close(one.weights.sum(-1), torch.ones_like(one.weights[..., 0]))
        assert not one.weights[1, :, :, 2:].any()


def test_words_are_left_out_in_training_alone() -> None:
    network = tagger("convolutional", word_dropout=0.9, attention_dropout=0.0)
    network.encoder.embedding.tokens.weight.data.zero_()  # type: ignore[union-attr, operator]
    network.train()
    first = network.encode(columns(LENGTHS))
    torch.testing.assert_close(first, network.encode(columns(LENGTHS)))  # spelling does not change


def test_the_convolutional_network_is_two_convolutions_with_nothing_behind_the_last() -> None:
    torch.manual_seed(0)
    network = ConvolutionalFeedForward(4, 6, kernel=3).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[..., None]
    found = network(x, real=real)

    def slow(vectors: list[Tensor], layer: Any) -> list[Tensor]:
        none = torch.zeros_like(vectors[0])
        framed = [none, *vectors, none]
        return [
            sum((layer.weight[:, :, k] @ framed[at + k] for k in range(3)), start=layer.bias)
            for at in range(len(vectors))
        ]

    for row, length in ((0, 5), (1, 3)):
        hidden = [one.relu() for one in slow(list(x[row, :length]), network.inner)]
        expected = torch.stack(slow(hidden, network.outer))
        torch.testing.assert_close(found[row, :length], expected)
    assert bool((found < 0).any())  # no ReLU behind the last layer


def test_a_kernel_has_a_middle_and_sees_no_future() -> None:
    with pytest.raises(ValueError, match="kernel 2 is even"):
        ConvolutionalFeedForward(4, 6, kernel=2)
    with pytest.raises(ValueError, match="would see later positions"):
        EncoderLayer(BlockSettings(4, 2, 6, kernel=3), causal=True)


def test_equal_parameters_for_a_third_of_the_inner_size() -> None:
    wide = sum(one.numel() for one in tagger("convolutional", kernel=1, feed_forward=30).parameters())
    narrow = sum(one.numel() for one in tagger("convolutional", kernel=3, feed_forward=10).parameters())
    assert wide - narrow == 2 * (30 - 10)  # the biases of the inner layer
