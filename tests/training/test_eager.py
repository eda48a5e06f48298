"""One update: exact in tokens however it is cut, safe against overflow and lack of memory."""

import copy

import pytest
import torch
from torch import Tensor, nn

from saccade.errors import UserError
from saccade.machine import lacks_memory
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.text.batching import Batch
from saccade.training.batch import Share
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.objective import CrossEntropy, Loss
from saccade.training.optim import OptimizerConfig, make_optimizer
from tests.tiny import batch, sentences

VOCABULARY = Vocabulary(30, 30, pad=0, start=2, end=3, shared=True)


def tiny_model() -> Transformer:
    torch.manual_seed(3)
    sizes = TransformerConfig(
        width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=1, dropout=0.0
    )
    return Transformer(sizes, VOCABULARY).double()


def random_batch(rows: int = 7, *, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    source, target = (torch.randint(2, 9, (rows,), generator=generator).tolist() for _ in range(2))
    return batch(sentences(source, seed=2 * seed, size=30), sentences(target, seed=2 * seed + 1, size=30))


def step_of(
    model: nn.Module, *, clip_norm: float = 0.0, micro_batches: int = 1, loss: nn.Module | None = None
) -> EagerStep:
    optimizer = make_optimizer(model, OptimizerConfig(epsilon=1e-3))
    return EagerStep(
        loss or Loss(model, CrossEntropy(0.1)),
        optimizer,
        group=Group(),
        clip_norm=clip_norm,
        autocast=False,
        micro_batches=micro_batches,
    )


def shares(*batches: Batch) -> list[Share[Batch]]:
    return [Group().share(batch) for batch in batches]


def weights_after(batches: list[Batch], **settings: int) -> list[Tensor]:
    model = tiny_model()
    step_of(model, **settings)(shares(*batches), rate=0.01)
    return [parameter.detach() for parameter in model.parameters()]


def test_accumulated_batches_equal_one_large_batch() -> None:
    whole = random_batch(8)
    parts = [whole.take(slice(0, 3)), whole.take(slice(3, 4)), whole.take(slice(4, 8))]
    for one, other in zip(weights_after([whole]), weights_after(parts), strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=0)


@pytest.mark.parametrize("micro_batches", [2, 3, 50])
def test_a_batch_split_for_lack_of_memory_gives_the_same_update(micro_batches: int) -> None:
    whole = weights_after([random_batch()])
    split = weights_after([random_batch()], micro_batches=micro_batches)
    for one, other in zip(whole, split, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=0)


def test_the_loss_is_torchs_own_per_token() -> None:
    model, batch = tiny_model(), random_batch()
    source, gold = batch["source"], batch["target"].values
    logits = model(batch["target_in"].values, model.encode(source.values, source.lengths))
    expected = nn.functional.cross_entropy(
        logits.flatten(0, 1), gold.flatten(), ignore_index=0, label_smoothing=0.1
    )
    result = step_of(model)(shares(batch), rate=0.01)
    assert result.loss == pytest.approx(expected.item(), rel=1e-9)
    assert result.tokens == batch.target_tokens


def test_the_gradient_norm_is_clipped() -> None:
    model, reference = tiny_model(), tiny_model()
    result = step_of(model, clip_norm=0.01)(shares(random_batch()), rate=0.0)
    batch = random_batch()
    (CrossEntropy(0.1)(reference, batch) / batch.target_tokens).backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in reference.parameters()]).norm()
    assert result.gradient_norm == pytest.approx(norm.item(), rel=1e-6)


class ShortOfMemory(nn.Module):
    """A loss that has memory for `rows` rows at a time; fails in the backward pass when told to."""

    def __init__(self, model: nn.Module, rows: int) -> None:
        super().__init__()
        self.model, self.rows, self.seen = model, rows, []

    def forward(self, batch: Batch) -> Tensor:
        self.seen.append(batch.rows)
        total = CrossEntropy(0.1)(self.model, batch)
        if batch.rows > self.rows:
            total.register_hook(self._fail)
        return total

    def _fail(self, _: Tensor) -> None:
        raise torch.OutOfMemoryError("pretended")


def test_out_of_memory_splits_the_batch_and_counts_nothing_twice() -> None:
    model, batches = tiny_model(), [random_batch(3, seed=1), random_batch(7)]
    loss = ShortOfMemory(model, rows=3)
    short = step_of(model, loss=loss)
    result = short(shares(*batches), rate=0.01)
    assert short.micro_batches == 4
    assert max(loss.seen[-7:]) <= 3
    assert result.applied
    for one, other in zip(weights_after(batches), model.parameters(), strict=True):
        torch.testing.assert_close(one, other.detach(), atol=1e-9, rtol=0)


def test_out_of_memory_for_a_single_pair_says_what_to_lower() -> None:
    model = tiny_model()
    with pytest.raises(UserError, match=r"data\.max_length"):
        step_of(model, loss=ShortOfMemory(model, rows=0))(shares(random_batch()), rate=0.01)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_an_update_that_is_not_finite_is_left_out(poison: float) -> None:
    class Poisoned(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: Batch) -> Tensor:
            return CrossEntropy()(self.model, batch) * poison

    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    result = step_of(model, loss=Poisoned(model))(shares(random_batch()), rate=0.01)
    assert not result.applied
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_processor_without_memory_is_recognised_and_other_errors_are_not() -> None:
    """What torch's CPU allocator raises when the system refuses; the text is all there is to know it by."""
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60, dtype=torch.int8)
    assert lacks_memory(refused.value)
    assert lacks_memory(RuntimeError("could not create a primitive"))
    assert lacks_memory(RuntimeError("[enforce fail at alloc_cpu.cpp:118] not enough memory: you tried to"))
    assert not lacks_memory(RuntimeError("shapes cannot be multiplied"))
