"""Additive attention and dot products, at a small and a large width."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

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
    over_seeds,
)
from saccade.lab.learning import fit, seeded
from saccade.lab.timing import milliseconds
from saccade.nn.linear import Linear
from saccade.nn.loss import linear_cross_entropy
from saccade.nn.scores import AdditiveAlignment, Alignment, DotAlignment
from saccade.training.objective import Objective

KEYS, ITEMS = 16, 6
SMALL, LARGE = 16, 128


class ScaledAlignment(DotAlignment):
    """The score s . h_j / sqrt(d)."""

    def scores(self, x: Tensor, keys: Tensor) -> Tensor:
        """See `Alignment.scores`."""
        return super().scores(x, keys) / math.sqrt(x.size(-1))


def additive(width: int) -> Alignment:
    """Bahdanau's alignment, all parts equally wide."""
    return AdditiveAlignment(width, width, width=width)


SCORES_OF: dict[str, Callable[[int], Alignment]] = {
    "additive": additive,
    "dot": lambda _: DotAlignment(),
    "scaled": lambda _: ScaledAlignment(),
}


@dataclass(frozen=True)
class Lookups:
    """Questions: the keys and values (rows, items) of a record each, which key is asked for, and its value."""

    keys: Tensor
    values: Tensor
    asked: Tensor
    answers: Tensor

    @property
    def target_tokens(self) -> int:
        """Number of answers."""
        return len(self.answers)

    @property
    def rows(self) -> int:
        """Number of questions."""
        return len(self.answers)

    def to(self, device: torch.device | str) -> "Lookups":
        """The questions on a device."""
        return Lookups(*(part.to(device) for part in (self.keys, self.values, self.asked, self.answers)))

    def pin(self) -> "Lookups":
        """The questions themselves, which are too small to be worth pinning."""
        return self

    def take(self, rows: slice | object) -> "Lookups":
        """Some of the questions."""
        parts = (self.keys, self.values, self.asked, self.answers)
        return Lookups(*(part[rows] for part in parts))  # type: ignore[index]


