"""The step for GPUs, on a CPU: the same updates as the eager step, without a look at the device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from saccade.errors import UserError
from saccade.models import build_model, model_config
from saccade.runs import experiment
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.storage.structured import read_json
from saccade.text.batching import Batch
from saccade.training import choosing
from saccade.training.batch import Share
from saccade.training.choosing import compiles_model, make_step
from saccade.training.compiling import CompiledRegions
from saccade.training.counters import Counters, read_counters
from saccade.training.device import DeviceStep
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.loop import Setup
from saccade.training.moving_average import MovingAverage
from saccade.training.objective import CrossEntropy, Loss, NextToken
from saccade.training.optim import OptimizerConfig, make_optimizer
from saccade.training.settings import TrainingConfig
from saccade.training.state import read_tensors
from saccade.training.streams import CarriedMemory, Segments
from tests.tiny import vocabulary
from tests.training.drive import TINY
from tests.training.test_eager import ShortOfMemory, random_batch, shares, step_of, tiny_model

TABLES: dict[str, dict[str, Any]] = {
    "sinusoidal": {},
    "learned": {"positions": "learned"},
    "relative": {"positions": "relative"},
    "rotary": {"positions": "rotary"},
    "alibi": {"positions": "alibi"},
    "windows": {"window": [2, 0, 2, 0]},
    "pre-norm": {"norm": "pre"},
}


def device_step(
    model: nn.Module,
    *,
    clip_norm: float = 0.0,
    micro_batches: int = 1,
    loss: nn.Module | None = None,
    regions: CompiledRegions | None = None,
) -> DeviceStep:
    return DeviceStep(
        loss or Loss(model, CrossEntropy(0.1)),
        make_optimizer(model, OptimizerConfig(epsilon=1e-3)),
        group=Group(),
        clip_norm=clip_norm,
        autocast=False,
        micro_batches=micro_batches,
        regions=regions,
    )


def require_equal(one: nn.Module, other: nn.Module) -> None:
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-9, rtol=0)


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_its_updates_are_those_of_the_eager_step(clip_norm: float) -> None:
    mine, theirs = tiny_model(), tiny_model()
    device, eager = device_step(mine, clip_norm=clip_norm), step_of(theirs, clip_norm=clip_norm)
    for seed in range(4):
        given = shares(random_batch(5, seed=seed), random_batch(3, seed=seed + 9))
        found, expected = device(given, rate=0.01).read(), eager(given, rate=0.01)
        assert found.loss == pytest.approx(expected.loss, rel=1e-9)
        assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-9)
        assert found.applied and found.tokens == expected.tokens
    require_equal(mine, theirs)


def test_rows_and_positions_that_fill_a_shape_change_nothing() -> None:
    mine, theirs = tiny_model(), tiny_model()
    batch = random_batch(5)
    fixed = batch.filled(8, {"source": 16, "target": 24})
    assert fixed["source"].values.shape == (8, 16)
    assert fixed["target_in"].values.shape == fixed["target"].values.shape == (8, 24)
    assert fixed.target_tokens == batch.target_tokens
    found = device_step(mine)(shares(fixed), rate=0.01).read()
    assert found.loss == pytest.approx(step_of(theirs)(shares(batch), rate=0.01).loss, rel=1e-9)
    require_equal(mine, theirs)


@pytest.mark.parametrize("micro_batches", [2, 4])
def test_parts_of_a_fixed_batch_keep_its_lengths_and_give_the_same_update(micro_batches: int) -> None:
    mine, theirs = tiny_model(), tiny_model()
    fixed = random_batch(5).filled(8, {"source": 16, "target": 24})
    assert fixed.take([0, 2])["target"].values.shape == (2, 24)
    device_step(mine, micro_batches=micro_batches)(shares(fixed), rate=0.01)
    device_step(theirs)(shares(fixed), rate=0.01)
    require_equal(mine, theirs)


def test_out_of_memory_splits_the_batch_and_counts_nothing_twice() -> None:
    mine, theirs = tiny_model(), tiny_model()
    batches = [random_batch(3, seed=1), random_batch(7)]
    step = device_step(mine, loss=ShortOfMemory(mine, rows=3))
    assert step(shares(*batches), rate=0.01).read().applied
    assert step.micro_batches == 4
    step_of(theirs)(shares(*batches), rate=0.01)
    require_equal(mine, theirs)
    with pytest.raises(UserError, match=r"data\.max_length"):
        device_step(mine, loss=ShortOfMemory(mine, rows=0))(shares(random_batch()), rate=0.01)


class Spoiled(nn.Module):
    """A loss that is not finite at some calls."""

    def __init__(self, model: nn.Module, poison: dict[int, float]) -> None:
        super().__init__()
        self.model, self.poison, self.calls = model, poison, 0

    def forward(self, batch: Batch) -> Tensor:
        self.calls += 1
        total: Tensor = CrossEntropy()(self.model, batch)
        return total * self.poison.get(self.calls, 1.0)


def test_an_update_that_is_not_finite_changes_neither_weights_nor_moments_nor_their_count() -> None:
    model, plain = tiny_model(), tiny_model()
    step = device_step(model, loss=Spoiled(model, {1: float("nan"), 3: float("inf")}))
    other = device_step(plain, loss=Spoiled(plain, {}))
    results = [step(shares(random_batch(seed=seed)), rate=0.01) for seed in (7, 1, 8, 2)]
    for seed in (1, 2):
        other(shares(random_batch(seed=seed)), rate=0.01)
    assert [result.read().applied for result in results] == [False, True, False, True]
    for one, two in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, two)
        for name, value in step.optimizer.state[one].items():
            assert torch.equal(value, other.optimizer.state[two][name]), name


class NoLook(TorchDispatchMode):
    """Refuses every operation by which the host waits for a value of the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal"}, name
        return func(*args, **(kwargs or {}))


