"""Distance and time: what gradients reach, what it costs, and what memory and depth add."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
    Series,
    Settings,
    Verdict,
    Words,
    clearly_above,
    mean,
)
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tags_batch
from saccade.lab.toys import stream
from saccade.nn.attention import SelfAttention, attend
from saccade.nn.convolution import ConvolutionalEncoderLayer
from saccade.nn.recurrence import Recurrence, recurrent_layer

Body = Callable[..., Tensor]

# --- what a recurrent network forgets --------------------------------------------------------------

DISTANCE = 24


class RecurrentBody(nn.Module):
    """A GRU in the place of a Transformer layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.recurrence = Recurrence(width, width, cell="gru", layers=1, dropout=0.0)

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:  # noqa: ARG002 - as a layer
        """See `EncoderLayer.forward`."""
        out: Tensor = self.recurrence(x, [(x.new_zeros(x.size(0), x.size(2)),)])
        return out


class ConvolutionalBody(nn.Module):
    """A gated convolution of width 3 in the place of a Transformer layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = ConvolutionalEncoderLayer(width, width, kernel=3, dropout=0.0)

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:  # noqa: ARG002 - as a layer
        """See `EncoderLayer.forward`."""
        out: Tensor = self.layer(x, real=None)
        return out


def gradients(body: Body, width: int, *, rows: int = 16) -> list[float]:
    """The norm of the derivative of the last output by the input at each distance, from 0 on."""
    x = torch.randn(rows, DISTANCE + 1, width).requires_grad_()
    direction = torch.randn(width)
    [gradient] = torch.autograd.grad((body(x, visible=None)[:, -1] @ direction).sum(), [x])
    return [float(value) for value in gradient.norm(dim=-1).mean(0).flip(0)]


def first_symbol(source: list[int]) -> list[int]:
    """The first symbol at every position."""
    return source[:1] * len(source)


def _forgetful(kind: str, seed: int) -> Tagger:
    seeded(seed)
    model = Tagger(Shape(8, width=32, heads=2, causal=True, feed_forward=64))
    if kind == "gru":
        model.layers = nn.ModuleList([RecurrentBody(32)])
    return model


def _measure_forgetting(settings: Settings) -> Figures:
    width = 32
    torch.manual_seed(settings.seeds[0])
    convolutions = nn.Sequential(*(ConvolutionalBody(width) for _ in range(5)))
    start = {"convolution": gradients(lambda x, **_: convolutions(x), width)}
    trained: dict[str, list[float]] = {}
    recalled: dict[str, list[float]] = {}
    length = range(DISTANCE + 1, DISTANCE + 2)
    for kind in ("gru", "attention"):
        profiles, after, scores = [], [], []
        for seed in settings.seeds:
            settings.say(f"{kind}, seed {seed}")
            model = _forgetful(kind, seed)
            profiles.append(gradients(model.layers[0], width))
            batches = stream(seed, first_symbol, symbols=8, lengths=length, rows=32, batch=tags_batch)
            fit(model, batches, steps=settings.pick(150, 3), objective=Tagging(), peak_rate=1e-2)
            test = next(stream(-1, first_symbol, symbols=8, lengths=length, rows=200, batch=tags_batch))
            with torch.no_grad():
                said = model.output(model(test["source"].values)[:, -1]).argmax(-1)
            scores.append(float((said == test["target"].values[:, -1]).float().mean()))
            with torch.no_grad():
                embedded = model.embedding(test["source"].values[:16])
            after.append(_profile(model.layers[0], embedded))
        start[kind] = [mean(row) for row in zip(*profiles, strict=True)]
        trained[kind] = [mean(row) for row in zip(*after, strict=True)]
        recalled[kind] = scores
    return {"start": start, "trained": trained, "recalled": recalled}


def _profile(body: Body, x: Tensor) -> list[float]:
    """As `gradients`, for given inputs."""
    x = x.detach().requires_grad_()
    direction = torch.randn(x.size(-1))
    [gradient] = torch.autograd.grad((body(x, visible=None)[:, -1] @ direction).sum(), [x])
    return [float(value) for value in gradient.norm(dim=-1).mean(0).flip(0)]


def _ratio(profile: Sequence[float]) -> float:
    return profile[-1] / max(profile[0], 1e-30)


def _judge_forgetting(figures: Figures) -> Verdict:
    start, trained, recalled = figures["start"], figures["trained"], figures["recalled"]
    because = Words(
        f"Before training, the gradient of the last output by an input {DISTANCE} tokens before is "
        f"{_ratio(start['gru']):.0e} of that by its own input in a GRU, {_ratio(start['attention']):.0e} in a layer "
        f"of attention, and {_ratio(start['convolution']):.0e} in five convolutions. Trained to recall the first "
        f"symbol, the GRU has {_ratio(trained['gru']):.0e} and recalls {mean(recalled['gru']):.0%}; attention "
        f"recalls {mean(recalled['attention']):.0%}.",
        f"与对自身输入的梯度相比，训练前最后一个输出对 {DISTANCE} 步之前输入的梯度：GRU 剩 {_ratio(start['gru']):.0e}，"
        f"一层注意力剩 {_ratio(start['attention']):.0e}，五层卷积剩 {_ratio(start['convolution']):.0e}。"
        f"训练它回忆第一个符号之后，GRU 为 {_ratio(trained['gru']):.0e}，回忆正确率 {mean(recalled['gru']):.0%}；注意力的回忆正确率 {mean(recalled['attention']):.0%}。",
    )
    vanishes = _ratio(start["gru"]) < 0.01 and _ratio(start["attention"]) > 10 * _ratio(start["gru"])
    if not vanishes:
        return Verdict("does not hold", because)
    forgets = clearly_above(recalled["attention"], recalled["gru"])
    return Verdict("holds" if forgets and _ratio(trained["gru"]) < 0.01 else "only if", because)


def _chart_forgetting(figures: Figures) -> Chart:
    floor = 1e-12
    lines = [
        (Words("GRU, at the start", "GRU，训练前"), figures["start"]["gru"]),
        (Words("attention, at the start", "注意力，训练前"), figures["start"]["attention"]),
        (Words("5 convolutions, at the start", "5 层卷积，训练前"), figures["start"]["convolution"]),
        (Words("GRU, trained", "GRU，训练后"), figures["trained"]["gru"]),
        (Words("attention, trained", "注意力，训练后"), figures["trained"]["attention"]),
    ]
    return Chart(
        Words("distance in tokens", "距离（词元数）"),
        Words("gradient norm / that at distance 0", "梯度范数（与距离 0 之比）"),
        list(range(DISTANCE + 1)),
        [
            Series(name, [value / line[0] if value / line[0] > floor else None for value in line])
            for name, line in lines
        ],
        log_y=True,
    )


FORGETTING = Experiment(
    name="forgetting",
    title=Words("What a recurrent network forgets", "循环网络会忘记什么"),
    claim=Words(
        "Recurrent networks forget: gradients vanish with distance.", "循环网络会遗忘：梯度随距离消失。"
    ),
    source=Words(
        "Bengio et al. 1994; Hochreiter 1991; all study notes.",
        "Bengio 等 1994；Hochreiter 1991；所有学习笔记。",
    ),
    prediction=Words(
        "Before training the gradient of a GRU falls exponentially with distance, that of attention does not. "
        "Training can open the gates.",
        "训练前，GRU 的梯度随距离指数下降，注意力的不会；训练可以把门打开。",
    ),
    measure=_measure_forgetting,
    judge=_judge_forgetting,
    chart=_chart_forgetting,
    correction=Words(
        "Gates make forgetting learnable: whether the gradient vanishes depends on the weights. A stack of "
        "convolutions has no gradient at all beyond its receptive field.",
        "门控让遗忘变得可以学习：梯度是否消失取决于权重。卷积堆叠在感受野之外则完全没有梯度。",
    ),
    code=(Code(Recurrence.read, "x, end = fused("), Code(SelfAttention._merge, "self.output(merge_heads")),  # noqa: SLF001
    seconds=35,
)

# --- paths and costs -------------------------------------------------------------------------------

LENGTHS = (64, 256, 1024, 4096)
SIZE = 64


def layers_needed(layer: Callable[[], nn.Module], distance: int) -> int:
    """The smallest number of layers through which the last output has a gradient by the first input."""
    layers: list[nn.Module] = []
    while len(layers) < distance:
        layers.append(layer())
        x = torch.randn(1, distance + 1, 8).requires_grad_()
        out = x
        for one in layers:
            out = one(out)
        [gradient] = torch.autograd.grad(out[:, -1].sum(), [x])
        if float(gradient[:, 0].abs().max()) > 0:
            break
    return len(layers)


@torch.no_grad()
def _fastest(work: Callable[[], object], runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def _measure_cost(settings: Settings) -> Figures:
    lengths = LENGTHS[: settings.pick(len(LENGTHS), 2)]
    runs = settings.pick(5, 1)
    torch.manual_seed(settings.seeds[0])
    attention = SelfAttention(SIZE, heads=1, causal=False).eval()
    gru = recurrent_layer(SIZE, SIZE, cell="gru").eval()
    times: dict[str, list[float]] = {"attention": [], "gru": []}
    for length in lengths:
        settings.say(f"length {length}")
        x = torch.randn(1, length, SIZE)
        times["attention"].append(_fastest(lambda x=x: attention(x), runs))  # type: ignore[misc]
        times["gru"].append(_fastest(lambda x=x: gru(x), runs))  # type: ignore[misc]
    distance = 16
    return {
        "lengths": list(lengths),
        "milliseconds": times,
        "products": {
            "attention": [2 * length**2 * SIZE for length in lengths],
            "gru": [6 * length * SIZE**2 for length in lengths],
        },
        "distance": distance,
        "layers_needed": {
            "attention": layers_needed(lambda: SelfAttention(8, heads=1, causal=False), distance),
            "convolution": layers_needed(lambda: ConvolutionalBody(8), distance),
        },
    }


def _judge_cost(figures: Figures) -> Verdict:
    times, lengths, needed = figures["milliseconds"], figures["lengths"], figures["layers_needed"]
    first, last = (times["attention"][place] / times["gru"][place] for place in (0, -1))
    products = figures["products"]
    counted = [a / b for a, b in zip(products["attention"], products["gru"], strict=True)]
    because = Words(
        f"At width {SIZE}, attention takes {first:.2f} times the time of a GRU at length {lengths[0]} and "
        f"{last:.2f} times at length {lengths[-1]} (multiplications: {counted[0]:.2f} and {counted[-1]:.1f} times "
        f"as many). Over {figures['distance']} positions a gradient needs {needed['attention']} layer of "
        f"attention and {needed['convolution']} convolutions of width 3.",
        f"宽度 {SIZE} 时，注意力的耗时与 GRU 之比：长度 {lengths[0]} 时 {first:.2f}，长度 {lengths[-1]} 时 {last:.2f}"
        f"（乘法次数之比为 {counted[0]:.2f} 和 {counted[-1]:.1f}）。梯度跨过 {figures['distance']} 个位置，"
        f"需要 {needed['attention']} 层注意力，或 {needed['convolution']} 层宽度为 3 的卷积。",
    )
    if needed["attention"] != 1 or first >= 1:
        return Verdict("does not hold", because)
    return Verdict("holds" if last < 1 and counted[-1] < 1 else "only if", because)


def _chart_cost(figures: Figures) -> Chart:
    return Chart(
        Words("length n", "长度 n"),
        Words(f"milliseconds (width {SIZE})", f"毫秒（宽度 {SIZE}）"),
        figures["lengths"],
        [
            Series(Words("self-attention", "自注意力"), figures["milliseconds"]["attention"]),
            Series(Words("GRU", "GRU"), figures["milliseconds"]["gru"]),
        ],
        log_x=True,
        log_y=True,
    )


COST = Experiment(
    name="cost",
    title=Words("Path length and cost", "路径长度与计算量"),
    claim=Words(
        "Self-attention has paths of length 1 and is cheaper than recurrence, above all for long sequences.",
        "自注意力的路径长度总是 1，计算比循环网络更省，长序列尤其如此。",
    ),
    source=Words(
        "Vaswani et al. 2017, table 1; study notes add the second half.",
        "Vaswani 等 2017，表 1；后半句是学习笔记加的。",
    ),
    prediction=Words(
        "The path is 1. Attention needs on the order of n²d multiplications and a recurrent layer nd², so that "
        "attention has fewer only while n is smaller than about d.",
        "路径确实是 1。注意力的乘法次数是 n²d 量级，循环层是 nd² 量级，所以只有 n 小于 d 左右时注意力才更省。",
    ),
    measure=_measure_cost,
    judge=_judge_cost,
    chart=_chart_cost,
    correction=Words(
        "Counted in multiplications, attention costs more than recurrence from a length of about 3 d on. The time "
        "depends on the machine, because a recurrent layer takes its n steps one after the other. The gains of "
        "attention are the short path and that all positions are computed at once.",
        "按乘法次数算，长度超过约 3d 之后，注意力比循环层更贵。实际耗时取决于机器，因为循环层的 n 步只能依次进行。注意力的好处是路径短，而且所有位置同时计算。",
    ),
    code=(Code(attend, "scaled_dot_product_attention(\n".strip()),),
    seconds=5,
)
