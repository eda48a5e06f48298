"""Milliseconds and memory of restricted self-attention, computed in four ways, over lengths 256 to 8,192.

dense: one kernel call with a band mask. blocks: `saccade.nn.local`, what Saccade runs. loop: one kernel
call for each block, in Python. flex: torch's FlexAttention, compiled (needs a C++ compiler). One layer's
attention without its projections; symmetric, as in an encoder. Each way has a process of its own, so that
its peak memory is its own.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.common import arguments, show
from saccade.nn.attention import AttentionPositions
from saccade.nn.local import attend_in_blocks
from saccade.nn.masks import band_mask

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
HEADS, HEAD_WIDTH = 4, 64

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def dense(query: Tensor, key: Tensor, value: Tensor, *, window: int) -> Tensor:
    length = query.size(2)
    near = band_mask(length, length, before=window, after=window)
    return scaled_dot_product_attention(query, key, value, attn_mask=near)


def blocks(query: Tensor, key: Tensor, value: Tensor, *, window: int) -> Tensor:
    attend = AttentionPositions().attend
    return attend_in_blocks(
        attend, query, key, value, visible=None, before=window, after=window, block=window
    )


def loop(query: Tensor, key: Tensor, value: Tensor, *, window: int) -> Tensor:
    length, mixed = query.size(2), []
    for start in range(0, length, window):
        end = min(start + window, length)
        first, last = max(start - window, 0), min(end + window, length)
        near = band_mask(end - start, last - first, before=window, after=window, offset=start - first)
        seen = key[:, :, first:last], value[:, :, first:last]
        mixed.append(scaled_dot_product_attention(query[:, :, start:end], *seen, attn_mask=near))
    return torch.cat(mixed, 2)


def flex(length: int, *, window: int) -> Attention:
    """FlexAttention with its block mask; making the mask is not timed, and neither is compiling."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def near(_: Tensor, __: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (i - j).abs() <= window

    torch.compiler.reset()  # else a limit on recompilations sends it to its slow, uncompiled form
    mask: Any = create_block_mask(near, None, None, length, length, device="cpu")
    return partial(torch.compile(flex_attention, dynamic=False), block_mask=mask)


WAYS: dict[str, Callable[..., Attention]] = {
    "dense": lambda _, window: partial(dense, window=window),
    "blocks": lambda _, window: partial(blocks, window=window),
    "loop": lambda _, window: partial(loop, window=window),
    "flex": flex,
}


def milliseconds(attention: Attention, inputs: list[Tensor], *, backward: bool, runs: int) -> float | None:
    """Median of `runs`, after one unmeasured; None if there is no gradient."""
    took = []
    for _ in range(runs + 1):
        query, key, value = (x.detach().requires_grad_(backward) for x in inputs)
        started = time.perf_counter()
        try:
            mixed = attention(query, key, value)
        except NotImplementedError:
            return None
        if backward:
            mixed.sum().backward()
        took.append(time.perf_counter() - started)
    return 1000 * statistics.median(took[1:])


def measure(way: str, *, window: int, threads: int, runs: int) -> list[dict[str, float | None]]:
    """One way over all lengths, the shortest first: so the peak of the process is that of the length."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = []
    for length in LENGTHS:
        # Heads of one projection, as they lie in `SelfAttention`.
        inputs = [x.transpose(1, 2) for x in torch.randn(1, length, 3, HEADS, HEAD_WIDTH).unbind(2)]
        attention = WAYS[way](length, window=window)
        row: dict[str, float | None] = {"forward": None, "both": None}
        for name, backward in (("forward", False), ("both", True)):
            row[name] = milliseconds(attention, inputs, backward=backward, runs=runs)
        row["peak"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - empty) / 1024
        found.append(row)
    return found


def main() -> None:
    """Measure each way and print one row a length."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--window", type=int, default=64, help="positions to either side")
    parser.add_argument("--only", metavar="WAY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        settings = {"window": options.window, "threads": options.threads, "runs": options.runs}
        print(json.dumps(measure(options.only, **settings)))
        return
    found: dict[str, list[dict[str, float | None]]] = {}
    for way in WAYS:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.local_attention", "--only", way]
        for name in ("window", "threads", "runs"):
            command += [f"--{name}", str(getattr(options, name))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{way}: left out: {done.stderr.strip().splitlines()[-1][:200]}", file=sys.stderr)
        else:
            found[way] = json.loads(done.stdout.splitlines()[-1])
    rows: list[dict[str, object]] = []
    for number, length in enumerate(LENGTHS):
        row: dict[str, object] = {"length": length}
        for way, results in found.items():
            result = results[number]
            for name, unit in (("forward", "ms"), ("both", "ms with gradient"), ("peak", "peak MB")):
                value = result[name]
                row[f"{way} {unit}"] = "none" if value is None else f"{value:.1f}"
        rows.append(row)
    title = (
        f"restricted attention, {options.window} a side, {HEADS} heads of {HEAD_WIDTH}, float32, "
        f"{options.threads} threads"
    )
    show(title, rows, options.out)


if __name__ == "__main__":
    main()
