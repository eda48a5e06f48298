"""Whether queries and keys need different matrices."""

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

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
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tag_accuracy, tags_batch
from saccade.lab.toys import draw, previous, stream
from saccade.nn.attention import SelfAttention


class SameMatrix(nn.Module):
    """A parametrisation of the joint matrix of queries, keys and values in which keys take that of queries."""

    def forward(self, joint: Tensor) -> Tensor:
        """The rows of queries, of queries again, and of values."""
        query, _, value = joint.chunk(3)
        return torch.cat([query, query, value])


def _previous_tagger(seed: int, settings: Settings, *, tied: bool) -> tuple[float, float]:
    """Accuracy at naming the left neighbour, and how far the scores are from symmetric."""
    seeded(seed)
    model = Tagger(Shape(10, width=32, feed_forward=64))
    layer: Any = model.layers[0]
    joint = layer.self_attention.query_key_value
    if tied:
        for name in ("weight", "bias"):
            register_parametrization(joint, name, SameMatrix())
    task: dict[str, Any] = {"symbols": 10, "lengths": range(6, 11)}
    batches = stream(seed, previous, rows=32, batch=tags_batch, **task)
    fit(model, batches, steps=settings.pick(200, 3), objective=Tagging(), peak_rate=1e-2)
    test = tags_batch(draw(random.Random(-1), previous, rows=150, **task))
    with torch.no_grad():
        x = model.embedding(test["source"].values[:, :6])
        query, key, _ = joint(x).chunk(3, -1)
        scores = query @ key.transpose(-2, -1)
        asymmetry = float((scores - scores.transpose(-2, -1)).norm() / scores.norm())
    return tag_accuracy(model, test), asymmetry


def _measure(settings: Settings) -> Figures:
    found: dict[str, dict[str, list[float]]] = {}
    for name, tied in (("own", False), ("tied", True)):
        settings.say(f"{name} matrices")
        pairs = [_previous_tagger(seed, settings, tied=tied) for seed in settings.seeds]
        found[name] = {"accuracy": [one for one, _ in pairs], "asymmetry": [one for _, one in pairs]}
    return found


def _judge(figures: Figures) -> Verdict:
    own, tied = figures["own"], figures["tied"]
    because = Words(
        f"With one matrix for both, scores are symmetric up to {max(tied['asymmetry']):.0e}: if a position looks "
        f"at its left neighbour, that one looks back. {mean(tied['accuracy']):.1%} of the symbols are right then, "
        f"and {mean(own['accuracy']):.1%} with two matrices (asymmetry {mean(own['asymmetry']):.2f}).",
        f"共用一个矩阵时得分是对称的（偏差 {max(tied['asymmetry']):.0e}）：一个位置看左邻，左邻也同样看它。"
        f"此时逐符号正确率 {mean(tied['accuracy']):.1%}；用两个矩阵则为 {mean(own['accuracy']):.1%}（不对称度 {mean(own['asymmetry']):.2f}）。",
    )
    if max(tied["asymmetry"]) > 1e-4 or min(own["asymmetry"]) < 1e-4:
        return Verdict("does not hold", because)
    return Verdict("holds" if clearly_above(own["accuracy"], tied["accuracy"]) else "only if", because)


def _chart(figures: Figures) -> Chart:
    sides = (("own", Words("two matrices", "两个矩阵")), ("tied", Words("one matrix", "一个矩阵")))
    return Chart(
        Words("measure", "指标"),
        Words("share", "比例"),
        [Words("right symbols", "逐符号正确率"), Words("asymmetry of scores", "得分的不对称度")],
        [over_seeds(name, [figures[side]["accuracy"], figures[side]["asymmetry"]]) for side, name in sides],
        bars=True,
        panels=True,
    )


EXPERIMENT = Experiment(
    name="query-key",
    title=Words("Why queries and keys have different matrices", "为什么查询和键用不同的矩阵"),
    claim=Words("Queries and keys need different matrices.", "查询和键需要不同的投影矩阵。"),
    source=Words(
        "One of the “questions on the Transformer” that circulate in Chinese.",
        "流传甚广的“Transformer 面试题”之一。",
    ),
    prediction=Words(
        "With one matrix the scores are symmetric, and a task that looks to one side only fails.",
        "共用一个矩阵时得分对称，只往一侧看的任务就会失败。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "One matrix forces s(i, j) = s(j, i), but not equal weights: each row of the softmax is normalised by itself, "
        "so that a direction can still be learned. Two matrices make it easier; “need” says too much.",
        "共用矩阵会迫使 s(i,j)=s(j,i)，但权重不必相等：softmax 逐行归一化，所以仍有可能学到方向。两个矩阵让它更容易，但“需要”说得过头了。",
    ),
    code=(Code(SelfAttention._project, "self.query_key_value(x).unflatten"),),  # noqa: SLF001
    seconds=15,
)