@contextmanager
def no_look(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the host waits for the device")

    with monkeypatch.context() as patch, NoLook():
        for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"):
            patch.setattr(Tensor, name, refuse)
        yield


def test_an_update_never_looks_at_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, batch: Batch) -> Tensor:
            x: Tensor = self.layer(batch["source"].values[:, :1].float().expand(-1, 4))
            return x.square().sum()

    model, given = Linear(), shares(random_batch(5), random_batch(3))
    step, average = device_step(model, loss=model, clip_norm=0.1), MovingAverage(tiny_model(), 0.9)
    with no_look(monkeypatch):
        for _ in range(3):
            result = step(given, rate=0.1)
            average.update(result.applied)
    assert result.read().applied
    with pytest.raises(AssertionError, match="waits"), no_look(monkeypatch):
        result.read()


@pytest.mark.parametrize("name", TABLES)
def test_forward_and_backward_never_look_at_a_device_that_is_no_cpu(name: str) -> None:
    """On the device "meta", which has no values, any look is an error."""
    sizes = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 2, "decoder_layers": 2}
    model = build_model(model_config({"kind": "transformer", **sizes, **TABLES[name]}), vocabulary(30))
    model = model.to("meta")
    step = device_step(model, clip_norm=1.0)
    step.group = Group(device=torch.device("meta"))
    given = shares(random_batch(5).filled(8, {"source": 16, "target": 24}))
    total = step.gradients(given, 10)
    norm = torch.nn.utils.clip_grad_norm_(step.parameters, 1.0)
    assert total.device.type == norm.device.type == "meta"
    assert all(parameter.grad is not None for parameter in step.parameters)


@pytest.mark.parametrize("kind", ["transformer-xl", "transformer-lm", "recurrent-lm"])
def test_language_models_never_look_at_a_device_that_is_no_cpu(kind: str) -> None:
    sizes = {} if kind == "recurrent-lm" else {"heads": 2, "feed_forward": 32, "layers": 2, "memory": 5}
    model = build_model(model_config({"kind": kind, "width": 16, **sizes}), vocabulary(30)).to("meta")
    ids, carried = torch.randint(4, 30, (3, 7)), CarriedMemory(3)
    segments = Segments(ids, ids, 0, 21, torch.arange(3)).attach(model.start(3), carried)
    step = device_step(model, loss=Loss(model, NextToken()))
    step.group = Group(device=torch.device("meta"))
    step.gradients([Share(segments, 1.0, 21)], 21)
    assert carried.take()


