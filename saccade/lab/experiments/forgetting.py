"""What a recurrent network forgets: gradients by distance, before and after training."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.lab.bodies import Body, ConvolutionalBody, RecurrentBody
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
    number,
    over_seeds,
)
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tags_batch
from saccade.lab.toys import stream
from saccade.nn.attention import SelfAttention
from saccade.nn.recurrence import Recurrence

DISTANCE = 24
WIDTH, CONVOLUTIONS = 32, 5


def gradients(body: Body, x: Tensor) -> list[float]:
    """The norm of the derivative of the last output by the input x (rows, length, width) at each distance."""
    x = x.detach().requires_grad_()
    direction = torch.randn(x.size(-1))
    [gradient] = torch.autograd.grad((body(x, visible=None)[:, -1] @ direction).sum(), [x])
    return [float(value) for value in gradient.norm(dim=-1).mean(0).flip(0)]


class Stacked(nn.Module):
    """Convolutions on each other in the place of a Transformer layer."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvolutionalBody(width) for _ in range(layers))

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """See `EncoderLayer.forward`."""
        for layer in self.layers:
            x = layer(x, visible=visible)
        return x


def first_symbol(source: list[int]) -> list[int]:
    """The first symbol at every position."""
    return source[:1] * len(source)


KINDS = ("gru", "attention", "convolution")


def forgetful(kind: str, seed: int) -> Tagger:
    """A model with one layer of this kind; that of convolutions is five of them."""
    seeded(seed)
    model = Tagger(Shape(8, width=WIDTH, heads=2, causal=True, feed_forward=64))
    if kind == "gru":
        model.layers = nn.ModuleList([RecurrentBody(WIDTH)])
    if kind == "convolution":
        model.layers = nn.ModuleList([Stacked(WIDTH, CONVOLUTIONS)])
    return model


def _remembered(kind: str, seed: int, settings: Settings) -> tuple[list[float], list[float], float]:
    """The gradients of a model's layer before and after training, and how often it recalls the first symbol."""
    model = forgetful(kind, seed)
    start = gradients(model.layers[0], torch.randn(16, DISTANCE + 1, WIDTH))
    task: dict[str, Any] = {"symbols": 8, "lengths": range(DISTANCE + 1, DISTANCE + 2), "batch": tags_batch}
    steps = settings.pick(150, 3)
    fit(model, stream(seed, first_symbol, rows=32, **task), steps=steps, objective=Tagging(), peak_rate=1e-2)
    test = next(stream(-1, first_symbol, rows=200, **task))
    with torch.no_grad():
        said = model.output(model(test["source"].values)[:, -1]).argmax(-1)
        embedded = model.embedding(test["source"].values[:16])
    recalled = float((said == test["target"].values[:, -1]).float().mean())
    return start, gradients(model.layers[0], embedded), recalled


def _measure(settings: Settings) -> Figures:
    start: dict[str, list[float]] = {}
    trained: dict[str, list[float]] = {}
    recalled: dict[str, list[float]] = {}
    for kind in KINDS:
        settings.say(kind)
        found = [_remembered(kind, seed, settings) for seed in settings.seeds]
        before, after, scores = zip(*found, strict=True)
        start[kind] = [mean(row) for row in zip(*before, strict=True)]
        trained[kind] = [mean(row) for row in zip(*after, strict=True)]
        recalled[kind] = list(scores)
    return {"start": start, "trained": trained, "recalled": recalled}


def _ratio(profile: Sequence[float]) -> float:
    return profile[-1] / max(profile[0], 1e-30)


def _judge(figures: Figures) -> Verdict:
    start, trained, recalled = figures["start"], figures["trained"], figures["recalled"]
    because = Words(
        f"Before training, the gradient of the last output by an input {DISTANCE} tokens before is "
        f"{number(_ratio(start['gru']))} of that by its own input in a GRU, {number(_ratio(start['attention']))} in a layer "
        f"of attention, and {number(_ratio(start['convolution']))} in five convolutions. Trained to recall the first "
        f"symbol, the GRU has {number(_ratio(trained['gru']))} and recalls {mean(recalled['gru']):.0%}; attention "
        f"recalls {mean(recalled['attention']):.0%}, the convolutions {mean(recalled['convolution']):.0%} "
        f"(guessing: {1 / 8:.0%}).",
        f"与对自身输入的梯度相比，训练前最后一个输出对 {DISTANCE} 步之前输入的梯度：GRU 剩 {number(_ratio(start['gru']))}，"
        f"一层注意力剩 {number(_ratio(start['attention']))}，五层卷积剩 {number(_ratio(start['convolution']))}。"
        f"训练它回忆第一个符号之后，GRU 为 {number(_ratio(trained['gru']))}，回忆正确率 {mean(recalled['gru']):.0%}；注意力 {mean(recalled['attention']):.0%}，"
        f"卷积 {mean(recalled['convolution']):.0%}（随机猜测为 {1 / 8:.0%}）。",
    )
    vanishes = _ratio(start["gru"]) < 0.01 and _ratio(start["attention"]) > 10 * _ratio(start["gru"])
    if not vanishes:
        return Verdict("does not hold", because)
    forgets = clearly_above(recalled["attention"], recalled["gru"])
    return Verdict("holds" if forgets and _ratio(trained["gru"]) < 0.01 else "only if", because)


def _chart(figures: Figures) -> Chart:
    floor = 1e-12
    lines = [
        (Words("GRU, at the start", "GRU，训练前"), figures["start"]["gru"]),
        (Words("attention, at the start", "注意力，训练前"), figures["start"]["attention"]),
        (Words("5 convolutions, at the start", "5 层卷积，训练前"), figures["start"]["convolution"]),
        (Words("GRU, trained", "GRU，训练后"), figures["trained"]["gru"]),
        (Words("attention, trained", "注意力，训练后"), figures["trained"]["attention"]),
        (Words("5 convolutions, trained", "5 层卷积，训练后"), figures["trained"]["convolution"]),
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


def _recalled(figures: Figures) -> list[Chart]:
    names = (Words("GRU", "GRU"), Words("attention", "注意力"), Words("5 convolutions", "5 层卷积"))
    return [
        Chart(
            Words("layer", "层"),
            Words(
                f"first symbols recalled after {DISTANCE} others", f"隔 {DISTANCE} 个符号回忆首符号的正确率"
            ),
            names,
            [over_seeds(Words("recalled", "回忆正确率"), [figures["recalled"][kind] for kind in KINDS])],
            bars=True,
        )
    ]


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    more=_recalled,
    correction=Words(
        "Gates make forgetting learnable: whether the gradient vanishes depends on the weights. A stack of "
        "convolutions has no gradient at all beyond its receptive field.",
        "门控让遗忘变得可以学习：梯度是否消失取决于权重。卷积堆叠在感受野之外则完全没有梯度。",
    ),
    code=(Code(Recurrence.read, "x, end = fused("), Code(SelfAttention._merge, "self.output(merge_heads")),  # noqa: SLF001
    seconds=30,
)
