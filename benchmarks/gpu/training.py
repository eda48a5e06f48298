"""Training: share of the ceiling, beside plain loops around the models of transformers and PyTorch."""

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from benchmarks.gpu.setting import Run, batch_of, shaped_batches, typical_lengths
from benchmarks.training_peers import MarianTransformer, TorchTransformer, plain_update
from benchmarks.training_speed import SMOOTHING, peak_mb
from saccade.models.transformer import TransformerConfig
from saccade.text.batching import Batch, plan_batches
from saccade.training.batch import Share
from saccade.training.compiling import CompiledRegions
from saccade.training.device import DeviceStep
from saccade.training.distributed import Group
from saccade.training.objective import CrossEntropy, Loss, Objective
from saccade.training.optim import OptimizerConfig, make_optimizer
from saccade.training.settings import uses_bfloat16
from saccade.training.throughput import matrix_ceiling, synchronise, training_flops

Train = Callable[[Sequence[Batch]], Any]


def step_of(
    run: Run, network: nn.Module, *, compiled: bool, objective: Objective | None = None, precision: str = ""
) -> DeviceStep:
    """Our own step."""
    loss = Loss(network.train(), objective or CrossEntropy(SMOOTHING))
    return DeviceStep(
        loss,
        make_optimizer(network, OptimizerConfig()),
        group=Group(device=run.device),
        clip_norm=1.0,
        autocast=uses_bfloat16(precision or run.precision, run.device),
        regions=CompiledRegions(loss, backend=run.backend) if compiled else None,
    )


def ours(run: Run, network: nn.Module, *, compiled: bool) -> Train:
    """Our own step as a function of the batches."""
    step = step_of(run, network, compiled=compiled)
    return lambda batches: step([Share(batch, 1.0, batch.target_tokens) for batch in batches], rate=1e-4)


def graphs() -> int:
    """How many graphs torch's compiler has made so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def measure(
    run: Run, name: str, train: Train, batches: Sequence[Batch], flops: Callable[[int, int], float]
) -> None:
    """Trains for some updates: the first one alone, one of each shape, then the timed ones."""
    device = run.device
    pinned = [batch.pin() if device.type == "cuda" else batch for batch in batches]
    started = time.perf_counter()
    train(pinned[:1])
    synchronise(device)
    first = time.perf_counter() - started
    shapes = {(*batch["source"].values.shape, batch["target"].values.size(1)): batch for batch in pinned}
    for batch in shapes.values():
        train([batch])
    synchronise(device)
    before, warm = graphs(), time.perf_counter() - started
    tokens, source, updates = 0, 0, 0
    started = time.perf_counter()
    for batch in itertools.cycle(pinned):
        train([batch])
        tokens, source, updates = (
            tokens + batch.target_tokens,
            source + batch["source"].positions,
            updates + 1,
        )
        if updates >= 3 and time.perf_counter() - started > (0.2 if run.tiny else 6):
            break
    synchronise(device)
    seconds = time.perf_counter() - started
    per_second = flops(source, tokens) / seconds
    run.note(
        name,
        tokens_per_second=tokens / seconds,
        tflops=per_second / 1e12,
        share_of_ceiling=per_second / run.ceiling,
        ms_an_update=1000 * seconds / updates,
        peak_mb=peak_mb(device),
        first_update_s=first,
        warm_up_s=warm,
        shapes=len(shapes),
        recompilations=graphs() - before,
    )


def preset(run: Run, name: str) -> None:
    """One preset: ours, eager and compiled, and the peers, eager and compiled."""
    words, group = run.vocabulary, Group(device=run.device)
    shaped = shaped_batches(run, batch_tokens=run.batch_tokens, most=8 if run.tiny else 60)
    sides = typical_lengths(2000 if run.tiny else 100_000)
    plain = [
        batch_of(rows, sides, words)
        for rows in plan_batches(*sides, batch_tokens=run.batch_tokens, seed=1, epoch=0)[: len(shaped)]
    ]
    network = run.network(name)
    config = cast(TransformerConfig, network.config)

    def flops(source: int, target: int) -> float:
        return training_flops(network, source=source, target=target)

    def peer(kind: Callable[..., nn.Module], *, compiled: bool) -> Train:
        torch.manual_seed(1)
        module = kind(config, words)
        if compiled:
            module = cast(nn.Module, torch.compile(module, dynamic=True, backend=run.backend))
        return plain_update(module, group, run.precision, pad=words.pad)

    loops: dict[str, tuple[Callable[[], Train], list[Batch]]] = {
        "Saccade, compiled": (lambda: ours(run, run.network(name), compiled=True), shaped),
        "Saccade": (lambda: ours(run, run.network(name), compiled=False), shaped),
        "Marian": (lambda: peer(MarianTransformer, compiled=False), plain),
        "torch.nn": (lambda: peer(TorchTransformer, compiled=False), plain),
        "Marian, compiled": (lambda: peer(MarianTransformer, compiled=True), shaped),
        "torch.nn, compiled": (lambda: peer(TorchTransformer, compiled=True), shaped),
    }
    for title, (make, batches) in loops.items():
        what = f"train {name}: {title}"
        if run.over(what):
            return
        with run.part(what):
            torch.compiler.reset()
            measure(run, what, make(), batches, flops)
        gc.collect()


def ceiling(run: Run) -> None:
    """The most that the device can multiply, in the precision of training."""
    dtype = torch.bfloat16 if run.precision == "bfloat16" else torch.float32
    run.ceiling = matrix_ceiling(run.device, dtype, size=256 if run.tiny else None)
    run.note("ceiling", tflops=run.ceiling / 1e12, precision=run.precision)


def small_updates(run: Run) -> None:
    """The tiny preset with 2 x 4,096 tokens an update, as the Multi30k run has them."""
    network = run.network("tiny")
    batches = shaped_batches(run, batch_tokens=256 if run.tiny else 4096, most=8 if run.tiny else 80)
    for compiled in (False, True):
        what = f"tiny preset, 2 x 4,096 tokens{', compiled' * compiled}"
        if run.over(what):
            return
        with run.part(what):
            train = ours(run, network, compiled=compiled)
            for batch in batches:
                train([batch])
            updates = 4 if run.tiny else 100
            synchronise(run.device)
            started = time.perf_counter()
            for number in range(updates):
                train([batches[(2 * number + place) % len(batches)] for place in range(2)])
            synchronise(run.device)
            run.note(what, updates_per_second=updates / (time.perf_counter() - started))


def curve(run: Run) -> None:
    """The loss over 500 updates, compiled in low precision and eager in float32, means of 50."""
    what = "loss curve"
    if run.over(what):
        return
    batches = shaped_batches(run, batch_tokens=256 if run.tiny else 4096, most=20)
    updates, window = (8, 4) if run.tiny else (500, 50)
    for compiled, precision in ((True, run.precision), (False, "float32")):
        with run.part(what):
            network = run.network("tiny", dropout=0.0)
            step = step_of(run, network, compiled=compiled, precision=precision)
            losses = [
                step([Share(batch, 1.0, batch.target_tokens)], rate=5e-4).read().loss
                for batch in itertools.islice(itertools.cycle(batches), updates)
            ]
            means = [round(sum(losses[at : at + window]) / window, 4) for at in range(0, updates, window)]
            run.note(f"{what}, {'compiled' if compiled else 'eager'} {precision}", losses=means)
