"""How long the compiled kernels take beside torch's own operators, forward and backward, on one thread.

Both are called in turn, and the least processor time counts, which a busy machine hardly falsifies. The rows
with dropout are what training calls; torch's attention has dropout only in its slow form.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import arguments, show
from saccade.native import residual
from saccade.native.attention import short_attention
from saccade.native.library import library, why_not

HEADS = ((256, 15, 32), (256, 32, 32), (128, 64, 64), (64, 128, 64), (32, 256, 64))
"""Heads of a batch, positions, channels."""
ROWS = ((4096, 256), (4096, 512))
"""Rows and width of a residual connection."""
Operator = Callable[[], object]


def operators(dtype: torch.dtype) -> Iterator[tuple[str, str, Operator, Operator]]:
    """What is called, its shape, our way and torch's."""
    for heads, length, width in HEADS:
        shape = f"{heads} heads, {length} positions, {width} channels"
        query, key, value = (leaf(1, heads, length, width, dtype=dtype) for _ in range(3))
        inputs = [query, key, value]
        for name, rate in (("attention", 0.0), ("attention with dropout", 0.1)):
            ours = partial(short_attention, query, key, value, visible=None, causal=False, dropout=rate)
            theirs = partial(functional.scaled_dot_product_attention, query, key, value, None, rate)
            yield f"{name}, forward", shape, forward(ours), forward(theirs)
            yield f"{name}, both", shape, both(ours, inputs), both(theirs, inputs)
    for rows, width in ROWS:
        shape = f"{rows} x {width}"
        x, y, norm = (
            leaf(rows, width, dtype=torch.float32),
            leaf(rows, width, dtype=dtype),
            nn.LayerNorm(width),
        )
        ours = partial(residual.add_norm, x, y, norm, dropout=0.1)
        theirs = partial(normalised, x, y, norm)
        yield "dropout, sum and norm, both", shape, both(ours, [x, y]), both(theirs, [x, y])


def normalised(x: Tensor, y: Tensor, norm: nn.LayerNorm) -> Tensor:
    """LayerNorm(x + Dropout(y)) by torch's own operators."""
    found: Tensor = norm(x + functional.dropout(y, 0.1))
    return found


def leaf(*shape: int, dtype: torch.dtype) -> Tensor:
    """Random numbers whose gradient is computed."""
    return torch.randn(*shape).to(dtype).requires_grad_()


def forward(function: Callable[[], Tensor]) -> Operator:
    """The function without gradients."""
    return torch.no_grad()(function)


def both(function: Callable[[], Tensor], inputs: list[Tensor]) -> Operator:
    """The function and its backward pass, for a dense gradient."""
    slope = torch.randn_like(function())
    return lambda: torch.autograd.grad(function(), inputs, slope)


def least(ours: Operator, theirs: Operator, *, runs: int) -> tuple[float, float]:
    """The least processor time of each, in milliseconds; they are called in turn."""
    best = [float("inf"), float("inf")]
    for _ in range(runs + 1):  # the first call warms up, and is rarely the least
        for place, operator in enumerate((ours, theirs)):
            began = time.process_time()
            operator()
            best[place] = min(best[place], time.process_time() - began)
    return 1000 * best[0], 1000 * best[1]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--calls", type=int, default=15, help="calls of each operator")
    options = parser.parse_args()
    if library() is None:
        raise SystemExit(f"there are no compiled kernels here: {why_not()}")
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.bfloat16):
        rows: list[dict[str, object]] = []
        for name, shape, ours, theirs in operators(dtype):
            own, other = least(ours, theirs, runs=options.calls)
            times = {"kernel, ms": f"{own:.2f}", "torch, ms": f"{other:.2f}", "ratio": f"{other / own:.2f}"}
            rows.append({"operator": name, "shape": shape, **times})
        show(f"kernels beside torch's operators, {dtype}, one thread", rows, options.out)


if __name__ == "__main__":
    main()
