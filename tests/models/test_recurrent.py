"""The recurrent model against loops from the papers, and what is particular to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saccade.errors import UserError
from saccade.models import build_model, model_config
from saccade.models.recurrent import PRESETS, Recurrent, RecurrentConfig, RecurrentMemory
from saccade.nn.scores import Alignment
from tests.kinds import KINDS, network
from tests.reference.recurrent import Reference
from tests.tiny import padded, recorded_weights, sentences, vocabulary

RECURRENT = [name for name in KINDS if name.startswith("recurrent")]
WITHOUT = [name for name in RECURRENT if "none" in name]


def logits(model: Recurrent, source: list[list[int]], target: list[list[int]]) -> Tensor:
    return model(padded(target)[0], model.encode(*padded(source)))


# --- against loops written from the papers -------------------------------------------------------


@pytest.mark.parametrize("feeding", [None, False])
@pytest.mark.parametrize("attention", ["additive", "dot", "general", "concat", "none"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [(1, 1), (2, 3)])
def test_the_model_equals_loops_written_from_the_papers(
    cell: str, attention: str, feeding: bool | None, layers: tuple[int, int]
) -> None:
    model = network(
        "recurrent, none",
        cell=cell,
        attention=attention,
        input_feeding=feeding,
        encoder_layers=layers[0],
        decoder_layers=layers[1],
    )
    reference = Reference(
        weights={name: tensor.numpy() for name, tensor in model.state_dict().items()},
        cell=cell,
        attention=attention,
        feeding=model.config.feeds,
        encoder_layers=layers[0],
        decoder_layers=layers[1],
    )
    source, target = sentences([5, 2], seed=1), sentences([3, 4], seed=2)
    with recorded_weights(model) as maps:
        ours = logits(model, source, target).detach().numpy()
    for row in range(2):
        annotations = reference.encode(source[row])
        expected, looks = reference.logits(target[row], annotations)
        assert np.abs(ours[row, : len(target[row])] - expected).max() < 1e-11
        if attention != "none":
            found = maps["decoder.cross_attention"][row, 0, : len(target[row]), : len(source[row])]
            assert np.abs(found.numpy() - looks).max() < 1e-12


# --- one fixed vector ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITHOUT)
def test_without_attention_the_decoder_has_one_vector_of_the_source_whatever_its_length(kind: str) -> None:
    model = network(kind)
    for length in (1, 4, 30):
        memory = model.encode(*padded(sentences([length, length])))
        shapes = {name: x.shape for name, x in vars(memory).items() if x is not None}
        assert shapes == {"annotations": (2, 1, 12), "summary": (2, 12)}
        assert memory.annotations.data_ptr() == memory.summary.data_ptr(), "the same numbers"
    assert not any(isinstance(module, Alignment) for module in model.modules())


@pytest.mark.parametrize("kind", WITHOUT)
def test_without_attention_sources_of_one_vector_get_one_translation(kind: str) -> None:
    """The whole decoder is a function of the vector: put another sentence's vector in its place."""
    model = network(kind)
    target = padded(sentences([5], seed=1))[0]
    short, long = (model.encode(*padded(sentences([length]))) for length in (2, 9))
    vector = short.summary.clone()
    swapped = replace(long, annotations=vector[:, None], summary=vector)
    assert torch.equal(model(target, swapped), model(target, short))
    assert not torch.equal(model(target, long), model(target, short))


@pytest.mark.parametrize("kind", WITHOUT)
def test_without_attention_no_more_than_the_vectors_width_passes(kind: str) -> None:
    """The derivative of all outputs by all source embeddings has at most the vector's rank."""
    model = network(kind, width=4)
    held: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> Tensor:
        held.append(out.detach().requires_grad_())
        return held[-1]

    model.source_embedding.register_forward_hook(keep)
    out = logits(model, sentences([7]), sentences([6], seed=1)).flatten()
    rows = [torch.autograd.grad(one, held[-1], retain_graph=True)[0].flatten() for one in out]
    assert int(torch.linalg.matrix_rank(torch.stack(rows), rtol=1e-9)) == 4


def test_with_attention_more_than_the_first_states_width_passes() -> None:
    model = network("recurrent, additive", width=4, encoder_width=4)
    held: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> Tensor:
        held.append(out.detach().requires_grad_())
        return held[-1]

    model.source_embedding.register_forward_hook(keep)
    out = logits(model, sentences([7]), sentences([6], seed=1)).flatten()
    rows = [torch.autograd.grad(one, held[-1], retain_graph=True)[0].flatten() for one in out]
    assert int(torch.linalg.matrix_rank(torch.stack(rows), rtol=1e-9)) > 4


# --- where attention stands ----------------------------------------------------------------------


def first_and_second_queries(kind: str, **changes: Any) -> tuple[Tensor, Tensor]:
    """Attention maps of two targets that differ in their last token alone."""
    model = network(kind, **changes)
    with recorded_weights(model) as maps:
        logits(model, [[5, 7, 9, 3]] * 2, [[2, 5, 6], [2, 5, 11]])
    first, second = maps["decoder.cross_attention"]
    return first[0], second[0]