def test_an_average_of_weights_leaves_out_updates_that_were_skipped() -> None:
    model = tiny_model()
    on_host, on_device = MovingAverage(model, 0.7), MovingAverage(model, 0.7)
    for applied in (False, True, False, True, True):
        if applied:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter))
        on_host.update(applied)
        on_device.update(torch.tensor(applied))
        require_equal(on_host.network, on_device.network)
    assert bool(on_device.begun)


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs train with the step for GPUs."""
    monkeypatch.setattr(experiment, "Setup", partial(Setup, make_step=_device_step_of))


def _device_step_of(*arguments: Any, config: TrainingConfig, **options: Any) -> DeviceStep:
    options.pop("say")
    loss, optimizer = arguments[-2:]
    return DeviceStep(loss, optimizer, clip_norm=config.clip_norm, autocast=False, **options)


def run(corpus: Path, name: str, *settings: str) -> tuple[Path, Counters]:
    files = [f"data.source={corpus / 'train.en'}", f"data.target={corpus / 'train.de'}", "data.holdout=20"]
    plan = read_experiment(overrides=[*files, *TINY, *settings])
    return corpus / name, start_run(plan, corpus / name, Group())


def last_of(folder: Path) -> dict[str, Tensor]:
    last = folder / "checkpoints" / "last"
    return {**read_tensors(last / "model.safetensors"), **read_tensors(last / "training.safetensors")}


@pytest.mark.usefixtures("on_device")
def test_a_run_resumes_bit_for_bit_and_keeps_the_plan_of_its_epoch(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("training.accumulate=2", "training.ema=0.5", "training.save_every=7", "validation.every=12")
    whole, _ = run(corpus, "whole", *settings)
    calls, update = iter(range(1, 100)), DeviceStep.__call__

    def stopping(self: DeviceStep, *arguments: Any, **options: Any) -> Any:
        if next(calls) == 8:
            raise KeyboardInterrupt
        return update(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(DeviceStep, "__call__", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(corpus, "cut", *settings)
    state = corpus / "cut" / "checkpoints" / "last" / "training.json"
    counters = read_counters(state)
    assert counters.step == 7 and counters.fixed_shapes and counters.done
    resume_run(corpus / "cut", Group())
    for name, tensor in last_of(whole).items():
        assert torch.equal(last_of(corpus / "cut")[name], tensor), name
    assert read_json(state)["counters"]["finished"]


@pytest.mark.usefixtures("on_device")
def test_skipped_updates_are_noted_at_their_own_step_and_end_the_run(corpus: Path) -> None:
    with pytest.raises(UserError, match=r"step \d+: 3 updates in a row were skipped"):
        run(corpus, "run", "training.peak_rate=1e30", "training.warmup=0", "training.max_skipped=3")
    text = (corpus / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [line for line in text if '"skipped", "step"' in line or '"kind": "skipped"' in line]
    assert len(steps) == 3


def test_the_step_fits_device_and_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    model = tiny_model()
    long, short = TrainingConfig(steps=5000), TrainingConfig(steps=100)
    loss = Loss(model, CrossEntropy())
    assert compiles_model(long, cuda, loss) and not compiles_model(short, cuda, loss)
    assert not compiles_model(long, cpu, loss)
    assert compiles_model(TrainingConfig(compile=True), cpu, loss)
    assert not compiles_model(TrainingConfig(steps=5000, compile=False), cuda, loss)
    assert not compiles_model(long, cuda, Loss(model, ReadsModules()))
    recurrent = build_model(model_config({"kind": "recurrent", "width": 8, "embedding": 8}), vocabulary())
    assert not compiles_model(long, cuda, Loss(recurrent, CrossEntropy()))
    make = partial(make_step, Loss(model, CrossEntropy()), make_optimizer(model, OptimizerConfig()))
    assert isinstance(make(group=Group(), config=long), EagerStep)
    monkeypatch.setattr(choosing, "CompiledRegions", lambda loss: loss)
    said: list[str] = []
    compiled = make(group=Group(), config=TrainingConfig(compile=True), say=said.append)
    assert isinstance(compiled, DeviceStep) and compiled.regions is not None
    assert said and said[0].startswith("Compiling")


@pytest.mark.parametrize("units", [False, True])
def test_bfloat16_without_instructions_for_it_is_warned_of(
    units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "computes_bfloat16", lambda: units)
    model = tiny_model()
    said: list[str] = []
    make = partial(make_step, Loss(model, CrossEntropy()), make_optimizer(model, OptimizerConfig()))
    make(group=Group(), config=TrainingConfig(precision="float32"), say=said.append)
    assert not said
    make(group=Group(), config=TrainingConfig(precision="bfloat16"), say=said.append)
    assert [text.startswith("Warning: this processor has no instructions") for text in said] == [True] * (
        not units
    )


class ReadsModules(CrossEntropy):
    reads_modules = True


@pytest.mark.filterwarnings("ignore:Guards may run slower")
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # asked for by torch's compiler itself
def test_layers_of_a_kind_are_compiled_once_and_never_again() -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    sizes = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 3, "decoder_layers": 3}
    table = {"kind": "transformer", "dropout": 0.0, **sizes}
    torch.manual_seed(3)
    mine = build_model(model_config(table), vocabulary(30)).double()
    theirs = copy.deepcopy(mine)
    counter = CompileCounterWithBackend("eager")
    loss = Loss(mine, CrossEntropy(0.1))
    step = device_step(mine, loss=loss, regions=CompiledRegions(loss, backend=counter))
    eager = step_of(theirs)
    for number, (rows, source, target) in enumerate([(8, 12, 16), (16, 12, 8), (8, 20, 20), (24, 8, 8)]):
        batch = random_batch(rows - 1, seed=number).filled(rows, {"source": source, "target": target})
        found = step(shares(batch), rate=0.01).read()
        assert found.loss == pytest.approx(eager(shares(batch), rate=0.01).loss, rel=1e-9)
        assert counter.frame_count == 2, "one graph for encoder layers, one for decoder layers"
    require_equal(mine, theirs)
    assert "forward" not in vars(mine.encoder.layers[0]), "outside of an update the model is as it was"
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_a_compiled_model_learns_as_the_eager_one_does() -> None:
    """300 updates with torch's compiler: the same losses within rounding, and no graph after the first."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    sizes = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 2, "decoder_layers": 2}
    torch.manual_seed(3)
    mine = build_model(model_config({"kind": "transformer", "dropout": 0.0, **sizes}), vocabulary(30))
    theirs = copy.deepcopy(mine)
    loss = Loss(mine, CrossEntropy(0.1))
    step, eager = device_step(mine, loss=loss, regions=CompiledRegions(loss)), step_of(theirs)
    batches = [random_batch(7, seed=n).filled(8, {"source": 12, "target": 8 + 4 * (n % 2)}) for n in range(6)]
    compiled: list[float] = []
    plain: list[float] = []
    graphs = 0
    for number in range(300):
        given = shares(batches[number % len(batches)])
        compiled.append(step(given, rate=1e-3).read().loss)
        plain.append(eager(given, rate=1e-3).loss)
        graphs = graphs or counters["stats"]["unique_graphs"]
    assert counters["stats"]["unique_graphs"] == graphs == 2
    assert plain[-1] < 0.8 * plain[0]
    assert compiled[:50] == pytest.approx(plain[:50], rel=1e-3)
    for first in range(0, 300, 50):  # rounding grows from update to update
        means = [sum(losses[first : first + 50]) / 50 for losses in (compiled, plain)]
        assert means[0] == pytest.approx(means[1], rel=0.01)


@pytest.mark.gpu
def test_a_step_on_a_gpu_is_that_of_the_cpu() -> None:
    mine, theirs = tiny_model().cuda(), tiny_model()
    step, eager = device_step(mine, clip_norm=0.1), step_of(theirs, clip_norm=0.1)
    step.group = Group(device=torch.device("cuda"))
    for seed in range(3):
        batch = random_batch(7, seed=seed).filled(8, {"source": 12, "target": 12})
        found = step([Share(batch.pin(), 1.0, batch.target_tokens)], rate=0.01)
        assert not found.ready
        assert found.read().loss == pytest.approx(eager(shares(batch), rate=0.01).loss, rel=1e-6)
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.cpu(), other, atol=1e-6, rtol=0)