def lookups(seed: int, *, rows: int = 64) -> Iterator[Lookups]:
    """Random records without end: distinct keys, random values."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        keys = torch.rand(rows, KEYS, generator=generator).argsort(1)[:, :ITEMS]
        values = torch.randint(KEYS, (rows, ITEMS), generator=generator)
        place = torch.randint(ITEMS, (rows, 1), generator=generator)
        yield Lookups(keys, values, keys.gather(1, place), values.gather(1, place)[:, 0])


class Reader(nn.Module):
    """Answers questions with one attention: embeddings of keys and values are added to annotations."""

    def __init__(self, width: int, alignment: Alignment) -> None:
        super().__init__()
        self.asked, self.keys, self.values = (nn.Embedding(KEYS, width) for _ in range(3))
        self.alignment = alignment
        self.output = Linear(width, KEYS)

    def forward(self, batch: Lookups) -> Tensor:
        """Contexts (rows, width) of what is asked for."""
        annotations = self.keys(batch.keys) + self.values(batch.values)  # (rows, items, width)
        memory = self.alignment.project_memory(annotations)
        found: Tensor = self.alignment(self.asked(batch.asked), memory)[:, 0]
        return found


class Answering(Objective):
    """Cross-entropy of the answers."""

    def __call__(self, model: Reader, batch: Lookups) -> Tensor:
        """See `Objective`."""
        total: Tensor = linear_cross_entropy(
            model(batch), model.output.weight, model.output.bias, batch.answers
        )
        return total


@torch.no_grad()
def _answered(model: Reader, batch: Lookups) -> float:
    return float((model.output(model(batch)).argmax(-1) == batch.answers).float().mean())


def _measure(settings: Settings) -> Figures:
    scores: dict[str, dict[str, list[float]]] = {str(width): {} for width in (SMALL, LARGE)}
    for width in (SMALL, LARGE):
        for name, make in SCORES_OF.items():
            settings.say(f"{name}, width {width}")
            found = []
            for seed in settings.seeds:
                seeded(seed)
                model = Reader(width, make(width))
                rate = 1e-2 if width == SMALL else 3e-3
                steps = settings.pick(200, 3)
                fit(model, lookups(seed), steps=steps, objective=Answering(), peak_rate=rate)
                found.append(_answered(model, next(lookups(-1, rows=1000))))
            scores[str(width)][name] = found
    works = {}
    query, annotations = torch.randn(2, 8, settings.pick(64, 8), LARGE)
    for name, make in SCORES_OF.items():
        alignment = make(LARGE)
        works[name] = partial(alignment, query, alignment.project_memory(annotations))
    return {"accuracy": scores, "milliseconds": milliseconds(works, repeats=settings.pick(15, 1))}


def _judge(figures: Figures) -> Verdict:
    small, large = figures["accuracy"][str(SMALL)], figures["accuracy"][str(LARGE)]
    times = figures["milliseconds"]
    because = Words(
        f"Right answers at width {SMALL}: additive {mean(small['additive']):.1%}, dot product "
        f"{mean(small['dot']):.1%}, scaled {mean(small['scaled']):.1%}; at width {LARGE}: "
        f"{mean(large['additive']):.1%}, {mean(large['dot']):.1%}, {mean(large['scaled']):.1%}. At width {LARGE} "
        f"additive attention takes {times['additive'] / times['scaled']:.0f} times as long as the scaled dot "
        "product.",
        f"宽度 {SMALL} 时正确率：加性 {mean(small['additive']):.1%}，点积 {mean(small['dot']):.1%}，缩放点积 {mean(small['scaled']):.1%}；"
        f"宽度 {LARGE} 时：{mean(large['additive']):.1%}，{mean(large['dot']):.1%}，{mean(large['scaled']):.1%}。"
        f"宽度 {LARGE} 时，加性注意力耗时是缩放点积的 {times['additive'] / times['scaled']:.0f} 倍。",
    )
    if not clearly_above(large["additive"], large["dot"]):
        return Verdict("does not hold", because)
    similar = not clearly_above(small["additive"], small["dot"])
    gap = mean(large["additive"]) - mean(large["dot"])
    cured = mean(large["scaled"]) - mean(large["dot"]) > 0.8 * gap
    return Verdict("holds" if similar and cured else "only if", because)


_NAMES = {
    "additive": Words("additive", "加性"),
    "dot": Words("dot product", "点积"),
    "scaled": Words("scaled dot product", "缩放点积"),
}


def _chart(figures: Figures) -> Chart:
    widths = (str(SMALL), str(LARGE))
    return Chart(
        Words("width", "宽度"),
        Words("right answers", "正确率"),
        [f"d = {width}" for width in widths],
        [
            over_seeds(name, [figures["accuracy"][width][kind] for width in widths])
            for kind, name in _NAMES.items()
        ],
        bars=True,
    )


def _times(figures: Figures) -> list[Chart]:
    times = [figures["milliseconds"][kind] for kind in _NAMES]
    return [
        Chart(
            Words(f"score function, width {LARGE}", f"打分函数，宽度 {LARGE}"),
            Words("milliseconds of processor time", "处理器时间（毫秒）"),
            list(_NAMES.values()),
            [Series(Words("8 sentences of 64 words", "8 句，每句 64 词"), times)],
            bars=True,
        )
    ]


EXPERIMENT = Experiment(
    name="additive",
    title=Words("Additive attention and dot products", "加性注意力与点积注意力"),
    claim=Words(
        "Additive and dot-product attention do equally well at small widths; at large ones, the unscaled dot "
        "product is worse, and scaling cures that.",
        "宽度小时，加性注意力与点积注意力效果相近；宽度大时，不缩放的点积较差，缩放可以弥补。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.2.1, after Britz et al. 2017.",
        "Vaswani 等 2017，第 3.2.1 节，引自 Britz 等 2017。",
    ),
    prediction=Words(
        "A look-up task is learned by all three at a small width; at a large one, unscaled scores start "
        "saturated and learn late.",
        "一个查询任务，宽度小时三者都能学会；宽度大时，不缩放的得分一开始就饱和，学得慢。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    more=_times,
    correction=Words(
        "The difference is one of training, not of what the functions can express. The reason why dot products "
        "are preferred is time: they are one matrix product.",
        "差别在于训练是否顺利，而不是函数能表达什么。人们偏爱点积的原因是速度：它只是一次矩阵乘法。",
    ),
    code=(
        Code(AdditiveAlignment.scores, "sums.sigmoid_() @"),
        Code(DotAlignment.scores, "x @ keys.transpose"),
    ),
    seconds=20,
)