def test_additive_attention_asks_with_the_state_before_the_token() -> None:
    """s_{i-1}, not s_i: where to look is decided before the token of this step is read."""
    first, second = first_and_second_queries("recurrent, additive")
    torch.testing.assert_close(first, second, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", ["recurrent, dot", "recurrent, general, lstm"])
def test_luongs_attention_asks_with_the_state_behind_the_token(kind: str) -> None:
    first, second = first_and_second_queries(kind)
    torch.testing.assert_close(first[:2], second[:2], rtol=0, atol=1e-13)
    assert not torch.allclose(first[2], second[2], rtol=0, atol=1e-6)


def test_what_is_fed_in_is_what_attention_found() -> None:
    """With input feeding annotations reach the decoder's states; without it, only the summary does."""
    for feeding in (True, False):
        model = network("recurrent, dot", input_feeding=feeding)
        memory = model.encode(*padded([[5, 7, 9, 3]]))
        other = RecurrentMemory(memory.annotations + 0.3, memory.visible, memory.summary)
        states = []
        for one in (memory, other):
            state = model.start(one, 2)
            for _ in range(2):
                _, state = model.step(torch.tensor([5]), state)
            states.append(state.hidden[-1][0])
        assert torch.equal(*states) is not feeding


@pytest.mark.parametrize("kind", RECURRENT)
def test_the_decoder_starts_from_the_encoders_summary(kind: str) -> None:
    model = network(kind)
    memory = model.encode(*padded(sentences([5, 2])))
    hidden = model.start(memory, 3).hidden
    expected = (memory.summary @ model.initial.weight.T + model.initial.bias).tanh()
    assert torch.equal(torch.cat([part for layer in hidden for part in layer], -1), expected)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"attention": "none", "input_feeding": True}, "no attentional vector to feed"),
        ({"attention": "additive", "input_feeding": True}, "set attention = concat"),
        ({"attention": "dot", "attention_width": 8}, "attention = dot has no hidden layer"),
        ({"attention": "general", "attention_width": 8}, "attention = general has no hidden layer"),
        ({"attention": "none", "attention_width": 8}, "attention = none has no hidden layer"),
        ({"attention": "dot", "width": 12, "encoder_width": 12}, "or set attention = general"),
        ({"width": 13}, "width 13 is odd, so it can't be halved: set encoder_width"),
        ({"heads": 4}, "model.heads = 4"),
        ({"cell": "elman"}, "model.cell"),
        ({"preset": "big"}, "allowed for kind recurrent are tiny, small, base"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(table: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        model_config({"kind": "recurrent", **table})
    assert message in str(caught.value)


@pytest.mark.parametrize("attention", ["additive", "dot", "general", "concat", "none"])
def test_input_feeding_is_luongs_unless_told(attention: str) -> None:
    fed = {"dot", "general", "concat"}
    for told, expected in ((None, attention in fed), (False, False)):
        config = RecurrentConfig(attention=attention, input_feeding=told)  # type: ignore[arg-type]
        assert config.feeds is expected


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 2.5), ("small", 7.8), ("base", 46.6)])
def test_presets_have_about_the_transformers_size(preset: str, millions: float) -> None:
    assert set(PRESETS) == {"tiny", "small", "base"}
    words = vocabulary(10_000)
    counts = {}
    for kind in ("recurrent", "transformer"):
        with torch.device("meta"):
            built: Any = build_model(model_config({"kind": kind, "preset": preset}), words)
        counts[kind] = sum(parameter.numel() for parameter in built.parameters())
    assert round(counts["recurrent"] / 1e6, 1) == millions
    assert abs(counts["recurrent"] / counts["transformer"] - 1) < 0.06


@pytest.mark.parametrize(("tied", "matrices"), [(None, 1), ("all", 1), ("target", 2), ("none", 3)])
def test_embeddings_are_tied_as_told(tied: str | None, matrices: int) -> None:
    model = network("recurrent, additive", tied_embeddings=tied)
    weights = (model.source_embedding.tokens, model.target_embedding.tokens, model.output)
    assert len({module.weight.data_ptr() for module in weights}) == matrices


def test_all_cannot_be_tied_with_two_vocabularies() -> None:
    with pytest.raises(UserError, match="one vocabulary"):
        network("recurrent, additive", tied_embeddings="all", words=vocabulary(13, target_size=13))


def test_there_is_no_limit_of_length() -> None:
    model = network("recurrent, additive")
    assert (model.max_source_length, model.max_target_length) == (None, None)


@pytest.mark.parametrize("kind", RECURRENT)
def test_fresh_logits_are_moderate(kind: str) -> None:
    """At the start the loss is near that of guessing: log of the vocabulary."""
    torch.manual_seed(0)
    changes = {"width": 64, "embedding": 48, "encoder_width": 32, "dropout": 0.0}
    model: Any = build_model(model_config({**KINDS[kind], **changes}), vocabulary(200)).eval()  # type: ignore[attr-defined]
    source, target = sentences([9] * 8, size=200), sentences([7] * 8, seed=1, size=200)
    loss = nn.functional.cross_entropy(logits(model, source, target).flatten(0, 1), torch.randint(200, (56,)))
    assert abs(loss.item() - np.log(200)) < 1.0


# --- precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RECURRENT)
def test_bfloat16_autocast_trains_and_keeps_states_in_float32(kind: str) -> None:
    model = network(kind, dtype=torch.float32).train()
    with torch.autocast("cpu", torch.bfloat16):
        memory = model.encode(*padded(sentences([6, 3])))
        out = model(padded(sentences([5, 4], seed=1))[0], memory)
        _, state = model.step(torch.tensor([5, 6]), model.start(memory, 3))
    out.float().square().sum().backward()
    exact = logits(model, sentences([6, 3]), sentences([5, 4], seed=1))
    assert float((out - exact).detach().abs().max()) < 0.05 * float(exact.detach().abs().max())
    assert all(part.dtype == torch.float32 for layer in state.hidden for part in layer)
    assert all(parameter.grad is not None for parameter in model.parameters())
