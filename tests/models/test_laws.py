"""What every kind of model keeps, in float64: no implementation detail may change it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from saccade.models.families import Seq2Seq
from saccade.training.objective import CrossEntropy
from tests.kinds import ATTENDING, KINDS, network
from tests.tiny import batch, padded, recorded_weights, rows_of, sentences

every_kind = pytest.mark.parametrize("kind", KINDS)


def logits(model: Any, source: list[list[int]], target: list[list[int]]) -> Tensor:
    out: Tensor = model(padded(target)[0], model.encode(*padded(source)))
    return out


@every_kind
def test_it_is_what_the_rest_asks_of_a_model(kind: str) -> None:
    model = network(kind)
    assert isinstance(model, Seq2Seq)
    assert isinstance(model.output, nn.Linear)


@every_kind
def test_the_loss_reaches_every_parameter(kind: str) -> None:
    model = network(kind).train()
    CrossEntropy()(model, batch(sentences([6, 3]), sentences([5, 2], seed=1))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


# --- causality -----------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_later_token_changes_nothing_before_it(kind: str, dtype: torch.dtype) -> None:
    model = network(kind, dtype=dtype)
    source, target = sentences([6, 3]), sentences([8, 8], seed=1)
    before = logits(model, source, target)
    for position in range(1, 8):
        changed = [[*row[:position], *(4 + token % 9 for token in row[position:])] for row in target]
        after = logits(model, source, changed)
        assert torch.equal(after[:, :position], before[:, :position]), "exactly, not nearly"
        assert not torch.equal(after[:, position:], before[:, position:])


@every_kind
def test_the_gradient_of_an_output_to_a_later_input_is_exactly_zero(kind: str) -> None:
    """And to an earlier one it is not: here no window is too short for that."""
    model = network(kind)
    embedded = watch(model.target_embedding)
    out = logits(model, sentences([5]), sentences([6], seed=1))
    for position in range(6):
        (gradient,) = torch.autograd.grad(out[0, position].square().sum(), embedded, retain_graph=True)
        reached = gradient[0].abs().sum(-1) > 0
        seen = range(max(0, position - reach(model)), position + 1)
        assert reached.tolist() == [earlier in seen for earlier in range(6)]


@every_kind
def test_every_source_token_reaches_every_output(kind: str) -> None:
    model = network(kind)
    embedded = watch(source_embedding(model))
    out = logits(model, sentences([5]), sentences([3], seed=1))
    for position in range(3):
        (gradient,) = torch.autograd.grad(out[0, position].square().sum(), embedded, retain_graph=True)
        assert bool((gradient[0].abs().sum(-1) > 0).all())


def source_embedding(model: Any) -> nn.Module:
    """The embedding of the source, which a Transformer's encoder contains."""
    modules = dict(model.named_modules())
    return modules.get("encoder.embedding") or modules["source_embedding"]


def watch(embedding: nn.Module) -> list[Tensor]:
    """What it will return, as a leaf."""
    found: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> Tensor:
        found.append(out.detach().requires_grad_())
        return found[-1]

    embedding.register_forward_hook(keep)
    return found


def reach(model: Any) -> int:
    """How many earlier positions a target position sees: all but in a stack of convolutions."""
    if model.config.kind != "convolutional":
        return 1_000
    kernels = [model.config.kernel] * model.config.decoder_layers
    return sum(kernel - 1 for kernel in (*kernels, *(top[1] for top in model.config.top_layers)))


# --- padding and batches -------------------------------------------------------------------------


@every_kind
def test_padding_changes_nothing_whatever_stands_there(kind: str) -> None:
    model = network(kind)
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


@every_kind
def test_a_sentence_alone_and_in_a_batch_gives_the_same(kind: str) -> None:
    model = network(kind)
    source, target = sentences([6, 3, 1, 5]), sentences([5, 2, 4, 1], seed=1)
    together = logits(model, source, target)
    for row in range(4):
        alone = logits(model, source[row : row + 1], target[row : row + 1])[0]
        torch.testing.assert_close(together[row, : len(target[row])], alone, rtol=0, atol=1e-12)


@every_kind
def test_a_memory_has_rows_for_the_sentences_that_it_is_asked_for(kind: str) -> None:
    model, source, target = network(kind), sentences([6, 3, 4]), sentences([5, 2, 4, 3], seed=1)
    wanted = [2, 0, 0, 1]
    selected = model.encode(*padded(source)).select(torch.tensor(wanted))
    found = model(padded(target)[0], selected)
    expected = logits(model, [source[row] for row in wanted], target)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@every_kind
