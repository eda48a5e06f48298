"""One layer of each kind over lengths 16 to 4,096, beside the table of the Transformer's paper (table 1):
operations, time, memory, the chain of operations that wait for each other, and how far one layer reaches.

A layer is what a model has of it: self-attention with its four products, one direction of a GRU, a gated
convolution with its residual. One sentence, float32. Feed-forward networks belong to none of them.
"""

import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from saccade.nn.attention import SelfAttention
from saccade.nn.convolution import ConvolutionalEncoderLayer
from saccade.nn.recurrence import recurrent_layer, run

LENGTHS = tuple(2**power for power in range(4, 13))
WIDTH, HEADS, KERNEL, WINDOW = 256, 4, 3, 64

Layer = Callable[[Tensor], Tensor]


def attention(width: int = WIDTH) -> tuple[nn.Module, Layer]:
    module = SelfAttention(width, heads=HEADS, causal=False)
    return module, module


def local(width: int = WIDTH, window: int = WINDOW) -> tuple[nn.Module, Layer]:
    module = SelfAttention(width, heads=HEADS, causal=False, window=window)
    return module, module


def recurrent(width: int = WIDTH) -> tuple[nn.Module, Layer]:
    module = recurrent_layer(width, width, cell="gru")
    return module, lambda x: run(module, x)


def convolution(width: int = WIDTH, kernel: int = KERNEL) -> tuple[nn.Module, Layer]:
    module = ConvolutionalEncoderLayer(width, width, kernel=kernel, dropout=0.0)
    return module, lambda x: module(x, real=None)


KINDS: dict[str, Callable[..., tuple[nn.Module, Layer]]] = {
    "attention": attention,
    "local": local,
    "recurrent": recurrent,
    "convolution": convolution,
}
SHORT, SHORT_WINDOW = 33, 8
"""Length and window with which `path` is measured."""


def predicted(kind: str, length: int) -> float:
    """Multiplications by the notes' table: n^2 d, r n d (r on either side and itself), n d^2, k n d^2."""
    return {
        "attention": length**2 * WIDTH,
        "local": (2 * WINDOW + 1) * length * WIDTH,
        "recurrent": length * WIDTH**2,
        "convolution": KERNEL * length * WIDTH**2,
    }[kind]


def multiplications(kind: str, length: int) -> float:
    """Counted in a forward pass: half of torch's floating-point operations, without computing anything."""
    with torch.device("meta"):
        _, layer = KINDS[kind]()
        x = torch.empty(1, length, WIDTH)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:  # fused kernels are not counted on CPUs
        layer(x)
    return counter.get_total_flops() / 2


def seconds(layer: Layer, x: Tensor, *, backward: bool) -> float:
    """Processor time of one pass, or the mean of several where one is short: what other work on the machine
    takes does not count."""
    calls = max(1, 1024 // x.size(1))
    started = time.process_time()
    for _ in range(calls):
        with torch.set_grad_enabled(backward):
            out = layer(x)
        if backward:
            out.sum().backward()
    return (time.process_time() - started) / calls


def times(length: int, runs: int) -> dict[str, dict[str, list[float]]]:
    """Kind to "forward" and "both" (with the gradient): seconds of `runs` rounds, kinds taking turns."""
    layers = {kind: make()[1] for kind, make in KINDS.items()}
    found: dict[str, dict[str, list[float]]] = {kind: {"forward": [], "both": []} for kind in KINDS}
    x = torch.randn(1, length, WIDTH, requires_grad=True)
    for turn in range(runs + 1):  # the first is for warming up
        for kind, layer in layers.items():
            for name, backward in (("forward", False), ("both", True)):
                took = seconds(layer, x, backward=backward)
                if turn:
                    found[kind][name].append(took)
    return found


def peak_bytes(kind: str, length: int) -> int:
    """Most memory that a forward and a backward pass hold at once, beside the input and the parameters."""
    _, layer = KINDS[kind]()
    x = torch.randn(1, length, WIDTH, requires_grad=True)
    layer(x).sum().backward()  # gradients of parameters are there from now on
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as recorded:
        layer(x).sum().backward()
    events: Any = recorded.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held = most = 0
    for _, change in changes:
        held += change
        most = max(most, held)
    return most


def longest_chain(out: Tensor) -> int:
    """Operations of the longest chain that leads to `out`, each waiting for the one before."""
    depth: dict[Any, int] = {}
    stack: list[Any] = [out.grad_fn]
    while stack:
        node = stack[-1]
        below = [following for following, _ in node.next_functions if following is not None]
        missing = [following for following in below if following not in depth]
        if missing:
            stack.extend(missing)
        else:
            depth[stack.pop()] = 1 + max((depth[following] for following in below), default=0)
    return depth[out.grad_fn]


def reach(kind: str, length: int) -> int:
    """How far before the last position the furthest input lies that it depends on, by the gradient."""
    torch.manual_seed(0)
    module, layer = KINDS[kind]()
    module.double()
    x = torch.randn(1, length, WIDTH, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, -1].sum(), x)
    first = int(gradient[0].abs().sum(-1).nonzero()[0])
    return length - 1 - first


