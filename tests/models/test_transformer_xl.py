"""Transformer-XL against the published implementation, and what its memory promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from saccade.errors import UserError
from saccade.models import build_model, model_config
from saccade.models.transformer_xl import TransformerXL, TransformerXLConfig
from tests.tiny import exact_positions, randomise, vocabulary

PUBLISHED = load_file(Path(__file__).parents[1] / "reference" / "transformer_xl.safetensors")
"""Written by tests/reference/write_transformer_xl.py with transformers 4.35.2."""


def network(**changes: Any) -> TransformerXL:
    """In float64 and evaluation mode."""
    sizes = {"width": 12, "heads": 3, "feed_forward": 20, "layers": 3, "dropout": 0.0}
    torch.manual_seed(0)
    model = TransformerXL(TransformerXLConfig(**{**sizes, **changes}), vocabulary()).double()
    randomise(model)
    exact_positions(model)
    return model.eval()


def read(model: Any, tokens: Tensor, *, segment: int) -> Tensor:
    memory, found = model.start(len(tokens)), []
    for piece in tokens.split(segment, 1):
        hidden, memory = model.read(piece, memory)
        found.append(hidden)
    return torch.cat(found, 1)


def text(length: int, *, rows: int = 2) -> Tensor:
    return torch.randint(4, 13, (rows, length), generator=torch.Generator().manual_seed(5))


# --- the published implementation ----------------------------------------------------------------

THEIRS = {
    "dec_attn.r_w_bias": "self_attention.content_bias",
    "dec_attn.r_r_bias": "self_attention.distance_bias",
    "dec_attn.o_net.weight": "self_attention.output.weight",
    "dec_attn.r_net.weight": "self_attention.distance.weight",
    "dec_attn.layer_norm.weight": "self_attention_residual.norm.weight",
    "dec_attn.layer_norm.bias": "self_attention_residual.norm.bias",
    "pos_ff.CoreNet.0.weight": "feed_forward.inner.weight",
    "pos_ff.CoreNet.0.bias": "feed_forward.inner.bias",
    "pos_ff.CoreNet.3.weight": "feed_forward.outer.weight",
    "pos_ff.CoreNet.3.bias": "feed_forward.outer.bias",
    "pos_ff.layer_norm.weight": "feed_forward_residual.norm.weight",
    "pos_ff.layer_norm.bias": "feed_forward_residual.norm.bias",
}


def published(**settings: Any) -> TransformerXL:
    sizes = {"width": 16, "heads": 4, "feed_forward": 24, "layers": 3, "dropout": 0.0}
    model = TransformerXL(TransformerXLConfig(**sizes, **settings), vocabulary(29))
    own = model.state_dict()
    for name, tensor in PUBLISHED.items():
        kind, _, name = name.partition("/")  # noqa: PLW2901
        if kind != "weights":
            continue
        if name == "word_emb.emb_layers.0.weight":
            own["embedding.tokens.weight"].copy_(tensor)
            continue
        _, number, rest = name.split(".", 2)
        if rest == "dec_attn.qkv_net.weight":
            query, key_value = tensor.split([16, 32])
            own[f"layers.{number}.self_attention.query.weight"].copy_(query)
            own[f"layers.{number}.self_attention.key_value.weight"].copy_(key_value)
        else:
            own[f"layers.{number}.{THEIRS[rest]}"].copy_(
                tensor.view(own[f"layers.{number}.{THEIRS[rest]}"].shape)
            )
    return model.eval()


@pytest.mark.parametrize(
    ("case", "segment", "settings"),
    [
        ("whole", 24, {"memory": 0}),
        ("segments", 4, {"memory": 7}),
        ("long memory", 5, {"memory": 40}),
        ("same length", 4, {"memory": 6, "same_length": True}),
        ("clamped", 3, {"memory": 9, "clamp_length": 5}),
    ],
)
@torch.no_grad()
def test_it_equals_the_published_implementation(case: str, segment: int, settings: dict[str, Any]) -> None:
    hidden = read(published(**settings), PUBLISHED["tokens"], segment=segment)
    torch.testing.assert_close(hidden, PUBLISHED[f"hidden/{case}"], rtol=0, atol=1e-5)


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("segment", [1, 3, 5])
def test_segment_by_segment_equals_the_whole_context(segment: int) -> None:
    model, tokens = network(memory=14), text(14)
    whole, _ = model.read(tokens, model.start(2))
    torch.testing.assert_close(read(model, tokens, segment=segment), whole, rtol=0, atol=1e-12)


def test_with_same_length_the_segment_length_does_not_matter_and_without_it_does() -> None:
    tokens = text(18)
    model = network(memory=4, same_length=True)
    first, *others = (read(model, tokens, segment=segment) for segment in (1, 3, 6))
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-12)
    free = network(memory=4)
    first, *others = (read(free, tokens, segment=segment) for segment in (1, 3, 6))
    assert all(float((other - first).detach().abs().max()) > 0.01 for other in others)


def test_same_length_shows_as_many_keys_as_memory_has() -> None:
    """A stack of 3 layers then reaches 3 x (memory - 1) tokens back, and not one further."""
    model, tokens = network(memory=3, same_length=True), text(12, rows=1)
    before = read(model, tokens, segment=2)[:, -1]
    for place in range(12):
        changed = tokens.clone()
        changed[0, place] = 4 if tokens[0, place] != 4 else 5
        differs = not torch.equal(read(model, changed, segment=2)[:, -1], before)
        assert differs == (11 - place <= 3 * 2), place


def test_memory_reaches_layers_times_memory_back() -> None:
    model, tokens = network(memory=2), text(12, rows=1)
    before = read(model, tokens, segment=1)[:, -1]
    for place in range(12):
        changed = tokens.clone()
        changed[0, place] = 4 if tokens[0, place] != 4 else 5
        differs = not torch.equal(read(model, changed, segment=1)[:, -1], before)
        assert differs == (11 - place <= 3 * 2), place


def test_shifting_the_text_changes_nothing() -> None:
    """Distances are all that is known of places: what stands before an empty memory counts for nothing."""
    model, tokens = network(memory=8), text(9)
    alone, _ = model.read(tokens[:, 4:], model.start(2))
    _, memory = model.read(tokens[:, :4], model.start(2))
    after, _ = model.read(tokens[:, 4:], memory)
    cut, _ = model.read(tokens[:, 4:], tuple(states[:, states.size(1) :] for states in memory))
    assert torch.equal(alone, cut)
    assert not torch.allclose(alone, after, atol=1e-3)


def test_the_shared_vectors_and_every_weight_learn() -> None:
    model = network(memory=3)
    _, memory = model.read(text(4), model.start(2))
    hidden, _ = model.read(text(4), memory)
    model.output(hidden).log_softmax(-1)[..., 5].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name


def test_clamped_distances_count_as_one() -> None:
    torch.manual_seed(0)
    one, other = network(memory=20, clamp_length=4), network(memory=20)
    tokens = text(5)
    torch.testing.assert_close(read(one, tokens, segment=5), read(other, tokens, segment=5))
    tokens = text(12)
    assert not torch.allclose(read(one, tokens, segment=5), read(other, tokens, segment=5), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 20, "heads": 3}, "not a multiple"),
        ({"width": 15, "heads": 5}, "is odd"),
        ({"same_length": True, "memory": 0}, "same_length"),
        ({"memory": -1}, "model.memory = -1"),
        ({"clamp_length": 0}, "model.clamp_length = 0"),
        ({"kind": "transformer-lm", "width": 20, "heads": 3}, "not a multiple"),
        ({"kind": "transformer-lm", "width": 15, "heads": 5}, "is odd"),
        ({"kind": "recurrent-lm", "cell": "rnn"}, "model.cell"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_config({"kind": "transformer-xl", **settings})


def test_the_base_model_has_the_authors_size() -> None:
    """Each layer: 5 products of attention, two vectors, feed-forward with biases, two norms."""
    width, inner = 410, 2100
    layer = 5 * width**2 + 2 * width + 2 * width * inner + inner + width + 4 * width
    with torch.device("meta"):
        model: Any = build_model(model_config({"kind": "transformer-xl", "preset": "base"}), vocabulary(1000))
    assert sum(p.numel() for p in model.parameters()) == 16 * layer + 1000 * width + 1000
