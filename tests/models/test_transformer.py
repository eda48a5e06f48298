"""The laws of the model, in float64: what no implementation detail may change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from saccade.models import model_config
from saccade.models.families import Seq2Seq
from saccade.models.transformer import Transformer, TransformerConfig, count_parameters
from saccade.nn.positions import SinusoidalPositions
from tests.reference.transformer import Reference, position_encoding
from tests.tiny import config, padded, rows_of, sentences, transformer, vocabulary

VARIANTS: dict[str, dict[str, Any]] = {
    "post-norm": {},
    "pre-norm": {"norm": "pre"},
    "learned positions": {"positions": "learned", "max_positions": 30},
    "pre-norm, gelu, halves": {"norm": "pre", "activation": "gelu", "sinusoid_layout": "halves"},
    "separate embeddings, silu, one head": {"tied_embeddings": "none", "activation": "silu", "heads": 1},
    "relative positions": {"positions": "relative", "max_distance": 3},
    "rotary positions, pre-norm": {"positions": "rotary", "norm": "pre"},
    "alibi": {"positions": "alibi"},
    "no positions": {"positions": "none"},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def logits(model: Transformer, source: list[list[int]], target: list[list[int]]) -> Tensor:
    return model(padded(target)[0], model.encode(*padded(source)))


def test_it_is_what_the_rest_asks_of_a_model() -> None:
    model = transformer()
    assert isinstance(model, Seq2Seq)


# --- against loops written from the paper --------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_the_model_equals_loops_written_from_the_paper(activation: str, norm: str, layout: str) -> None:
    model = transformer(activation=activation, norm=norm, sinusoid_layout=layout)
    for module in model.modules():
        if isinstance(module, SinusoidalPositions):  # the model keeps them in float32
            module.table = torch.from_numpy(position_encoding(20, 12, layout=layout))
    reference = Reference(
        weights={name: tensor.numpy() for name, tensor in model.state_dict().items()},
        heads=3,
        encoder_layers=2,
        decoder_layers=2,
        activation=activation,
        norm=norm,
        layout=layout,
    )
    source, target = sentences([5, 2], seed=1), sentences([3, 4], seed=2)
    ours = logits(model, source, target).detach().numpy()
    for row in range(2):
        expected = reference.logits(target[row], reference.encode(source[row]))
        assert np.abs(ours[row, : len(target[row])] - expected).max() < 1e-11


# --- causality -----------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_later_token_changes_nothing_before_it(variant: str, dtype: torch.dtype) -> None:
    model = transformer(**VARIANTS[variant], dtype=dtype)
    source, target = sentences([6, 3]), sentences([8, 8], seed=1)
    before = logits(model, source, target)
    for position in range(1, 8):
        changed = [[*row[:position], *(4 + token % 9 for token in row[position:])] for row in target]
        after = logits(model, source, changed)
        assert torch.equal(after[:, :position], before[:, :position]), "exactly, not nearly"
        assert not torch.equal(after[:, position:], before[:, position:])


@every_variant
def test_the_gradient_of_an_output_to_a_later_input_is_exactly_zero(variant: str) -> None:
    model = transformer(**VARIANTS[variant])
    embedded: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> Tensor:
        embedded.append(out.detach().requires_grad_())
        return embedded[-1]

    model.target_embedding.register_forward_hook(keep)
    out = logits(model, sentences([5]), sentences([6], seed=1))
    for position in range(6):
        (gradient,) = torch.autograd.grad(out[0, position].square().sum(), embedded[0], retain_graph=True)
        reached = gradient[0].abs().sum(-1) > 0
        assert reached.tolist() == [earlier <= position for earlier in range(6)]


@every_variant
def test_every_source_token_reaches_every_output(variant: str) -> None:
    model = transformer(**VARIANTS[variant])
    embedded: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> Tensor:
        embedded.append(out.detach().requires_grad_())
        return embedded[-1]

    model.encoder.embedding.register_forward_hook(keep)
    out = logits(model, sentences([5]), sentences([3], seed=1))
    for position in range(3):
        (gradient,) = torch.autograd.grad(out[0, position].square().sum(), embedded[0], retain_graph=True)
        assert bool((gradient[0].abs().sum(-1) > 0).all())


# --- padding and batches -------------------------------------------------------------------------


@every_variant
def test_padding_changes_nothing_whatever_stands_there(variant: str) -> None:
    model = transformer(**VARIANTS[variant])
    source, target = sentences([6, 3, 4]), sentences([5, 2, 4], seed=1)
    plain = logits(model, source, target)
    ids, lengths = padded(source)
    target_ids, target_lengths = padded(target)
    wider = torch.cat([ids, torch.full((3, 4), 7)], 1)
    noisy = torch.where(torch.arange(10) < lengths[:, None], wider, torch.randint(4, 13, (3, 10)))
    real = torch.arange(5) < target_lengths[:, None]
    noisy_target = torch.where(real, target_ids, torch.randint(4, 13, (3, 5)))
    out = model(torch.cat([noisy_target, torch.full((3, 3), 9)], 1), model.encode(noisy, lengths))
    torch.testing.assert_close(out[:, :5][real], plain[real], rtol=0, atol=1e-12)


@every_variant
def test_a_sentence_alone_and_in_a_batch_gives_the_same(variant: str) -> None:
    model = transformer(**VARIANTS[variant])
    source, target = sentences([6, 3, 1, 5]), sentences([5, 2, 4, 1], seed=1)
    together = logits(model, source, target)
    for row in range(4):
        alone = logits(model, source[row : row + 1], target[row : row + 1])[0]
        torch.testing.assert_close(together[row, : len(target[row])], alone, rtol=0, atol=1e-12)


# --- order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_without_positions_the_encoder_does_not_see_the_order(norm: str) -> None:
    model = transformer(norm=norm, positions="learned", max_positions=10)
    source = torch.tensor([sentences([7])[0]])
    order = torch.tensor([4, 0, 6, 2, 1, 5, 3])
    lengths = torch.tensor([7])

    def encoded(ids: Tensor) -> Tensor:
        return model.encode(ids, lengths).states.detach()

    assert float((encoded(source[:, order]) - encoded(source)[:, order]).abs().max()) > 0.1
    with torch.no_grad():
        model.encoder.embedding.positions.table.zero_()  # type: ignore[union-attr,operator]
    torch.testing.assert_close(encoded(source[:, order]), encoded(source)[:, order], rtol=0, atol=1e-12)


def test_with_sinusoids_the_encoder_sees_the_order() -> None:
    model = transformer()
    source = torch.tensor([[5, 6, 7, 8]])
    states = model.encode(source, torch.tensor([4])).states.detach()
    swapped = model.encode(source.flip(1), torch.tensor([4])).states.detach().flip(1)
    assert float((swapped - states).abs().max()) > 0.1


# --- one step at a time --------------------------------------------------------------------------


def full_pass(model: Transformer, source: list[list[int]], histories: list[list[int]]) -> Tensor:
    """Log-probabilities of what follows histories of equal length, (rows, vocabulary)."""
    target = [[model.vocabulary.start, *history] for history in histories]
    return logits(model, source, target)[:, -1].log_softmax(-1)


@every_variant
def test_steps_equal_the_full_pass(variant: str) -> None:
    model = transformer(**VARIANTS[variant])
    source, target = sentences([6, 3, 1]), sentences([5, 5, 5], seed=1)
    state = model.start(model.encode(*padded(source)), 5)
    token = torch.full((3,), model.vocabulary.start)
    for position in range(5):
        out, state = model.step(token, state)
        expected = full_pass(model, source, [row[:position] for row in target])
        torch.testing.assert_close(out.log_softmax(-1), expected, rtol=0, atol=1e-12)
        token = torch.tensor([row[position] for row in target])


@given(st.data())
@settings(max_examples=40)
def test_steps_equal_the_full_pass_whatever_a_search_selects(data: st.DataObject) -> None:
    """Sentences leave, hypotheses repeat, change order and number, as in beam search."""
    variant = data.draw(st.sampled_from(sorted(VARIANTS)))
    model = transformer(**VARIANTS[variant])
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    source = sentences(lengths, seed=data.draw(st.integers(0, 99)))
    histories: list[list[list[int]]] = [[[]] for _ in source]
    with torch.no_grad():
        state = model.start(model.encode(*padded(source)), 5)
        token = torch.full((len(source),), model.vocabulary.start)
        for _ in range(4):
            out, state = model.step(token, state)
            owners = [sentence for sentence, group in zip(source, histories, strict=True) for _ in group]
            expected = full_pass(model, owners, [past for group in histories for past in group])
            torch.testing.assert_close(out.log_softmax(-1), expected, rtol=0, atol=1e-12)
            old = len(histories[0])
            new = data.draw(st.integers(1, 3), label="hypotheses")
            kept = [s for s in range(len(histories)) if data.draw(st.booleans())] or [len(histories) - 1]
            choice = [[data.draw(st.integers(0, old - 1)) for _ in range(new)] for _ in kept]
            rows = torch.tensor(
                [[s * old + h for h in chosen] for s, chosen in zip(kept, choice, strict=True)]
            )
            state = state.select(rows_of(rows, state.layout))
            source = [source[s] for s in kept]
            token = torch.tensor([data.draw(st.integers(4, 12)) for _ in range(len(kept) * new)])
            following = iter(token.tolist())
            histories = [
                [[*histories[s][h], next(following)] for h in chosen]
                for s, chosen in zip(kept, choice, strict=True)
            ]


def test_what_belongs_to_a_sentence_is_not_copied_for_its_hypotheses() -> None:
    model = transformer()
    state = model.start(model.encode(*padded(sentences([4, 2]))), 6)
    _, state = model.step(torch.tensor([2, 2]), state)
    wide = state.select(rows_of([[0, 0, 0, 0], [1, 1, 1, 1]], state.layout))
    assert all(
        new[0].data_ptr() == old[0].data_ptr() for new, old in zip(wide.memory, state.memory, strict=True)
    )
    assert wide.past[0].keys.size(0) == 8


# --- sizes, tying, configuration -----------------------------------------------------------------


def closed_form(width: int, inner: int, layers: int, words: int) -> int:
    projection = width * width + width
    feed_forward = width * inner + inner + inner * width + width
    encoder = 4 * projection + feed_forward + 2 * 2 * width
    decoder = 8 * projection + feed_forward + 3 * 2 * width
    return words * width + layers * (encoder + decoder)


@pytest.mark.parametrize(("preset", "millions", "paper"), [("base", 63.1, 65), ("big", 214.2, 213)])
def test_base_and_big_have_the_papers_size(preset: str, millions: float, paper: float) -> None:
    sizes = model_config({"preset": preset})
    assert isinstance(sizes, TransformerConfig)
    count = count_parameters(sizes, vocabulary(37_000))
    assert count == closed_form(sizes.width, sizes.feed_forward, 6, 37_000)
    assert round(count / 1e6, 1) == millions
    assert abs(count / 1e6 / paper - 1) < 0.03


def test_the_number_of_heads_does_not_change_the_size() -> None:
    counts = {count_parameters(config(heads=heads), vocabulary()) for heads in (1, 2, 3, 12)}
    assert len(counts) == 1


def test_pre_norm_adds_two_norms_and_learned_positions_two_tables() -> None:
    plain = count_parameters(config(), vocabulary())
    assert count_parameters(config(norm="pre"), vocabulary()) == plain + 2 * 2 * 12
    learned = config(positions="learned", max_positions=30)
    assert count_parameters(learned, vocabulary()) == plain + 2 * 30 * 12


@pytest.mark.parametrize(
    ("tied", "words", "matrices"),
    [
        (None, vocabulary(13), 1),
        ("all", vocabulary(13), 1),
        ("target", vocabulary(13), 2),
        ("none", vocabulary(13), 3),
        (None, vocabulary(13, target_size=13), 2),
        ("none", vocabulary(13, target_size=17), 3),
    ],
)
def test_embeddings_are_tied_as_told(tied: str | None, words: Any, matrices: int) -> None:
    model = Transformer(config(tied_embeddings=tied), words)
    pointers = {
        model.encoder.embedding.tokens.weight.data_ptr(),
        model.target_embedding.tokens.weight.data_ptr(),
        model.output.weight.data_ptr(),
    }
    assert len(pointers) == matrices


def test_all_cannot_be_tied_with_two_vocabularies() -> None:
    with pytest.raises(ValueError, match="one vocabulary"):
        Transformer(config(tied_embeddings="all"), vocabulary(13, target_size=13))


def test_learned_positions_state_their_limit_and_sinusoids_have_none() -> None:
    learned = transformer(positions="learned", max_positions=7)
    assert (learned.max_source_length, learned.max_target_length) == (7, 7)
    assert (transformer().max_source_length, transformer().max_target_length) == (None, None)


@pytest.mark.parametrize("tied", ["all", "none"])
def test_fresh_logits_are_moderate(tied: str) -> None:
    """At the start the loss is near that of guessing: log of the vocabulary."""
    torch.manual_seed(0)
    words = vocabulary(200)
    model = Transformer(config(width=64, heads=4, tied_embeddings=tied), words).eval()
    source, target = sentences([9] * 8, size=200), sentences([7] * 8, seed=1, size=200)
    out = logits(model, source, target)
    loss = nn.functional.cross_entropy(out.flatten(0, 1), torch.randint(200, (56,)))
    assert abs(float(loss.detach()) - np.log(200)) < 1.0


def test_a_seed_gives_the_same_model() -> None:
    first, second = transformer(seed=4), transformer(seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


# --- dropout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["dropout", "attention_dropout", "activation_dropout", "layer_dropout"])
def test_each_dropout_acts_in_training_and_only_there(where: str) -> None:
    model = transformer(**{where: 0.4})
    source, target = sentences([6, 3]), sentences([5, 2], seed=1)
    with torch.no_grad():
        still = logits(model, source, target)
        assert torch.equal(logits(model, source, target), still)
        model.train()
        torch.manual_seed(5)
        first, second = logits(model, source, target), logits(model, source, target)
        torch.manual_seed(5)
        again = logits(model, source, target)
    assert not torch.equal(first, second)
    assert not torch.equal(first, still)
    assert torch.equal(first, again)


def test_dropout_stands_where_the_paper_has_it() -> None:
    """On embedding + position and on every sub-layer's output: 2 + 2 * encoder + 3 * decoder layers."""
    calls: list[str] = []
    model = transformer(dropout=0.4).train()
    for name, module in model.named_modules():
        if name.endswith("dropout") and getattr(module, "rate", 0) > 0:
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    logits(model, sentences([4]), sentences([3]))
    assert len(calls) == len(set(calls)) == 2 + 2 * 2 + 3 * 2


def test_training_and_evaluation_agree_without_dropout() -> None:
    model = transformer()
    source, target = sentences([6, 3]), sentences([5, 2], seed=1)
    assert torch.equal(logits(model, source, target), logits(model.train(), source, target))