def path(kind: str, length: int, *, window: int) -> int:
    """How often a layer, or a step of the recurrence, has to be applied until the last position depends on
    the first, by the gradient: of as many layers as it takes, or of a recurrence that is cut at each step."""
    torch.manual_seed(0)
    module, layer = local(16, window) if kind == "local" else KINDS[kind](16)
    module.double()
    x = torch.randn(1, length, 16, dtype=torch.float64, requires_grad=True)
    if isinstance(module, nn.RNNBase):
        return sum(not _passes(module, x, cut) for cut in range(1, length))
    out, count = layer(x), 1
    while not bool(torch.autograd.grad(out[0, -1].sum(), x, retain_graph=True)[0][0, 0].any()):
        out, count = layer(out), count + 1
    return count


def _passes(module: nn.RNNBase, x: Tensor, cut: int) -> bool:
    """Whether anything of the first position arrives at the last but by the state after `cut` positions."""
    state = run(module, x[:, :cut])[:, -1].detach()
    out = run(module, x[:, cut:], (state[None],))
    return bool(torch.autograd.grad(out[0, -1].sum(), x)[0][0, 0].any())


def measure_length(length: int, *, runs: int) -> dict[str, dict[str, float]]:
    """All of one length: kind to measure to value; seconds are medians, with their lowest and highest.

    "path" is measured with a short sentence whatever the length.
    """
    took = times(length, runs)
    found: dict[str, dict[str, float]] = {}
    for kind, make in KINDS.items():
        module, layer = make()
        values: dict[str, float] = {
            "multiplications": multiplications(kind, length),
            "predicted": predicted(kind, length),
            "peak_mb": peak_bytes(kind, length) / 2**20,
            "chain": longest_chain(layer(torch.randn(1, length, WIDTH, requires_grad=True))),
            "reach": reach(kind, min(length, 512)),
            "path": path(kind, SHORT, window=SHORT_WINDOW),
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
        }
        for name, each in took[kind].items():
            values |= {name: statistics.median(each), f"{name}_low": min(each), f"{name}_high": max(each)}
        found[kind] = values
    return found


def measure(out: Path, *, threads: int, runs: int) -> None:
    """Every length into the JSON file `out`, which keeps those that it has."""
    torch.set_num_threads(threads)
    done: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    for length in LENGTHS:
        if str(length) in done:
            continue
        torch.manual_seed(0)
        done[str(length)] = measure_length(length, runs=runs)
        out.write_text(json.dumps(done, indent=1), encoding="utf-8")
        shown = {kind: f"{1000 * values['both']:.2f} ms" for kind, values in done[str(length)].items()}
        print(length, shown, flush=True)


def crossover(lengths: list[int], ours: list[float], theirs: list[float]) -> float | None:
    """From which length on our cost stays above theirs; between two measured ones, a straight line in
    logarithms. None: never up to the last."""
    above = [mine > its for mine, its in zip(ours, theirs, strict=True)]
    if not above[-1]:
        return None
    first = len(above) - next((n for n, over in enumerate(reversed(above)) if not over), len(above))
    if first == 0:
        return float(lengths[0])
    before, after = ours[first - 1] / theirs[first - 1], ours[first] / theirs[first]
    share = math.log(1 / before) / math.log(after / before)
    return float(lengths[first - 1] * (lengths[first] / lengths[first - 1]) ** share)