def test_the_encoder_sees_the_order(kind: str) -> None:
    model = network(kind)
    forwards, swapped = [5, 6, 7, 8, 9, 3], [5, 7, 6, 8, 9, 3]
    out = logits(model, [forwards, swapped], [[2, 4], [2, 4]])
    assert not torch.allclose(out[0], out[1], rtol=0, atol=1e-4)


# --- one step at a time --------------------------------------------------------------------------


def full_pass(model: Any, source: list[list[int]], histories: list[list[int]]) -> Tensor:
    """Log-probabilities of what follows histories of equal length, (rows, vocabulary)."""
    target = [[model.vocabulary.start, *history] for history in histories]
    return logits(model, source, target)[:, -1].log_softmax(-1)


@every_kind
def test_steps_equal_the_full_pass(kind: str) -> None:
    model = network(kind)
    source, target = sentences([6, 3, 1]), sentences([7, 7, 7], seed=1)
    state = model.start(model.encode(*padded(source)), 7)
    token = torch.full((3,), model.vocabulary.start)
    for position in range(7):
        out, state = model.step(token, state)
        expected = full_pass(model, source, [row[:position] for row in target])
        torch.testing.assert_close(out.log_softmax(-1), expected, rtol=0, atol=1e-12)
        token = torch.tensor([row[position] for row in target])


@given(st.data())
@settings(max_examples=60)
def test_steps_equal_the_full_pass_whatever_a_search_selects(data: st.DataObject) -> None:
    """Sentences leave, hypotheses repeat, change order and number, as in beam search."""
    model = network(data.draw(st.sampled_from(sorted(KINDS))))
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


@every_kind
def test_what_belongs_to_a_sentence_is_not_copied_for_its_hypotheses(kind: str) -> None:
    model = network(kind)
    state = model.start(model.encode(*padded(sentences([4, 2]))), 6)
    _, state = model.step(torch.tensor([2, 2]), state)
    wide = state.select(rows_of([[0, 0, 0, 0], [1, 1, 1, 1]], state.layout))
    before, after = (dict(tensors(one.memory)) for one in (state, wide))
    assert before.keys() == after.keys()
    assert all(after[place].data_ptr() == tensor.data_ptr() for place, tensor in before.items())
    few = wide.select(rows_of([[5, 6]], wide.layout))
    assert all(tensor.size(0) == 1 for _, tensor in tensors(few.memory))


def tensors(value: Any, place: str = "") -> list[tuple[str, Tensor]]:
    """All tensors in nested lists, tuples and dataclasses, with where they were."""
    if isinstance(value, Tensor):
        return [(place, value)]
    inner = value if isinstance(value, list | tuple) else vars(value).values() if value is not None else ()
    return [found for n, one in enumerate(inner) for found in tensors(one, f"{place}/{n}")]


# --- attention recorded --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ATTENDING)
def test_recorded_rows_sum_to_one_and_what_is_hidden_is_exactly_zero(kind: str) -> None:
    model = network(kind)
    before = logits(model, sentences([6, 3]), sentences([5, 5], seed=1))
    with recorded_weights(model) as maps:
        during = logits(model, sentences([6, 3]), sentences([5, 5], seed=1))
    assert torch.equal(before, during)
    cross = {name: weights for name, weights in maps.items() if "cross_attention" in name}
    assert cross
    for name, weights in maps.items():
        rows = weights.sum(-1)
        torch.testing.assert_close(rows, torch.ones_like(rows), rtol=0, atol=1e-12, msg=name)
    for name, weights in cross.items():
        assert weights.shape[0] == 2 and weights.shape[2:] == (5, 6), name
        assert not bool(weights[1, :, :, 3:].any()), name
        assert bool((weights[0] > 0).all()), name


@pytest.mark.parametrize("kind", [name for name in KINDS if name not in ATTENDING])
def test_without_attention_nothing_is_recorded(kind: str) -> None:
    model = network(kind)
    with recorded_weights(model) as maps:
        logits(model, sentences([6, 3]), sentences([5, 5], seed=1))
    assert not maps


# --- dropout, seeds ------------------------------------------------------------------------------


@every_kind
def test_dropout_acts_in_training_and_only_there(kind: str) -> None:
    model = network(kind, dropout=0.4)
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


@every_kind
def test_training_and_evaluation_agree_without_dropout(kind: str) -> None:
    model = network(kind)
    source, target = sentences([6, 3]), sentences([5, 2], seed=1)
    assert torch.equal(logits(model, source, target), logits(model.train(), source, target))


@every_kind
def test_a_seed_gives_the_same_model(kind: str) -> None:
    first, second = network(kind, seed=4), network(kind, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
