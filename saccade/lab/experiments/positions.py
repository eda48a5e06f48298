"""Positions: whether attention knows order without them, and what sinusoids can and cannot do."""

import random
from typing import Any

import torch
from torch import Tensor

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
from saccade.lab.learning import exact, fit, new_model, seeded
from saccade.lab.tagger import Shape, Tagger
from saccade.lab.toys import FIRST, Rule, draw, reverse, stream, vocabulary
from saccade.models.placing import Positions
from saccade.nn.positions import SinusoidalPositions, sinusoids

_EXACT = 1e-9  # what rounding can do in float64

# --- order -----------------------------------------------------------------------------------------


@torch.no_grad()
def _disorder(*, positions: Positions, causal: bool, seed: int) -> float:
    """How far permuting the input is from permuting the output: 0 if the layers do not know the order."""
    seeded(seed)
    model = Tagger(Shape(12, width=16, heads=2, layers=2, positions=positions, causal=causal)).double().eval()
    tokens = torch.randperm(12)[None] + FIRST
    order = torch.randperm(12)
    return float((model(tokens[:, order]) - model(tokens)[:, order]).abs().max())


def _learned(rule: Rule, *, positions: Positions, seed: int, settings: Settings) -> float:
    """The share of sequences that an encoder-decoder with these positions writes without a mistake."""
    sizes = {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1}
    model = new_model("transformer", vocabulary(8), seed=seed, positions=positions, **sizes)
    task: dict[str, Any] = {"symbols": 8, "lengths": range(4, 5), "distinct": True}
    fit(model, stream(seed, rule, rows=32, **task), steps=settings.pick(150, 3), peak_rate=5e-3)
    return exact(model, draw(random.Random(-1), rule, rows=settings.pick(200, 10), **task))


def _measure_order(settings: Settings) -> Figures:
    first = settings.seeds[0]
    disorder = {
        "none": _disorder(positions="none", causal=False, seed=first),
        "sinusoidal": _disorder(positions="sinusoidal", causal=False, seed=first),
        "causal": _disorder(positions="none", causal=True, seed=first),
    }
    scores: dict[str, list[float]] = {}
    for task, rule in (("reverse", reverse), ("sort", sorted)):
        for positions in ("none", "sinusoidal"):
            settings.say(f"{task}, positions {positions}")
            scores[f"{task}_{positions}"] = [
                _learned(rule, positions=positions, seed=seed, settings=settings) for seed in settings.seeds
            ]
    return {"disorder": disorder, "exact": scores}


def _judge_order(figures: Figures) -> Verdict:
    disorder, scores = figures["disorder"], figures["exact"]
    because = Words(
        f"Without positions, permuted inputs give permuted outputs up to {disorder['none']:.0e}, but behind a "
        f"causal mask they differ by {disorder['causal']:.2f}: the mask alone tells early from late. Reversing "
        f"succeeds in {mean(scores['reverse_none']):.0%} of the sequences without positions and in "
        f"{mean(scores['reverse_sinusoidal']):.0%} with them; sorting, which needs no order, in "
        f"{mean(scores['sort_none']):.0%} and {mean(scores['sort_sinusoidal']):.0%}.",
        f"没有位置信息时，打乱输入只会同样打乱输出（误差 {disorder['none']:.0e}）；但有因果掩码时两者相差 {disorder['causal']:.2f}，"
        f"掩码本身就区分了先后。倒序任务：无位置信息的整句正确率 {mean(scores['reverse_none']):.0%}，"
        f"有位置信息 {mean(scores['reverse_sinusoidal']):.0%}；排序任务不需要次序，分别为 "
        f"{mean(scores['sort_none']):.0%} 和 {mean(scores['sort_sinusoidal']):.0%}。",
    )
    blind = disorder["none"] < _EXACT < disorder["sinusoidal"]
    fails = clearly_above(scores["reverse_sinusoidal"], scores["reverse_none"])
    if not (blind and fails):
        return Verdict("does not hold", because)
    return Verdict("only if" if disorder["causal"] > _EXACT else "holds", because)


def _chart_order(figures: Figures) -> Chart:
    scores = figures["exact"]
    return Chart(
        Words("task", "任务"),
        Words("sequences without a mistake", "整句正确率"),
        [Words("reverse", "倒序"), Words("sort", "排序")],
        [
            over_seeds(name, [scores[f"reverse_{kind}"], scores[f"sort_{kind}"]])
            for kind, name in (
                ("none", Words("no positions", "无位置")),
                ("sinusoidal", Words("sinusoids", "正弦位置")),
            )
        ],
        bars=True,
    )


