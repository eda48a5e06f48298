from __future__ import annotations

import math

import torch

from saccade.nn.embedding import Embedding
from saccade.nn.positions import LearnedPositions, SinusoidalPositions, sinusoids


def test_an_embedding_is_scaled_by_the_root_of_the_width_and_positions_are_not() -> None:
    module = Embedding(7, 16, positions=SinusoidalPositions(16), dropout=0.0)
    tokens = torch.tensor([[3, 0, 6], [1, 1, 2]])
    expected = module.tokens.weight[tokens] * math.sqrt(16) + sinusoids(3, 16)
    assert torch.equal(module(tokens), expected)


def test_embeddings_need_not_be_scaled() -> None:
    module = Embedding(7, 16, positions=SinusoidalPositions(16), dropout=0.0, scale=1.0)
    tokens = torch.tensor([[3, 0, 6]])
    assert torch.equal(module(tokens), module.tokens.weight[tokens] + sinusoids(3, 16))


def test_positions_count_from_start() -> None:
    module = Embedding(7, 16, positions=LearnedPositions(16, length=9), dropout=0.0)
    tokens = torch.tensor([[3, 0, 6, 5]])
    assert torch.equal(module(tokens)[:, 2:], module(tokens[:, 2:], start=2))


def test_scaled_embeddings_start_with_the_size_of_positions() -> None:
    torch.manual_seed(0)
    module = Embedding(2000, 64, positions=SinusoidalPositions(64), dropout=0.0)
    scaled = module.tokens.weight.detach() * module.scale
    assert abs(float(scaled.std()) - 1) < 0.02


def test_dropout_acts_on_the_sum_of_embedding_and_position() -> None:
    torch.manual_seed(0)
    module = Embedding(7, 64, positions=SinusoidalPositions(64), dropout=0.5)
    tokens = torch.randint(7, (4, 20))
    dropped = module.train()(tokens)
    whole = module.eval()(tokens)
    zero = dropped == 0
    assert 0.45 < float(zero.double().mean()) < 0.55
    torch.testing.assert_close(dropped[~zero], 2 * whole[~zero])
