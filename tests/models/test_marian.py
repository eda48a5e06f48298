"""The whole model against transformers' MarianMTModel, built offline from a configuration.

Traps: its activation is GELU by default, its sinusoids lie in halves, its decoder starts with padding,
and it adds a bias to the logits.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Transformer
from tests.tiny import padded, randomise, transformer

transformers = pytest.importorskip("transformers")

WORDS, WIDTH, HEADS, INNER, PAD, END = 17, 12, 3, 20, 0, 3
SOURCE = [[5, 7, 9, 16, 4, END], [8, 6, END], [11, 12, 13, 4, END]]
TARGET = [[PAD, 6, 5, 14, 9], [PAD, 8, 15, 4, 4], [PAD, 7, 7, 10, 12]]  # the decoder starts with padding


def marian(*, activation: str = "relu", dtype: torch.dtype = torch.float64, to_end: float = 3.0) -> Any:
    """to_end: bias of the end symbol, so that a search ends by itself before the length limit."""
    torch.manual_seed(1)
    config = transformers.MarianConfig(
        vocab_size=WORDS,
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER,
        activation_function=activation,
        scale_embedding=True,
        max_position_embeddings=40,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=PAD,
        forced_eos_token_id=None,
        attn_implementation="sdpa",
    )
    model = transformers.MarianMTModel(config).to(dtype).eval()
    positions = [model.model.encoder.embed_positions.weight, model.model.decoder.embed_positions.weight]
    frozen = [weight.clone() for weight in positions]
    randomise(model, seed=1)
    with torch.no_grad():
        for weight, kept in zip(positions, frozen, strict=True):
            weight.copy_(kept)
        model.final_logits_bias.copy_(torch.randn(1, WORDS, generator=torch.Generator().manual_seed(8)))
        model.final_logits_bias[0, END] = to_end
    return model


def copy(to: nn.Module, *sources: nn.Module) -> None:
    for name in ("weight", "bias"):
        parts = torch.cat([getattr(source, name) for source in sources])
        assert getattr(to, name).shape == parts.shape
        getattr(to, name).copy_(parts)


@torch.no_grad()
def ours(theirs: Any, *, activation: str = "relu") -> Transformer:
    words = Vocabulary(WORDS, WORDS, pad=PAD, start=PAD, end=END, shared=True)
    model = transformer(
        words=words,
        dtype=theirs.dtype,
        width=WIDTH,
        heads=HEADS,
        feed_forward=INNER,
        activation=activation,
        sinusoid_layout="halves",
    )
    model.output.bias = nn.Parameter(theirs.final_logits_bias[0].clone())
    model.output.weight.copy_(theirs.lm_head.weight)
    for side, layers in (("encoder", model.encoder.layers), ("decoder", model.decoder)):
        for mine, other in zip(layers, getattr(theirs.model, side).layers, strict=True):
            own = other.self_attn
            copy(mine.self_attention.query_key_value, own.q_proj, own.k_proj, own.v_proj)
            copy(mine.self_attention.output, own.out_proj)
            copy(mine.self_attention_residual.norm, other.self_attn_layer_norm)
            copy(mine.feed_forward.inner, other.fc1)
            copy(mine.feed_forward.outer, other.fc2)
            copy(mine.feed_forward_residual.norm, other.final_layer_norm)
            if side == "decoder":
                cross = other.encoder_attn
                copy(mine.cross_attention.query, cross.q_proj)
                copy(mine.cross_attention.key_value, cross.k_proj, cross.v_proj)
                copy(mine.cross_attention.output, cross.out_proj)
                copy(mine.cross_attention_residual.norm, other.encoder_attn_layer_norm)
    return model


def their_logits(model: Any) -> Tensor:
    ids, lengths = padded(SOURCE)
    mask = (torch.arange(ids.size(1)) < lengths[:, None]).long()
    logits: Tensor = model(
        input_ids=ids, attention_mask=mask, decoder_input_ids=torch.tensor(TARGET), use_cache=False
    ).logits
    return logits


@pytest.mark.parametrize(("theirs", "mine"), [("relu", "relu"), ("swish", "silu"), ("gelu", "gelu")])
def test_logits_equal_marian(theirs: str, mine: str) -> None:
    other = marian(activation=theirs)
    model = ours(other, activation=mine)
    with torch.no_grad():
        logits = model(torch.tensor(TARGET), model.encode(*padded(SOURCE)))
        torch.testing.assert_close(logits, their_logits(other), rtol=0, atol=1e-10)


def test_logits_equal_marian_in_float32() -> None:
    other = marian(dtype=torch.float32)
    model = ours(other)
    with torch.no_grad():
        logits = model(torch.tensor(TARGET), model.encode(*padded(SOURCE)))
        torch.testing.assert_close(logits, their_logits(other), rtol=0, atol=1e-5)


def test_gradients_equal_marian() -> None:
    other = marian()
    model = ours(other)
    their_logits(other).square().sum().backward()
    model(torch.tensor(TARGET), model.encode(*padded(SOURCE))).square().sum().backward()
    gradient = model.output.weight.grad  # of the three uses of the tied matrix
    assert gradient is not None
    learned = torch.arange(WORDS) != PAD  # Marian's row of the padding, with which it starts, stays as it is
    torch.testing.assert_close(gradient[learned], other.lm_head.weight.grad[learned], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("beam", "alpha", "to_end"), [(1, 0.0, 4.0), (3, 1.0, 4.0), (4, 0.6, 3.0), (4, 0.0, 3.0), (4, 0.0, 4.0)]
)
def test_searching_finds_what_marian_generates(beam: int, alpha: float, to_end: float) -> None:
    """Same stopping rule, same penalty (power, the end symbol counted), so the same results and scores."""
    other = marian(to_end=to_end)
    model = ours(other)
    ids, lengths = padded(SOURCE)
    expected = other.generate(
        input_ids=ids,
        attention_mask=(torch.arange(ids.size(1)) < lengths[:, None]).long(),
        num_beams=beam,
        num_return_sequences=beam,
        length_penalty=alpha,
        early_stopping=False,
        do_sample=False,
        max_new_tokens=30,
        suppress_tokens=[PAD],
        return_dict_in_generate=True,
        output_scores=True,
    )
    options = DecodingConfig(beam=beam, nbest=beam, length_penalty="power", alpha=alpha, max_length=30)
    found = [one for results in search(model, ids, lengths, options=options) for one in results]
    theirs = []
    for row in expected.sequences.tolist():
        assert END in row, "a test of the stopping rule needs results that end by themselves"
        theirs.append(tuple(row[1 : row.index(END)]))
    assert [one.tokens for one in found] == theirs
    if beam > 1:
        scores = torch.tensor([one.score for one in found])
        torch.testing.assert_close(scores, expected.sequences_scores.float(), rtol=0, atol=1e-5)