ORDER = Experiment(
    name="order",
    title=Words("Attention without positions", "没有位置信息的注意力"),
    claim=Words("Attention alone does not know the order of its inputs.", "注意力本身没有先后顺序的概念。"),
    source=Words(
        "Vaswani et al. 2017, section 3.5; all study notes.", "Vaswani 等 2017，第 3.5 节；所有学习笔记。"
    ),
    prediction=Words(
        "Layers without positions map a permuted input to the permuted output, so that a model can sort but not "
        "reverse.",
        "没有位置信息的层，输入打乱，输出也只是同样被打乱，所以模型能学会排序，学不会倒序。",
    ),
    measure=_measure_order,
    judge=_judge_order,
    chart=_chart_order,
    correction=Words(
        "Attention without a causal mask does not know the order. A causal mask gives order away: the first "
        "position sees one input, the second two.",
        "没有因果掩码的注意力不知道次序。因果掩码会透露次序：第一个位置只看到一个输入，第二个看到两个。",
    ),
    code=(Code(SinusoidalPositions.forward, "return x + self.rows"),),
    seconds=35,
)

# --- sinusoids -------------------------------------------------------------------------------------


def _shift_error(table: Tensor, shift: int) -> float:
    """The relative error of the best linear map from each row to the row `shift` further on."""
    rows, later = table[:-shift].double(), table[shift:].double()
    found = torch.linalg.lstsq(rows, later, driver="gelsd").solution
    return float((rows @ found - later).norm() / later.norm())


def _nearest(table: Tensor) -> float:
    """The smallest distance between two rows."""
    least = torch.inf
    for first in range(0, len(table), 500):
        distances = torch.cdist(table[first : first + 500], table)
        own = torch.arange(len(distances))
        distances[own, first + own] = torch.inf
        least = min(least, float(distances.min()))
    return least


def _measure_sinusoids(settings: Settings) -> Figures:
    length = settings.pick(2000, 300)
    table = sinusoids(length, 64)
    shifts = (1, 7, 37, 100)
    wide = sinusoids(settings.pick(5000, 300), 512)
    products = wide[:101] @ wide[0]
    return {
        "shifts": list(shifts),
        "both": [_shift_error(table, shift) for shift in shifts],
        "sine": [_shift_error(table[:, 0::2], shift) for shift in shifts],
        "norms": [float(wide.norm(dim=1).min()), float(wide.norm(dim=1).max())],
        "products": {str(shift): float(products[shift]) for shift in (0, 1, 10, 100)},
        "nearest": _nearest(wide),
        "neighbour_cosine": float(products[1] / products[0]),
    }


def _judge_sinusoids(figures: Figures) -> Verdict:
    both, sine = max(figures["both"]), min(figures["sine"])
    because = Words(
        f"The best linear map from PE(p) to PE(p + k) has a relative error of at most {both:.0e} with sine and "
        f"cosine and of at least {sine:.0%} with sine alone. All norms are between {figures['norms'][0]:.3f} and "
        f"{figures['norms'][1]:.3f} (width 512), and no two of the positions are closer than "
        f"{figures['nearest']:.2f}.",
        f"从 PE(p) 到 PE(p+k) 的最佳线性映射：正弦余弦都用时，相对误差最多 {both:.0e}；只用正弦时，至少 {sine:.0%}。"
        f"（宽度 512）所有位置向量的模在 {figures['norms'][0]:.3f} 与 {figures['norms'][1]:.3f} 之间，"
        f"任意两个位置的距离不小于 {figures['nearest']:.2f}。",
    )
    if both > 1e-4 or figures["nearest"] < 0.1:
        return Verdict("does not hold", because)
    return Verdict("holds" if sine > 0.1 else "only if", because)


def _chart_sinusoids(figures: Figures) -> Chart:
    return Chart(
        Words("shift k", "平移 k"),
        Words("relative error of the best linear map", "最佳线性映射的相对误差"),
        figures["shifts"],
        [
            Series(Words("sine and cosine", "正弦和余弦"), figures["both"]),
            Series(Words("sine alone", "只有正弦"), figures["sine"]),
        ],
        log_x=True,
        log_y=True,
    )


SINUSOIDS = Experiment(
    name="sinusoids",
    title=Words("Why both sine and cosine", "为什么同时用正弦和余弦"),
    claim=Words(
        "With sine and cosine, PE(p + k) is a linear function of PE(p), and no two positions collide.",
        "同时使用正弦和余弦，PE(p+k) 才是 PE(p) 的线性函数，而且不同位置的编码不会相同。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.5; an open question in the study notes.",
        "Vaswani 等 2017，第 3.5 节；学习笔记把它留作问题。",
    ),
    prediction=Words(
        "Each pair (sine, cosine) is a point on a circle, and a shift turns it: the map is exact. With sine "
        "alone, the angle cannot be recovered from one number, so no linear map fits.",
        "每一对（正弦，余弦）是圆上的一点，平移就是旋转，所以线性映射是精确的；只有正弦时，一个数定不出角度，没有合适的线性映射。",
    ),
    measure=_measure_sinusoids,
    judge=_judge_sinusoids,
    chart=_chart_sinusoids,
    correction=Words(
        "The map is a rotation of each pair, which also keeps the norm sqrt(d/2) and makes PE(p) · PE(q) depend "
        "on p − q alone. That such a map exists does not mean that a model uses it.",
        "这个映射是对每一对分量的旋转，因此模长恒为 √(d/2)，PE(p)·PE(q) 只取决于 p−q。存在这样的映射，不等于模型会用它。",
    ),
    code=(Code(sinusoids, "torch.stack([angle.sin(), angle.cos()]"),),
    seconds=3,
)
