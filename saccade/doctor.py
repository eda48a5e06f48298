"""The facts of this machine, the largest training batch that fits into its memory, and checks of models."""

import math
import os
import platform
import re
import shutil
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

import torch
from torch import Tensor

from saccade.distribution import extras as declared_extras
from saccade.distribution import install_hint, version
from saccade.errors import DamagedFile
from saccade.interop.exported import exported_target, is_exported, load_exported
from saccade.machine import default_device, free_memory, gigabytes
from saccade.model_folder.checkpoint import WEIGHTS, find_model, load_model
from saccade.model_folder.manifest import DESCRIPTION
from saccade.models import build_model, model_config
from saccade.models.interface import Vocabulary
from saccade.models.outline import parameters_in
from saccade.models.transformer import Transformer
from saccade.native.library import why_not
from saccade.storage.digests import verify
from saccade.storage.structured import is_plain
from saccade.text.batching import Batch, PaddedColumn
from saccade.text.translation import translation_batch
from saccade.training.choosing import make_step
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.objective import CrossEntropy, Loss
from saccade.training.optim import OptimizerConfig, make_optimizer
from saccade.training.settings import TrainingConfig, uses_bfloat16
from saccade.training.throughput import matrix_ceiling, training_flops

SAFE = 0.8
"""Share of the free memory that a batch may use."""

_VOCABULARY = Vocabulary(8000, 8000, pad=0, start=2, end=3, shared=True)
_LENGTH = 64  # tokens per sentence; with fused attention, memory per token hardly depends on it
_WORK = 1.5e10  # parameters x tokens of the larger measured step on a CPU: a few seconds
_MOST_PARAMETERS = 100e6  # on a CPU, larger models are estimated, not measured
_ESTIMATE_FACTOR = 1.4  # peak over saved activations; measured 1.1 to 1.4 for tiny, small and base


@dataclass(frozen=True)
class Extra:
    """An optional package: the extra that it belongs to, and its version, None where it is missing."""

    package: str
    extra: str
    version: str | None

    @property
    def install(self) -> str:
        """The command that installs the package."""
        return install_hint(self.extra)


@dataclass(frozen=True)
class LargestBatch:
    """The largest safe training.batch_tokens, 0 if not even the model fits; memory in bytes."""

    tokens: int
    measured: bool
    bytes_per_token: float
    bytes_fixed: float
    free: int


@dataclass(frozen=True)
class TrainingSpeed:
    """What training reaches here: target tokens a second, and floating-point operations a second of the
    linear layers, beside the most that products of matrices reach (`ceiling`)."""

    tokens_per_second: float
    flops: float
    ceiling: float

    @property
    def share(self) -> float:
        """Share of the ceiling."""
        return self.flops / self.ceiling


def facts() -> dict[str, str]:
    """Facts to check and to include in bug reports: versions, device, precision, threads, memory, disk."""
    device = default_device()
    disk = shutil.disk_usage(Path.cwd())
    return {
        "saccade": version(),
        "python": f"{platform.python_version()} ({sys.executable})",
        "torch": str(torch.__version__),
        "system": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {_processor()}",
        "bfloat16": _bfloat16(device),
        "kernels": f"none, plain torch is used: {why_not()}" if why_not() else "compiled for this processor",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} processors",
        "memory": f"{gigabytes(free_memory(device))} free{' on the GPU' if device.type == 'cuda' else ''}",
        "disk": f"{gigabytes(disk.free)} free in {Path.cwd()}",
    }


def check_model(folder: Path) -> dict[str, str]:
    """Reads every file of a model folder, an exported folder, or the checkpoints of a run; returns findings.

    Raises UserError for the first file that is missing, damaged, or not the one that was written, and for
    weights that are not finite.
    """
    checkpoints = folder / "checkpoints"
    parts = [path for path in sorted(checkpoints.glob("*")) if is_plain(path / DESCRIPTION)]
    if is_exported(folder):
        load_exported(folder, target=exported_target(folder))
        parts = [folder]
    elif is_plain(folder / DESCRIPTION) or not parts:
        parts = [find_model(folder)]
    return {str(part): _checked(part) for part in parts}


def _checked(folder: Path) -> str:
    names = verify(folder)
    compared = f"{len(names)} files are as they were written" if names else "no digests to compare with"
    if is_exported(folder):
        return compared
    network = load_model(folder).network
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise DamagedFile(f"{folder / WEIGHTS}: {name} holds numbers that are not finite.")
    return f"{compared}; {parameters_in(network):,} finite parameters"


def extras() -> list[Extra]:
    """The optional packages, without those for developers."""
    return [
        Extra(package, extra, _version(package))
        for extra, packages in declared_extras().items()
        for package in packages
    ]


def largest_batch(preset: str, *, device: torch.device | None = None) -> LargestBatch:
    """The largest batch of real training steps that fits into 80% of the free memory.

    Peak memory is measured at two sizes and extrapolated linearly. For large models on a CPU, and if the
    system does not report it, it is estimated from the tensors saved for the backward pass. preset: one of
    the Transformer, with a vocabulary of 8,000; raises UserError for an unknown one.
    """
    device = device or default_device()
    free = free_memory(device)
    parameters, saved = _saved_by_backward(preset)
    if device.type == "cuda" or (parameters <= _MOST_PARAMETERS and _can_measure()):
        per_token, fixed = _measure(preset, parameters, device)
        # A process that has freed memory before may have reused some, which lowers the measurement.
        per_token = max(per_token, saved / 2 if device.type == "cuda" else saved)
    else:
        # Weights, gradients and Adam's two averages, 4 bytes each.
        per_token, fixed = saved * _ESTIMATE_FACTOR, 16.0 * parameters
        return LargestBatch(_round_down((SAFE * free - fixed) / per_token), False, per_token, fixed, free)
    return LargestBatch(_round_down((SAFE * free - fixed) / per_token), True, per_token, fixed, free)


