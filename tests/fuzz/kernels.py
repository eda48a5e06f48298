"""The kernels in C with shapes, lengths and ids at random: equal to torch in float64, or an IndexError."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, layer_norm, one_hot, scaled_dot_product_attention

from saccade.engine import make_engine
from saccade.models import build_model, model_config
from saccade.native.attention import short_attention
from saccade.native.compiler import compilers
from saccade.native.library import library
from saccade.native.linear import pack
from saccade.native.prefixes import prefix_beam_search
from saccade.native.residual import add_norm
from saccade.native.search import log_softmax_, top
from saccade.native.softmax import r_drop_gradient_, softmax_, softmax_gradient_
from tests.fuzz.campaign import Campaign, Outcome
from tests.fuzz.isolation import isolated
from tests.tiny import padded, randomise, scheme, transformer, vocabulary

_BATCH = 50
"""Calls in one case."""
_SIZE = 90
_WRONG = (-1, _SIZE, 2**31, 2**40, -(2**62))


class Kernels(Campaign):
    """Each case is a child that makes many calls; a wrong address ends it."""

    name = "kernels"

    def full(self) -> int:
        """As many as the time allows."""
        return 200

    def case(self, number: int) -> Outcome:
        """One child."""
        ended = isolated(lambda: calls(self.random(number), _BATCH), place=self.place, seconds=120)
        fault = ended.fault()
        return Outcome("fault" if fault else f"times {_BATCH} calls equal float64", fault)


class SanitizedKernels(Kernels):
    """The same in kernels that the compiler has made to look at each address and each number.

    A case is a process of its own, since the sanitizers must be loaded before everything else.
    """

    name = "sanitized"

    def full(self) -> int:
        """Fewer, since they are slower; each has more calls, since torch must be imported for it."""
        return 10

    def prepare(self) -> None:
        """Compiles them once."""
        self.library = sanitizer()
        if self.library is not None:
            calls_sanitized("prepare", 1, self.library, self.place)

    def case(self, number: int) -> Outcome:
        """One process."""
        if self.library is None:
            return Outcome("skipped: the compiler has no sanitizers")
        done = calls_sanitized(f"{self.seed}/{self.name}/{number}", 4 * _BATCH, self.library, self.place)
        return Outcome("fault" if done else f"times {4 * _BATCH} calls clean", done)


def sanitizer() -> str | None:
    """The file of the address sanitizer, which is loaded first; None where the compiler has none."""
    for command in compilers()[:1]:
        asked = [command[0], "-print-file-name=libasan.so"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if Path(found).is_absolute() and Path(found).exists():
            return found
    return None


def calls_sanitized(draws: str, count: int, asan: str, place: Path) -> str | None:
    """What the sanitizers complain of in `count` calls; None if they do not."""
    environment = {
        **os.environ,
        "LD_PRELOAD": asan,
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=99:abort_on_error=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
        "SACCADE_CFLAGS": "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined "
        "-fno-sanitize-recover=all",
        "XDG_CACHE_HOME": str(place),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    program = (
        "import sys; from tests.fuzz.kernels import named_calls; named_calls(sys.argv[1], int(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, draws, str(count)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr[-3000:]}"


def named_calls(draws: str, count: int) -> None:
    """`calls`, by the name of its draws; there must be kernels."""
    assert library() is not None
    calls(random.Random(draws), count)


def calls(draws: random.Random, count: int) -> None:
    """Calls at random; raises AssertionError where one is not what it should be."""
    for _ in range(count):
        torch.manual_seed(draws.randrange(2**31))
        torch.set_num_threads(draws.choice((1, 1, 1, 2)) if os.environ.get("LD_PRELOAD") else 1)
        draws.choice(CALLS)(draws)


def near(found: Tensor, expected: Tensor, slack: float = 1e-4) -> None:
    """Both are equal up to rounding in float32."""
    torch.testing.assert_close(found.double(), expected.double(), rtol=slack, atol=slack)


def laid_out(x: Tensor, draws: random.Random) -> Tensor:
    """The same values, with other distances between them in memory."""
    match draws.randrange(4):
        case 0:
            return x
        case 1:
            return x.transpose(0, -1).contiguous().transpose(0, -1)
        case 2:
            return x.repeat_interleave(2, -1)[..., ::2]
        case _:
            wide = torch.cat([x, torch.full_like(x[..., :1], torch.nan)], -1)
            return wide[..., : x.size(-1)]


def gradient_like(out: Tensor, draws: random.Random) -> Tensor:
    """A gradient in any layout; that of a sum is one number for all."""
    if draws.random() < 0.25:
        return torch.randn(()).to(out.dtype).expand(out.shape)
    return laid_out(torch.randn(out.shape).to(out.dtype), draws)


def attention(draws: random.Random) -> None:
    causal, (batch, heads, queries) = (
        draws.random() < 0.5,
        (draws.randint(1, 3), draws.randint(1, 3), _length(draws)),
    )
    keys, width = queries if causal else _length(draws), draws.randint(1, 40)
    low = draws.random() < 0.2
    inputs = [
        torch.randn(batch, length, heads, width).to(torch.bfloat16 if low else torch.float32).transpose(1, 2)
        for length in (queries, keys, keys)
    ]
    inputs = [laid_out(x, draws) for x in inputs]
    visible = None
    mask = torch.ones(batch, 1, queries, keys, dtype=torch.bool)
    if draws.random() < 0.5:
        visible = torch.rand(batch, 1, 1, keys) < 0.7
        mask = mask & visible
    if causal:
        mask = mask.tril()
    near_inputs = [x.detach().requires_grad_() for x in inputs]
    out = short_attention(*near_inputs, visible=visible, causal=causal, dropout=0.0)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    expected = scaled_dot_product_attention(*exact, attn_mask=mask)
    expected = torch.where(mask.any(-1, keepdim=True), expected, 0.0)
    slack = 0.05 if low else 2e-4
    near(out, expected, slack)
    outer = gradient_like(out, draws)
    slopes = torch.autograd.grad(out, near_inputs, outer)
    for mine, theirs in zip(slopes, torch.autograd.grad(expected, exact, outer.double()), strict=True):
        near(mine, theirs, 0.2 if low else 5e-4)


def _length(draws: random.Random) -> int:
    return draws.choice((1, 2, draws.randint(1, 40), draws.randint(1, 130)))


def losses(draws: random.Random) -> None:
    rows, classes = draws.randint(1, 9), draws.choice((1, 15, 16, 17, draws.randint(1, 300)))
    logits, smoothing = (
        draws.choice((0.1, 5.0, 40.0)) * torch.randn(rows, classes),
        draws.choice((0.0, 0.1, 1.0)),
    )
    gold, exact = torch.randint(classes, (rows,)), logits.double()
    loss, _ = softmax_gradient_(logits, gold, smoothing=smoothing)
    near(loss, cross_entropy(exact, gold, reduction="none"))
    near(logits, exact.softmax(-1) - (1 - smoothing) * one_hot(gold, classes), 1e-5)
    again = exact.float()
    normaliser, _ = softmax_(again)
    near(normaliser, exact.logsumexp(-1))
    near(log_softmax_(exact.float()), exact.log_softmax(-1))
    pair = torch.cat([exact, exact]).float()  # two equal passes: half the gradient each, and no divergence
    near(
        r_drop_gradient_(pair, gold, smoothing=smoothing, strength=5.0),
        cross_entropy(exact, gold, reduction="none", label_smoothing=smoothing),
    )
    gold[draws.randrange(rows)] = draws.choice((-1, classes, 2**40))
    refused(lambda: softmax_gradient_(exact.float(), gold, smoothing=smoothing))
    refused(lambda: r_drop_gradient_(exact.repeat(2, 1).float(), gold, smoothing=smoothing, strength=5.0))


def best(draws: random.Random) -> None:
    rows, width = draws.randint(1, 12), draws.randint(1, 400)
    x = torch.randint(0, 40, (rows, width)).float()
    x[torch.rand(rows, width) < 0.2] = -torch.inf
    count = draws.randint(1, min(width, 64))
    values, places = top(x, count)
    ordered, where = x.sort(dim=1, descending=True, stable=True)
    assert torch.equal(values, ordered[:, :count])
    assert torch.equal(places, where[:, :count])


def products(draws: random.Random) -> None:
    rows, inputs = draws.choice((1, 7, 8, 96, 97, draws.randint(1, 200))), 16 * draws.randint(1, 6)
    outputs = draws.randint(1, 200)
    weight, x, bias = torch.randn(outputs, inputs), torch.randn(rows, inputs), torch.randn(outputs)
    expected = x.double() @ weight.double().T + bias.double()
    x = laid_out(x, draws)
    packed = pack(laid_out(weight, draws), bias, precision="float32")
    near(packed(x), expected)
    near(packed.argmax(x)[1], expected.log_softmax(-1).amax(1))
    rounded = pack(weight, bias, precision="int8")(x)
    assert float((rounded.double() - expected).abs().max()) < 0.02 * inputs + 0.2


def norms(draws: random.Random) -> None:
    rows, width = draws.randint(1, 30), 16 * draws.randint(1, 5)
    norm = torch.nn.LayerNorm(width)
    inputs = [laid_out(x, draws).requires_grad_() for x in torch.randn(2, rows, width).unbind()]
    out = add_norm(inputs[0], inputs[1], norm, dropout=0.0)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    expected = layer_norm(exact[0] + exact[1], (width,))
    near(out, expected, 1e-3)
    outer = gradient_like(out, draws)
    slopes = torch.autograd.grad(out, inputs, outer)
    for mine, theirs in zip(slopes, torch.autograd.grad(expected, exact, outer.double()), strict=True):
        near(mine, theirs, 1e-3)


def prefixes(draws: random.Random) -> None:
    """Probabilities never exceed one; slots that are not there are refused."""
    sentences, longest, choices = draws.randint(1, 4), draws.randint(1, 12), draws.randint(1, 6)
    whole = torch.randn(sentences, longest, choices + 1).double().log_softmax(-1)
    tokens = torch.stack([torch.randperm(40)[:choices] + 1 for _ in range(sentences * longest)])
    slots = torch.randint(1, longest + 1, (sentences,))
    shaped = tokens.view(sentences, longest, choices)
    found = prefix_beam_search(whole[..., 0], shaped, whole[..., 1:], slots, kept=draws.randint(1, 9))
    assert found is not None
    _, lengths, scores = found
    assert bool((lengths <= slots[:, None]).all())
    assert bool((scores.logsumexp(1) < 1e-6).all())
    slots[draws.randrange(sentences)] = draws.choice((-1, longest + 1, 2**40))
    refused(lambda: prefix_beam_search(whole[..., 0], shaped, whole[..., 1:], slots, kept=2))


def decoding(draws: random.Random) -> None:
    """An engine step by step beside its network in float64, with sentences of any length."""
    sizes: dict[str, Any] = {"width": 32, "heads": 2, "feed_forward": 48, "encoder_layers": 1}
    changes = {
        "norm": draws.choice(("pre", "post")),
        "activation": draws.choice(("relu", "gelu", "silu")),
        "positions": draws.choice(("sinusoidal", "none")),
        "decoder_layers": draws.randint(1, 2),
    }
    network: Any = transformer(words=vocabulary(_SIZE), dtype=torch.float32, **sizes, **changes)
    engine, exact = make_engine(network), network.double()
    rows = [[draws.randrange(4, _SIZE) for _ in range(_length(draws))] for _ in range(draws.randint(1, 5))]
    source, lengths = padded(rows)
    steps = draws.randint(1, 4)
    ours, theirs = engine.start(engine.encode(source, lengths), steps), None
    theirs = exact.start(exact.encode(source, lengths), steps)
    for _ in range(steps):
        token = torch.tensor([draws.randrange(_SIZE) for _ in rows])
        mine, ours = engine.step(token, ours)
        reference, theirs = exact.step(token, theirs)
        near(mine, reference, 2e-3)
    wrong = source.clone()
    wrong[0, 0] = draws.choice(_WRONG)
    refused(lambda: engine.encode(wrong, lengths))
    refused(lambda: engine.encode(source, lengths + draws.choice((2**40, 1 + source.size(1)))))


def at_once(draws: random.Random) -> None:
    """A body that writes all positions at once, in C beside its network."""
    table = {"kind": "nonautoregressive", "decoder": "ctc"}
    sizes = {"width": 32, "heads": 2, "feed_forward": 48, "encoder_layers": 1, "decoder_layers": 1}
    network: Any = build_model(model_config({**table, **sizes, "dropout": 0.0}), vocabulary(_SIZE))
    randomise(network.eval())
    rows = [[draws.randrange(4, _SIZE) for _ in range(_length(draws))] for _ in range(draws.randint(1, 4))]
    with torch.inference_mode():
        engine, batch = make_engine(network), padded(rows)
        mine, found = scheme(engine).write(engine.encode(*batch))
        exact, count = scheme(network).write(network.encode(*batch))
    assert torch.equal(found, count)
    real = torch.arange(mine.size(1)) < found[:, None]
    near(mine[real], exact[real], 5e-4)


def refused(call: Callable[[], object]) -> None:
    """It raises IndexError, as all calls with ids or lengths out of range."""
    try:
        call()
    except IndexError:
        return
    raise AssertionError("ids out of range were taken")


CALLS = (attention, losses, best, products, norms, prefixes, decoding, at_once)
