"""Path length and cost of attention, recurrence and convolution."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from saccade.lab.bodies import ConvolutionalBody
from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
    Series,
    Settings,
    Table,
    Verdict,
    Words,
    plain,
)
from saccade.lab.timing import milliseconds
from saccade.nn.attention import SelfAttention, attend
from saccade.nn.recurrence import recurrent_layer

LENGTHS = (64, 256, 1024, 4096, 16_384)
SIZE = 64


def layers_needed(make: Callable[[int], nn.Module], distance: int) -> int:
    """The smallest number of layers through which the last output has a gradient by the first input.

    make: gives the layer of a number, counted from 0.
    """
    layers: list[nn.Module] = []
    while len(layers) < distance:
        layers.append(make(len(layers)))
        x = torch.randn(1, distance + 1, 8).requires_grad_()
        out = x
        for one in layers:
            out = one(out)
        [gradient] = torch.autograd.grad(out[:, -1].sum(), [x])
        if float(gradient[:, 0].abs().max()) > 0:
            break
    return len(layers)


class Dilated(nn.Module):
    """A convolution of width 3 whose inputs are `gap` positions apart."""

    def __init__(self, width: int, gap: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 3, padding=gap, dilation=gap)

    def forward(self, x: Tensor) -> Tensor:
        """Convolves x (batch, length, width) over its length."""
        out: Tensor = self.convolution(x.transpose(1, 2)).transpose(1, 2)
        return out


def crossing(lengths: Sequence[int], ratios: Sequence[float]) -> float | None:
    """The length beyond which a ratio of times stays above 1, interpolated on logarithmic axes.

    None if it is not above 1 at the largest length, or nowhere below.
    """
    points = list(zip(map(math.log, lengths), map(math.log, ratios), strict=True))
    rises = [(a, b) for a, b in pairwise(points) if a[1] < 0 <= b[1]]
    if not rises or points[-1][1] < 0:
        return None
    (x, low), (next_x, high) = rises[-1]
    return math.exp(x - low * (next_x - x) / (high - low))


def _measure(settings: Settings) -> Figures:
    lengths = LENGTHS[: settings.pick(len(LENGTHS), 2)]
    torch.manual_seed(settings.seeds[0])
    attention = SelfAttention(SIZE, heads=1, causal=False).eval()
    gru = recurrent_layer(SIZE, SIZE, cell="gru").eval()
    times: dict[str, list[float]] = {"attention": [], "gru": []}
    for length in lengths:
        settings.say(f"length {length}")
        x = torch.randn(1, length, SIZE)
        works = {"attention": partial(attention, x), "gru": partial(gru, x)}
        for name, found in milliseconds(works, repeats=settings.pick(5, 1)).items():
            times[name].append(found)
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
            "attention": layers_needed(lambda _: SelfAttention(8, heads=1, causal=False), distance),
            "convolution": layers_needed(lambda _: ConvolutionalBody(8), distance),
            "dilated": layers_needed(lambda layer: Dilated(8, 2**layer), distance),
        },
    }


def _judge(figures: Figures) -> Verdict:
    times, lengths, needed = figures["milliseconds"], figures["lengths"], figures["layers_needed"]
    ratios = [a / b for a, b in zip(times["attention"], times["gru"], strict=True)]
    products = figures["products"]
    counted = [a / b for a, b in zip(products["attention"], products["gru"], strict=True)]
    equal = crossing(lengths, ratios)
    when = Words("no length was found beyond which it is slower", "没有找到注意力开始更慢的长度")
    if equal is not None:
        when = Words(
            f"it is slower from a length of about {round(equal, -2):,.0f}",
            f"长度超过约 {round(equal, -2):.0f} 之后注意力更慢",
        )
    because = Words(
        f"At width {SIZE}, attention takes {ratios[0]:.2f} times the time of a GRU at length {lengths[0]} and "
        f"{ratios[-1]:.2f} times at length {lengths[-1]:,} (multiplications: {counted[0]:.2f} and {counted[-1]:.1f} "
        f"times as many); {when.en}. Over {figures['distance']} positions a gradient needs "
        f"{needed['attention']} layer of attention, {needed['convolution']} convolutions of width 3, or "
        f"{needed['dilated']} whose inputs are 1, 2, 4, … positions apart.",
        f"宽度 {SIZE} 时，注意力的耗时与 GRU 之比：长度 {lengths[0]} 时 {ratios[0]:.2f}，长度 {lengths[-1]} 时 {ratios[-1]:.2f}"
        f"（乘法次数之比为 {counted[0]:.2f} 和 {counted[-1]:.1f}）；{when.zh}。梯度跨过 {figures['distance']} 个位置，"
        f"需要 {needed['attention']} 层注意力，或 {needed['convolution']} 层宽度为 3 的卷积，"
        f"或 {needed['dilated']} 层间隔为 1、2、4…… 的空洞卷积。",
    )
    if needed["attention"] != 1 or ratios[0] >= 1:
        return Verdict("does not hold", because)
    return Verdict("holds" if ratios[-1] < 1 and counted[-1] < 1 else "only if", because)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("length n", "长度 n"),
        Words(f"milliseconds of processor time (width {SIZE})", f"处理器时间，毫秒（宽度 {SIZE}）"),
        figures["lengths"],
        [
            Series(Words("self-attention", "自注意力"), figures["milliseconds"]["attention"]),
            Series(Words("GRU", "GRU"), figures["milliseconds"]["gru"]),
        ],
        log_x=True,
        log_y=True,
    )


def _paths(figures: Figures) -> list[Table]:
    needed = figures["layers_needed"]
    rows = (
        (Words("self-attention", "自注意力"), needed["attention"], plain("1")),
        (Words("convolution of width 3", "宽度为 3 的卷积"), needed["convolution"], plain("n")),
        (Words("dilated: gaps 1, 2, 4, …", "空洞卷积：间隔 1、2、4……"), needed["dilated"], plain("log n")),
    )
    distance = figures["distance"]
    head = (
        Words("layer", "层"),
        Words(f"layers until a gradient crosses {distance} positions", f"梯度跨过 {distance} 个位置所需层数"),
        Words("grows as", "增长"),
    )
    return [Table(head, [(name, plain(str(count)), growth) for name, count, growth in rows])]


EXPERIMENT = Experiment(
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
        "The path of attention is 1, that of dilated convolutions log n, that of plain ones n. Attention needs on the order of n²d multiplications and a recurrent layer nd², so that "
        "attention has fewer only while n is smaller than about d.",
        "注意力的路径是 1，空洞卷积是 log n，普通卷积是 n。注意力的乘法次数是 n²d 量级，循环层是 nd² 量级，所以只有 n 小于 d 左右时注意力才更省。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    more=_paths,
    correction=Words(
        "Counted in multiplications, attention costs more than recurrence from a length of about 3 d on. The time "
        "depends on the machine, because a recurrent layer takes its n steps one after the other. The gains of "
        "attention are the short path and that all positions are computed at once. More widths and lengths are in "
        "docs/systems.md.",
        "按乘法次数算，长度超过约 3d 之后，注意力比循环层更贵。实际耗时取决于机器，因为循环层的 n 步只能依次进行。注意力的好处是路径短，而且所有位置同时计算。更多宽度和长度见 docs/systems.md。",
    ),
    code=(Code(attend, "scaled_dot_product_attention(\n".strip()),),
    seconds=15,
)