def training_speed(preset: str, *, device: torch.device | None = None) -> TrainingSpeed | None:
    """Times updates of a preset, compiled on a GPU, beside large products in the same precision.

    None for a model that is too large for a CPU. preset: as for `largest_batch`.
    """
    device = device or default_device()
    on_cpu = device.type == "cpu"
    with torch.device("meta"):
        parameters = parameters_in(_network(preset))
    if on_cpu and parameters > _MOST_PARAMETERS:
        return None
    network = _network(preset)
    low = uses_bfloat16("auto", device)
    ceiling = matrix_ceiling(device, torch.bfloat16 if low else torch.float32)
    network = network.to(device)
    step = make_step(
        Loss(network, CrossEntropy(0.1)),
        make_optimizer(network, OptimizerConfig()),
        group=Group(device=device),
        config=TrainingConfig(compile=not on_cpu),
    )
    tokens = round(min(max(_WORK / parameters, 512), 2048)) if on_cpu else 25_000
    shares = [Group().share(_batch(tokens // _LENGTH * _LENGTH, device))]
    seconds = []
    for _ in range(3 if on_cpu else 20):
        started = time.perf_counter()
        step(shares, rate=1e-4).read()
        seconds.append(time.perf_counter() - started)
    count, best = shares[0].target_tokens, min(seconds[1:])
    flops = training_flops(network, source=count, target=count)
    return TrainingSpeed(count / best, flops / best, ceiling)


def _saved_by_backward(preset: str) -> tuple[int, float]:
    """Number of parameters, and bytes per token saved for the backward pass, without computing anything."""
    with torch.device("meta"):
        network = _network(preset)
    own = {parameter.untyped_storage() for parameter in network.parameters()}
    kept: set[torch.UntypedStorage] = set()  # views share one

    def keep(tensor: Tensor) -> Tensor:
        kept.add(tensor.untyped_storage())
        return tensor

    batch = _batch(1024, torch.device("meta"))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        source = batch["source"]
        network.decode(batch["target_in"].values, network.encode(source.values, source.lengths))
    size = sum(storage.nbytes() for storage in kept - own)
    return sum(parameter.numel() for parameter in network.parameters()), size / 1024


def _measure(preset: str, parameters: int, device: torch.device) -> tuple[float, float]:
    """Bytes per token, and fixed bytes, measured in training steps of two sizes."""
    large = 8192 if device.type == "cuda" else round(min(max(_WORK / parameters, 512), 4096))
    before = _peak(device)
    network = _network(preset).to(device)
    group = Group(device=device)
    step = EagerStep(
        Loss(network, CrossEntropy(0.1)),
        make_optimizer(network, OptimizerConfig()),
        group=group,
        clip_norm=1.0,
        autocast=uses_bfloat16("auto", device),
    )
    step([group.share(_batch(_LENGTH, device))], rate=1e-4)  # makes the optimiser's state
    sizes, peaks = (large // 4 // _LENGTH * _LENGTH, large // _LENGTH * _LENGTH), []
    for tokens in sizes:
        _forget_peak(device)
        step([group.share(_batch(tokens, device))], rate=1e-4)
        peaks.append(_peak(device))
    per_token = max((peaks[1] - peaks[0]) / (sizes[1] - sizes[0]), 1.0)
    return per_token, max(peaks[0] - per_token * sizes[0] - before, 16.0 * parameters)


def _network(preset: str) -> Transformer:
    network = build_model(model_config({"preset": preset}), _VOCABULARY)
    assert isinstance(network, Transformer)
    return network.train()


def _batch(tokens: int, device: torch.device) -> Batch:
    """A batch of sentences of equal length, with `tokens` in total on either side."""
    rows = tokens // _LENGTH
    ids = torch.full((rows, _LENGTH), 5, device=device)
    lengths = torch.full((rows,), _LENGTH, device=device)
    column = PaddedColumn(ids, lengths, pad=0, positions=rows * _LENGTH)
    return translation_batch({"source": column, "target": column}, start=2)


def _can_measure() -> bool:
    return os.access("/proc/self/clear_refs", os.W_OK)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return 1024 * (_number(Path("/proc/self/status"), r"VmHWM:\s+(\d+)") or 0)


def _round_down(tokens: float) -> int:
    step = 1024 if tokens >= 4096 else 64
    return max(math.floor(tokens / step) * step, 0)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    return name[1].strip() if name else platform.machine()


def _bfloat16(device: torch.device) -> str:
    if device.type == "cuda":
        return "yes, and used by default" if torch.cuda.is_bf16_supported() else "no"
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return "unknown"
    units = sorted(flags & {"amx_bf16", "avx512_bf16", "bf16"})
    if not units:
        return "not in hardware: slower than float32 here"
    return f'in hardware ({", ".join(units)}); training.precision = "bfloat16" uses it'


def _version(package: str) -> str | None:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return None


def _number(path: Path, pattern: str) -> int | None:
    try:
        match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return int(match[1]) if match else None
