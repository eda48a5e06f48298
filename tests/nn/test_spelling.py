"""Vectors of words from their bytes, against a plain loop."""

from __future__ import annotations

import torch

from saccade.nn.spelling import SPELLING_SIZE, SpellingEncoder


def test_a_word_is_the_maximum_over_a_convolution_of_its_bytes() -> None:
    torch.manual_seed(0)
    encoder = SpellingEncoder(4, 6, kernel=3, dropout=0.0).double().eval()
    words = torch.tensor([[[1, 70, 80, 90, 2], [1, 100, 2, 0, 0]], [[1, 70, 80, 90, 2], [0, 0, 0, 0, 0]]])
    found = encoder(words)
    weight, bias = encoder.convolution.weight, encoder.convolution.bias
    assert bias is not None
    for row in range(2):
        for place in range(2):
            ids = [int(one) for one in words[row, place] if one]
            vectors = [torch.zeros(4).double(), *(encoder.bytes.weight[one] for one in ids)]
            vectors += [torch.zeros(4).double()] * 2
            seen = [
                sum((weight[:, :, k] @ vectors[at + k] for k in range(3)), start=bias)
                for at in range(len(ids))
            ]
            expected = torch.stack(seen).amax(0) if seen else torch.zeros(6).double()
            torch.testing.assert_close(found[row, place], expected)


def test_all_bytes_have_an_embedding() -> None:
    encoder = SpellingEncoder(4, 6, kernel=3, dropout=0.1).eval()
    words = torch.arange(SPELLING_SIZE).view(1, 1, -1)
    assert encoder(words).shape == (1, 1, 6)
