"""Attention as a soft look-up: the score that it needs, and the functions that can compute the score."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
from saccade.nn.attention import attend, attention_weights
from saccade.nn.linear import Linear
from saccade.nn.loss import linear_cross_entropy
from saccade.nn.scores import AdditiveAlignment, Alignment, DotAlignment
from saccade.training.objective import Objective

# --- the score that a look-up needs ----------------------------------------------------------------

RECORD = ("Name", "Age", "Sex", "Weight")
VALUES = (0.0, 25.0, 1.0, 48.0)
SCORES = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)


def weight_of_match(score: float, keys: int) -> float:
    """The attention weight of the one key that matches with this score, the others having 0."""
    query, key = torch.tensor([[[[score, 0.0]]]], dtype=torch.float64), torch.zeros(1, 1, keys, 2).double()
    key[..., 0, 0] = math.sqrt(query.size(-1))  # undoes the scaling, so that the score is as given
    return float(attention_weights(query, key)[0, 0, 0, 0])


def needed_score(weight: float, keys: int) -> float:
    """The score of the matching key at which its weight is as given, found by bisection."""
    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if weight_of_match(middle, keys) < weight else (low, middle)
    return high


@torch.no_grad()
def looked_up(score: float) -> float:
    """What a look-up of Age returns from the record if the key Age matches with this score."""
    keys, size = len(RECORD), len(RECORD)
    query = torch.zeros(1, 1, 1, size, dtype=torch.float64)
    query[..., RECORD.index("Age")] = score * math.sqrt(size)
    key = torch.eye(keys, dtype=torch.float64)[None, None]
    value = torch.tensor(VALUES, dtype=torch.float64)[None, None, :, None]
    return float(attend(query, key, value))


def _measure_lookup(settings: Settings) -> Figures:  # noqa: ARG001 - nothing is drawn or trained
    many = (4, 32, 512)
    return {
        "scores": list(SCORES),
        "weights": {str(keys): [weight_of_match(score, keys) for score in SCORES] for keys in many},
        "needed_95": {str(keys): needed_score(0.95, keys) for keys in many},
        "needed_999": {str(keys): needed_score(0.999, keys) for keys in many},
        "age": [looked_up(score) for score in SCORES],
    }


def _judge_lookup(figures: Figures) -> Verdict:
    weights, need, sure = figures["weights"]["4"], figures["needed_95"], figures["needed_999"]
    because = Words(
        f"Among four keys, a score of 1 against 0 gives the matching key a weight of {weights[0]:.3f}, and the "
        f"look-up of Age returns {figures['age'][0]:.1f} instead of 25. A weight of 0.95 needs a gap of "
        f"{need['4']:.1f}, 0.999 one of {sure['4']:.1f}; among 512 keys {need['512']:.1f} and {sure['512']:.1f}.",
        f"四个键中，匹配的得分为 1、其余为 0 时，匹配键的权重只有 {weights[0]:.3f}，查询 Age 得到 {figures['age'][0]:.1f} 而不是 25。"
        f"权重要到 0.95，得分差需 {need['4']:.1f}；到 0.999 需 {sure['4']:.1f}；键有 512 个时，分别需 {need['512']:.1f} 和 {sure['512']:.1f}。",
    )
    if weights[0] >= 0.95:
        return Verdict("holds", because)
    return Verdict("only if" if weights[-1] >= 0.95 else "does not hold", because)


def _chart_lookup(figures: Figures) -> Chart:
    return Chart(
        Words("score of the matching key (others 0)", "匹配键的得分（其余为 0）"),
        Words("weight of the matching key", "匹配键的权重"),
        figures["scores"],
        [
            Series(Words(f"{keys} keys", f"{keys} 个键"), values)
            for keys, values in figures["weights"].items()
        ],
    )


LOOKUP = Experiment(
    name="lookup",
    title=Words("Attention as a soft look-up", "作为软查询的注意力"),
    claim=Words(
        "With keys Name, Age, Sex, Weight and the query Age, attention returns the value 25: the score of Age is "
        "about 1, those of the others about 0.",
        "键为 Name、Age、Sex、Weight，以 Age 为查询，注意力返回 25：Age 的得分约为 1，其余约为 0。",
    ),
    source=Words("Study notes.", "学习笔记。"),
    prediction=Words(
        "Weights are a softmax: a score of 1 against three zeros has a weight of e / (e + 3) = 0.475. Only a "
        "large gap makes the look-up hard.",
        "权重是 softmax：得分 1 对三个 0，权重为 e/(e+3)=0.475。只有差距足够大，软查询才接近真正的查询。",
    ),
    measure=_measure_lookup,
    judge=_judge_lookup,
    chart=_chart_lookup,
    correction=Words(
        "The result is one mixture of all values, close to that of Age if its score is larger by ln(19 (n − 1)) "
        "or more, for n keys. Values that are no numbers, such as names, need embeddings.",
        "结果是所有值的加权混合；n 个键时，Age 的得分至少高出 ln(19(n−1))，结果才接近它的值。名字这类非数值需要嵌入表示。",
    ),
    code=(Code(attention_weights, "masked_fill(~visible, -math.inf).softmax(-1)"),),
)

# --- additive or dot product -----------------------------------------------------------------------

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


@torch.no_grad()
def _milliseconds(alignment: Alignment, *, width: int, length: int, runs: int) -> float:
    memory = alignment.project_memory(torch.randn(8, length, width))
    query, times = torch.randn(8, length, width), []
    for _ in range(runs):
        started = time.perf_counter()
        alignment(query, memory)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def _measure_additive(settings: Settings) -> Figures:
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
    runs, length = settings.pick(7, 1), settings.pick(64, 8)
    times = {
        name: _milliseconds(make(LARGE), width=LARGE, length=length, runs=runs)
        for name, make in SCORES_OF.items()
    }
    return {"accuracy": scores, "milliseconds": times}


def _judge_additive(figures: Figures) -> Verdict:
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


def _chart_additive(figures: Figures) -> Chart:
    names = {
        "additive": Words("additive", "加性"),
        "dot": Words("dot product", "点积"),
        "scaled": Words("scaled dot product", "缩放点积"),
    }
    widths = (str(SMALL), str(LARGE))
    return Chart(
        Words("width", "宽度"),
        Words("right answers", "正确率"),
        [f"d = {width}" for width in widths],
        [
            over_seeds(name, [figures["accuracy"][width][kind] for width in widths])
            for kind, name in names.items()
        ],
        bars=True,
    )


ADDITIVE = Experiment(
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
    measure=_measure_additive,
    judge=_judge_additive,
    chart=_chart_additive,
    correction=Words(
        "The difference is one of training, not of what the functions can express. The reason why dot products "
        "are preferred is time: they are one matrix product.",
        "差别在于训练是否顺利，而不是函数能表达什么。人们偏爱点积的原因是速度：它只是一次矩阵乘法。",
    ),
    code=(
        Code(AdditiveAlignment.scores, "sums.sigmoid_() @"),
        Code(DotAlignment.scores, "x @ keys.transpose"),
    ),
    seconds=30,
)
