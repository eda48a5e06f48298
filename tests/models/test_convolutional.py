"""ConvS2S against loops from the paper, and what is particular to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from saccade.config import dump_toml, load_toml
from saccade.errors import UserError
from saccade.model_folder.checkpoint import unique_tensors
from saccade.models import build_model, model_config
from saccade.models.convolutional import PRESETS, Convolutional
from tests.kinds import KINDS, network
from tests.reference.convolutional import Reference
from tests.tiny import padded, recorded_weights, rows_of, sentences, vocabulary

CONVOLUTIONAL = [name for name in KINDS if name.startswith("convolutional")]


def logits(model: Convolutional, source: list[list[int]], target: list[list[int]]) -> Tensor:
    return model(padded(target)[0], model.encode(*padded(source)))


# --- against loops written from the paper --------------------------------------------------------


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("tied", [None, "none"])
@pytest.mark.parametrize("top", [[], [[16, 3], [9, 1]]])
def test_the_model_equals_loops_written_from_the_paper(
    kernel: int, tied: str | None, top: list[list[int]]
) -> None:
    model = network("convolutional", kernel=kernel, tied_embeddings=tied, top_layers=top)
    kernels = [kernel] * 2 + [one for _, one in top]
    reference = Reference(
        weights={name: tensor.numpy() for name, tensor in model.state_dict().items()},
        encoder_kernels=kernels,
        decoder_kernels=kernels,
    )
    source, target = sentences([7, 2], seed=1), sentences([3, 6], seed=2)
    with recorded_weights(model) as maps:
        ours = logits(model, source, target).detach().numpy()
    for row in range(2):
        expected, looks = reference.logits(target[row], reference.encode(source[row]))
        assert np.abs(ours[row, : len(target[row])] - expected).max() < 1e-11
        for n, look in enumerate(looks):
            found = maps[f"decoder.layers.{n}.cross_attention"][row, 0]
            assert np.abs(found[: len(target[row]), : len(source[row])].numpy() - look).max() < 1e-12


# --- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "kernel"), [(1, 3), (2, 3), (3, 2), (2, 1)])
def test_a_target_position_sees_exactly_its_windows(layers: int, kernel: int) -> None:
    model = network("convolutional", decoder_layers=layers, kernel=kernel)
    target = sentences([9], seed=1)
    before = logits(model, sentences([4]), target)
    reach = layers * (kernel - 1)
    for changed in range(9):
        other = [[4 + (token + 1) % 9 if n == changed else token for n, token in enumerate(target[0])]]
        same = (logits(model, sentences([4]), other) == before).all(-1)[0]
        assert same.tolist() == [not changed <= n <= changed + reach for n in range(9)]


def test_decoding_keeps_the_last_inputs_of_each_layer_and_no_more() -> None:
    model = network("convolutional, widths change, output normed")
    state = model.start(model.encode(*padded(sentences([4, 2]))), 50)
    for _ in range(9):
        _, state = model.step(torch.tensor([5, 6]), state)
        assert [tuple(past.shape) for past in state.past] == [(2, 3, 12), (2, 3, 12), (2, 2, 12), (2, 0, 16)]
    state = state.select(rows_of([[0, 0, 0], [1, 1, 1]], state.layout))
    assert state.past[0].shape == (6, 3, 12)


def test_the_context_is_scaled_by_the_real_length() -> None:
    """Not by the padded one, which other sentences of the batch decide."""
    memory = network("convolutional").encode(*padded(sentences([9, 4])))
    assert memory.source[2].flatten().tolist() == [3.0, 2.0]


# --- weight norm ---------------------------------------------------------------------------------


def test_every_product_is_normed_and_matrices_that_embed_are_not() -> None:
    for tied, normed_output in ((None, False), ("none", True)):
        model = network("convolutional", tied_embeddings=tied)
        products = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear | nn.Conv1d)
        }
        assert len(products) == 2 + 2 * 1 + 2 * 3 + 2 + 1
        for name, module in products.items():
            assert is_parametrized(module) is (name != "output" or normed_output), name


def test_gain_and_direction_are_what_is_stored() -> None:
    names = unique_tensors(network("convolutional")).keys()
    stored = "encoder.0.convolution.convolution.parametrizations.weight.original"
    assert {f"{stored}0", f"{stored}1"} <= names
    assert not any(name.startswith("encoder.0.convolution.convolution.weight") for name in names)


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
def test_a_search_works_with_folded_weights_and_leaves_the_model_alone(kind: str) -> None:
    model = network(kind)
    names = set(unique_tensors(model))
    state = model.start(model.encode(*padded([[5, 3]])), 3)
    assert not any(is_parametrized(module) for module in state.decoder.modules())
    assert not is_parametrized(state.output)
    assert set(unique_tensors(model)) == names
    tokens = model.target_embedding.tokens.weight
    if model.config.tied_embeddings is None:
        assert state.output.weight is tokens, "what is not normed is not copied"
    with torch.no_grad():
        before = logits(model, [[5, 3]], [[2]])
        for name, parameter in model.named_parameters():
            if name.endswith("original0"):
                parameter.mul_(2)
    assert not torch.equal(logits(model, [[5, 3]], [[2]]), before), "the next search folds anew"
    out, _ = model.step(torch.tensor([2]), model.start(model.encode(*padded([[5, 3]])), 3))
    torch.testing.assert_close(out, logits(model, [[5, 3]], [[2]])[:, 0], rtol=0, atol=1e-12)


# --- gradients, sizes, starting values -----------------------------------------------------------


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
def test_the_encoders_gradient_is_divided_by_twice_the_number_of_attentions(kind: str) -> None:
    """And that of the source embeddings which are added to its output is not."""
    model = network(kind, tied_embeddings="none").train()  # without dropout
    source, target = sentences([5, 3]), sentences([4, 4], seed=1)

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        logits(model, source, target).square().sum().backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    scaled = gradients()
    layers = len(model.decoder.layers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saccade.models.convolutional.ScaleGradient.apply", lambda x, _: x)
        plain = gradients()
        memory_of = model.encode

        def without_embeddings(*arguments: Any) -> Any:
            memory = memory_of(*arguments)
            keys, values, root = memory.source
            embedded = values - keys * 0.5**0.5
            return type(memory)((keys, keys * 0.5**0.5 + embedded.detach(), root), memory.visible)

        patch.setattr(model, "encode", without_embeddings)
        through_layers = gradients()
    for name, gradient in scaled.items():
        if name.startswith("source_embedding"):
            direct = plain[name] - through_layers[name]
            expected = direct + through_layers[name] / (2 * layers)
            assert bool((direct != 0).any())
        else:
            inside = name.startswith(("encoder.", "enter.", "leave."))
            expected = plain[name] / (2 * layers) if inside else plain[name]
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11, msg=name)


def test_signals_keep_their_size_from_layer_to_layer() -> None:
    """What sqrt(0.5) and the starting values are for (section 3.5): no growth or decay over 20 layers."""
    torch.manual_seed(3)
    table = {"kind": "convolutional", "width": 128, "embedding": 128, "encoder_layers": 20, "dropout": 0.0}
    model: Any = build_model(model_config({**table, "decoder_layers": 20}), vocabulary(300))
    sizes: dict[str, float] = {}
    for name, module in model.named_modules():
        if name.count(".") in (1, 2) and name.rpartition(".")[2].isdigit():
            module.register_forward_hook(
                lambda _, __, out, name=name: sizes.update({name: float(out.detach().std())})
            )
    source, target = sentences([20] * 8, size=300), sentences([20] * 8, seed=1, size=300)
    out = logits(model, source, target)
    for side in ("encoder.", "decoder.layers."):
        first, last = sizes[f"{side}0"], sizes[f"{side}19"]
        assert 0.4 < last / first < 2.5, (side, first, last)
    loss = nn.functional.cross_entropy(out.flatten(0, 1), torch.randint(300, (160,)))
    assert abs(loss.item() - np.log(300)) < 0.5


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 2.6), ("small", 8.4), ("base", 49.2)])
def test_presets_have_about_the_transformers_size(preset: str, millions: float) -> None:
    assert set(PRESETS) == {"tiny", "small", "base"}
    counts = {}
    for kind in ("convolutional", "transformer"):
        with torch.device("meta"):
            built: Any = build_model(model_config({"kind": kind, "preset": preset}), vocabulary(10_000))
        counts[kind] = sum(parameter.numel() for parameter in built.parameters())
    assert round(counts["convolutional"] / 1e6, 1) == millions
    assert abs(counts["convolutional"] / counts["transformer"] - 1) < 0.04


def test_the_papers_english_german_model_can_be_had(tmp_path: Path) -> None:
    """9 layers of (512, 3), 4 of (1024, 3), 2 of (2048, 1), and it comes back from a file."""
    table = {
        "kind": "convolutional",
        "encoder_layers": 9,
        "decoder_layers": 9,
        "top_layers": [[1024, 3]] * 4 + [[2048, 1]] * 2,
    }
    config = model_config(table)
    (tmp_path / "a.toml").write_text(dump_toml({"model": config}), encoding="utf-8")
    assert model_config(load_toml(tmp_path / "a.toml")["model"]) == config
    with torch.device("meta"):
        built: Any = build_model(config, vocabulary(100))
    shapes = [tuple(layer.convolution.convolution.weight.shape) for layer in built.encoder]
    assert shapes[:9] == [(1024, 512, 3)] * 9
    assert shapes[9:] == [(2048, 512, 3), *[(2048, 1024, 3)] * 3, (4096, 1024, 1), (4096, 2048, 1)]


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"heads": 4}, "model.heads = 4"),
        ({"kernel": 0}, "model.kernel = 0"),
        ({"top_layers": [[5]]}, "model.top_layers"),
        ({"top_layers": [[5, 0]]}, "model.top_layers"),
        ({"preset": "big"}, "allowed for kind convolutional are tiny, small, base"),
    ],
)
def test_what_does_not_fit_is_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        model_config({"kind": "convolutional", **table})
    assert message in str(caught.value)


@pytest.mark.parametrize(("tied", "matrices"), [(None, 1), ("all", 1), ("target", 2), ("none", 3)])
def test_embeddings_are_tied_as_told(tied: str | None, matrices: int) -> None:
    model = network("convolutional", tied_embeddings=tied)
    weights = (model.source_embedding.tokens, model.target_embedding.tokens, model.output)
    assert len({module.weight.data_ptr() for module in weights}) == matrices


def test_all_cannot_be_tied_with_two_vocabularies() -> None:
    with pytest.raises(UserError, match="one vocabulary"):
        network("convolutional", tied_embeddings="all", words=vocabulary(13, target_size=13))


def test_positions_end_somewhere() -> None:
    model = network("convolutional", max_positions=7)
    assert (model.max_source_length, model.max_target_length) == (7, 7)


def test_bfloat16_autocast_trains() -> None:
    model = network("convolutional", dtype=torch.float32).train()
    with torch.autocast("cpu", torch.bfloat16):
        out = logits(model, sentences([6, 3]), sentences([5, 4], seed=1))
    out.float().square().sum().backward()
    exact = logits(model, sentences([6, 3]), sentences([5, 4], seed=1))
    assert float((out - exact).detach().abs().max()) < 0.05 * float(exact.detach().abs().max())
    assert all(parameter.grad is not None for parameter in model.parameters())
