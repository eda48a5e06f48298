"""What every language model promises, whatever it remembers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.models import build_model, model_config
from saccade.models.families import LanguageModel, Seq2Seq
from saccade.nn.reading import LanguageModelConfig
from tests.models.test_transformer_xl import read, text
from tests.tiny import randomise, transformer, vocabulary

_XL = {"kind": "transformer-xl", "width": 12, "heads": 3, "feed_forward": 20, "layers": 2}
KINDS: dict[str, dict[str, Any]] = {
    "transformer-xl": {**_XL, "memory": 5},
    "transformer-xl, same length, clamped": {**_XL, "memory": 4, "same_length": True, "clamp_length": 3},
    "transformer-xl, no memory": {**_XL, "memory": 0},
    "transformer-lm": {**_XL, "kind": "transformer-lm"},
    "transformer-lm, sliding": {**_XL, "kind": "transformer-lm", "memory": 3},
    "recurrent-lm, lstm": {"kind": "recurrent-lm", "width": 12},
    "recurrent-lm, gru": {"kind": "recurrent-lm", "width": 12, "cell": "gru", "layers": 3},
}
REMEMBERING = [name for name in KINDS if "no memory" not in name and name != "transformer-lm"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def network(name: str, **changes: Any) -> Any:
    """In float64 and evaluation mode."""
    torch.manual_seed(0)
    model: Any = build_model(model_config({"dropout": 0.0, **KINDS[name], **changes}), vocabulary())
    randomise(model.double())
    return model.eval()


@every_kind
def test_it_is_a_language_model_and_no_translator(kind: str) -> None:
    model = network(kind)
    assert isinstance(model, LanguageModel)
    assert not isinstance(model, Seq2Seq)
    assert isinstance(model.config, LanguageModelConfig)
    assert not isinstance(transformer(), LanguageModel)


@every_kind
def test_the_future_has_no_influence(kind: str) -> None:
    model, tokens = network(kind), text(8)
    before = read(model, tokens, segment=4)
    for place in (3, 6):
        changed = tokens.clone()
        changed[:, place:] = text(8 - place) - 1
        after = read(model, changed, segment=4)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place], before[:, place])


@every_kind
def test_the_gradient_to_a_later_token_is_exactly_zero(kind: str) -> None:
    model = network(kind)
    embedded = watch(model)
    hidden, _ = model.read(text(6), model.start(2))
    for place in range(6):
        (gradient,) = torch.autograd.grad(hidden[:, place].sum(), embedded, retain_graph=True)
        assert not bool(gradient[:, place + 1 :].any())
        assert bool(gradient[:, : place + 1].any(-1).all())


@every_kind
def test_no_gradient_flows_through_memory(kind: str) -> None:
    model = network(kind)
    embedded = watch(model)
    _, memory = model.read(text(6), model.start(2))
    first = embedded.pop()
    assert not any(states.requires_grad for states in memory)
    hidden, _ = model.read(text(6), memory)
    (gradient,) = torch.autograd.grad(hidden.sum(), [first], allow_unused=True)
    assert gradient is None or not bool(gradient.any())


@every_kind
def test_memory_is_a_value(kind: str) -> None:
    """Reading on does not change it: the same memory can be read on from twice, in any order."""
    model = network(kind)
    _, memory = model.read(text(5), model.start(2))
    copy = [states.clone() for states in memory]
    once, _ = model.read(text(4), memory)
    model.read(text(7) - 1, memory)
    again, _ = model.read(text(4), memory)
    assert torch.equal(once, again)
    assert all(torch.equal(one, other) for one, other in zip(copy, memory, strict=True))


@every_kind
def test_rows_do_not_meet(kind: str) -> None:
    model, tokens = network(kind), text(9, rows=3)
    together = read(model, tokens, segment=4)
    for row in range(3):
        alone = read(model, tokens[row : row + 1], segment=4)[0]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-12)


@every_kind
def test_memory_can_be_taken_row_by_row(kind: str) -> None:
    model, tokens = network(kind), text(8, rows=3)
    _, memory = model.read(tokens[:, :4], model.start(3))
    both, _ = model.read(tokens[:, 4:], memory)
    some, _ = model.read(tokens[[2, 0], 4:], tuple(states[[2, 0]] for states in memory))
    torch.testing.assert_close(some, both[[2, 0]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", REMEMBERING)
def test_a_remembering_model_knows_the_segment_before(kind: str) -> None:
    model, tokens = network(kind), text(8)
    changed = tokens.clone()
    changed[:, 3] = torch.where(tokens[:, 3] == 4, 5, 4)
    one, other = read(model, tokens, segment=4), read(model, changed, segment=4)
    assert not torch.allclose(one[:, 4], other[:, 4], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - set(REMEMBERING)))
def test_without_memory_the_context_is_cut_at_each_segment(kind: str) -> None:
    """Context fragmentation: the first token of a segment knows nothing of the text before."""
    model, tokens = network(kind), text(8)
    alone, _ = model.read(tokens[:, 4:], model.start(2))
    assert torch.equal(read(model, tokens, segment=4)[:, 4:], alone)


def test_a_sliding_window_reads_what_stands_before_once_more() -> None:
    model, tokens = network("transformer-lm, sliding"), text(10)
    slid = read(model, tokens, segment=2)
    for first in (4, 6, 8):
        window, _ = model.read(tokens[:, first - 3 : first + 2], model.start(2))
        torch.testing.assert_close(slid[:, first : first + 2], window[:, 3:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrent_one_reads_as_torchs_own_layers(cell: str) -> None:
    model = network(f"recurrent-lm, {cell}")
    tokens, layers = text(9), len(model.recurrence.layers)
    own: Any = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](12, 12, layers, batch_first=True).double()
    for number, layer in enumerate(model.recurrence.layers):
        for name, parameter in layer.named_parameters():
            getattr(own, name.replace("_l0", f"_l{number}")).data.copy_(parameter)
    expected, _ = own(model.embedding(tokens))
    torch.testing.assert_close(read(model, tokens, segment=2), expected, rtol=0, atol=1e-12)


@every_kind
@pytest.mark.parametrize("training", [False, True])
def test_under_autocast_it_reads_on_in_bfloat16(kind: str, training: bool) -> None:
    model = network(kind).float().train(training)
    memory = model.start(2)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            hidden, memory = model.read(text(5), memory)
    assert bool(hidden.isfinite().all())
    plain = read(model.eval(), torch.cat([text(5)] * 3, 1), segment=5)
    assert float((plain[:, -5:] - hidden.float()).detach().abs().max()) < 0.3


def test_the_examples_to_be_compared_have_as_many_parameters() -> None:
    sizes = []
    for name in ("transformer-xl", "transformer", "lstm"):
        example = Path(__file__).parents[2] / "examples" / f"wikitext-2-{name}.toml"
        tables = tomllib.loads(example.read_text(encoding="utf-8"))
        with torch.device("meta"):
            built: Any = build_model(
                model_config(tables["model"]), vocabulary(tables["tokenizer"]["vocab_size"])
            )
        sizes.append(sum(parameter.numel() for parameter in built.parameters()))
    assert sizes == [1_373_600, 1_373_852, 1_375_072]


def watch(model: Any) -> list[Tensor]:
    """What its embedding will return, as a leaf; one more for each segment."""
    found: list[Tensor] = []

    def keep(_: object, __: object, out: Tensor) -> Tensor:
        found.append(out.detach().requires_grad_())
        return found[-1]

    model.embedding.register_forward_hook(keep)
    return found
