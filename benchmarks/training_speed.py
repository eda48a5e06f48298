"""How fast a model trains: what training.py and the comparison of systems measure."""

import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from saccade.config import Section
from saccade.model_folder.checkpoint import vocabulary_of
from saccade.models import build_model
from saccade.models.interface import Vocabulary
from saccade.text.batching import Batch
from saccade.text.prepare import Prepared, open_prepared
from saccade.text.translation import SIDES, collate_translation
from saccade.training.allocator import steady_memory
from saccade.training.data import TrainingLines
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.objective import CrossEntropy, Loss
from saccade.training.optim import OptimizerConfig, make_optimizer
from saccade.training.settings import uses_bfloat16

SMOOTHING = 0.1

RATE = 1e-4


class Update(Protocol):
    """A model, its optimiser, and the way to train it."""

    def __call__(self, batches: Sequence[Batch], *, rate: float = RATE) -> tuple[int, float]:
        """Train on the batches of an update; their target tokens, and the loss in nats a token before it."""
        ...


def our_update(model: Section, vocabulary: Vocabulary, group: Group, precision: str) -> Update:
    """A fresh model in our own loop, in a process settled as `saccade train` settles its own."""
    return our_update_of(cast(nn.Module, build_model(model, vocabulary)), group, precision)


def our_update_of(module: nn.Module, group: Group, precision: str) -> Update:
    """The same for a given model."""
    steady_memory()
    module = module.to(group.device).train()
    step = EagerStep(
        Loss(module, CrossEntropy(SMOOTHING)),
        make_optimizer(module, OptimizerConfig()),
        group=group,
        clip_norm=0.0,
        autocast=uses_bfloat16(precision, group.device),
    )

    def update(batches: Sequence[Batch], *, rate: float = RATE) -> tuple[int, float]:
        result = step([group.share(batch) for batch in batches], rate=rate)
        return result.tokens, result.loss

    return update


def training_speed(
    data: Path, model: Section, *, precision: str, batch_tokens: int, updates: int, warmup: int
) -> dict[str, float]:
    """`update_speed` of a fresh model in our own loop."""
    torch.manual_seed(1)
    group = Group(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    update = our_update(model, vocabulary_of(open_prepared(data).tokenizer), group, precision)
    return update_speed(update, data, batch_tokens=batch_tokens, updates=updates, warmup=warmup)


def training_lines(prepared: Prepared, *, batch_tokens: int, seed: int) -> TrainingLines:
    """The batches of a run on prepared text, one in each update."""
    return TrainingLines(
        lambda _: prepared.train,
        partial(collate_translation, start=prepared.tokenizer.start),
        SIDES,
        batch_tokens,
        accumulate=1,
        seed=seed,
    )


def updates_of(data: Path, *, batch_tokens: int) -> Iterator[Sequence[Batch]]:
    """The batches of each update on prepared text, without end."""
    pairs = training_lines(open_prepared(data), batch_tokens=batch_tokens, seed=1)
    return (batches for epoch in cycle(range(1000)) for batches in pairs.epoch(epoch, done=0))


def update_speed(
    update: Update, data: Path, *, batch_tokens: int, updates: int, warmup: int
) -> dict[str, float]:
    """Train on prepared data for `updates` updates after `warmup` ones, data loading inside the timer.

    Peak memory is that of the GPU, or of the whole process: give each measurement its own.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    source = updates_of(data, batch_tokens=batch_tokens)
    for batches in islice(source, warmup):
        update(batches)
    started, waited, tokens = time.perf_counter(), 0.0, 0
    for _ in range(updates):
        asked = time.perf_counter()
        batches = next(source)
        waited += time.perf_counter() - asked
        tokens += update(batches)[0]
    seconds = time.perf_counter() - started
    return {
        "tokens_per_second": tokens / seconds,
        "tokens_per_update": tokens / updates,
        "waiting": waited / seconds,
        "peak_mb": peak_mb(device),
    }


PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "mkldnn::_linear_pointwise")


def share_in_products(update: Update, batches: Iterable[Sequence[Batch]]) -> float:
    """Share of the time of updates on a CPU that products of matrices take, from 0 to 1, as torch's profiler
    sees it. Those within a kernel for attention do not count."""
    started = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for one in batches:
            update(one)
        seconds = time.perf_counter() - started
    spent = sum(row.self_cpu_time_total for row in seen.key_averages() if row.key in PRODUCTS)
    return float(spent / 1e6 / seconds)


def peak_mb(device: torch.device) -> float:
    """Most memory in use so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says begins with what the parent process had
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
