"""Attention alone does not know the order of its inputs: permutations, reversing and sorting."""

import random
from typing import Any

import torch

from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
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
from saccade.nn.positions import SinusoidalPositions

_EXACT = 1e-9  # what rounding can do in float64


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


def _measure(settings: Settings) -> Figures:
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


def _judge(figures: Figures) -> Verdict:
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


def _chart(figures: Figures) -> Chart:
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


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Attention without a causal mask does not know the order. A causal mask gives order away: the first "
        "position sees one input, the second two.",
        "没有因果掩码的注意力不知道次序。因果掩码会透露次序：第一个位置只看到一个输入，第二个看到两个。",
    ),
    code=(Code(SinusoidalPositions.forward, "return x + self.rows"),),
    seconds=30,
)
