"""Attention as a soft look-up: the score that it needs."""

import math

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
)
from saccade.nn.attention import attend, attention_weights

RECORD = ("Name", "Age", "Sex", "Weight")
VALUES = (0.0, 25.0, 1.0, 48.0)
SCORES = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)
NAME_WIDTH = 16


def _weights(score: float, keys: int) -> Tensor:
    """The weights (1, keys) if the first key matches with this score, the others having 0."""
    query, key = torch.tensor([[[[score, 0.0]]]], dtype=torch.float64), torch.zeros(1, 1, keys, 2).double()
    key[..., 0, 0] = math.sqrt(query.size(-1))  # undoes the scaling, so that the score is as given
    return attention_weights(query, key)[0, 0]


def weight_of_match(score: float, keys: int) -> float:
    """The attention weight of the one key that matches with this score, the others having 0."""
    return float(_weights(score, keys)[0, 0])


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


@torch.no_grad()
def named(score: float, keys: int, *, records: int) -> float:
    """How often the name that is nearest to what a look-up returns is the right one.

    Names are random embeddings, one for each key, and what returns is a mixture of them.
    """
    names = torch.randn(records, keys, NAME_WIDTH)
    found = _weights(score, keys).float() @ names  # (records, 1, width)
    nearest = torch.cdist(found, names).argmin(-1).flatten()
    return float((nearest == 0).float().mean())


def _measure(settings: Settings) -> Figures:
    many = (4, 32, 512)
    torch.manual_seed(settings.seeds[0])
    records = settings.pick(400, 20)
    return {
        "scores": list(SCORES),
        "weights": {str(keys): [weight_of_match(score, keys) for score in SCORES] for keys in many},
        "needed_95": {str(keys): needed_score(0.95, keys) for keys in many},
        "needed_999": {str(keys): needed_score(0.999, keys) for keys in many},
        "age": [looked_up(score) for score in SCORES],
        "names": {str(keys): [named(score, keys, records=records) for score in SCORES] for keys in many},
    }


def _judge(figures: Figures) -> Verdict:
    weights, need, sure = figures["weights"]["4"], figures["needed_95"], figures["needed_999"]
    because = Words(
        f"Among four keys, a score of 1 against 0 gives the matching key a weight of {weights[0]:.3f}, and the "
        f"look-up of Age returns {figures['age'][0]:.1f} instead of 25. A weight of 0.95 needs a gap of "
        f"{need['4']:.1f}, 0.999 one of {sure['4']:.1f}; among 512 keys {need['512']:.1f} and {sure['512']:.1f}. Names as embeddings of width "
        f"{NAME_WIDTH}: at a score of 1 the nearest one is right in {figures['names']['4'][0]:.0%} of the look-ups "
        f"among 4 keys and in {figures['names']['512'][0]:.0%} among 512.",
        f"四个键中，匹配的得分为 1、其余为 0 时，匹配键的权重只有 {weights[0]:.3f}，查询 Age 得到 {figures['age'][0]:.1f} 而不是 25。"
        f"权重要到 0.95，得分差需 {need['4']:.1f}；到 0.999 需 {sure['4']:.1f}；键有 512 个时，分别需 {need['512']:.1f} 和 {sure['512']:.1f}。"
        f"值是名字时，用宽 {NAME_WIDTH} 的嵌入表示：得分为 1，4 个键中最近的名字有 {figures['names']['4'][0]:.0%} 正确，"
        f"512 个键中只有 {figures['names']['512'][0]:.0%}。",
    )
    if weights[0] >= 0.95:
        return Verdict("holds", because)
    return Verdict("only if" if weights[-1] >= 0.95 else "does not hold", because)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("score of the matching key (others 0)", "匹配键的得分（其余为 0）"),
        Words("weight of the matching key", "匹配键的权重"),
        figures["scores"],
        [
            Series(Words(f"{keys} keys", f"{keys} 个键"), values)
            for keys, values in figures["weights"].items()
        ],
    )


def _names(figures: Figures) -> list[Chart]:
    return [
        Chart(
            Words("score of the matching key (others 0)", "匹配键的得分（其余为 0）"),
            Words("look-ups whose nearest name is right", "最近的名字正确的比例"),
            figures["scores"],
            [
                Series(Words(f"{keys} keys", f"{keys} 个键"), values)
                for keys, values in figures["names"].items()
            ],
        )
    ]


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    more=_names,
    correction=Words(
        "The result is one mixture of all values, close to that of Age if its score is larger by ln(19 (n − 1)) "
        "or more, for n keys. Values that are no numbers, such as names, need embeddings.",
        "结果是所有值的加权混合；n 个键时，Age 的得分至少高出 ln(19(n−1))，结果才接近它的值。名字这类非数值需要嵌入表示。",
    ),
    code=(Code(attention_weights, "masked_fill(~visible, -math.inf).softmax(-1)"),),
)
