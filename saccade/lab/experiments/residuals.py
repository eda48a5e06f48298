"""Residual connections: what they carry upwards, and how deep models train without them."""

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

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
from saccade.lab.tagger import Shape, Tagger, Tagging, replace_residuals, tag_accuracy, tags_batch
from saccade.lab.toys import FIRST, draw, previous, stream
from saccade.nn.layers import Residual

DEPTHS = (2, 6, 12)
LONG = 12


class Bare(nn.Module):
    """A sub-layer with its norm and without the connection past it."""

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        self.norm = residual.norm

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """See `Residual.forward`."""
        out: Tensor = self.norm(sublayer(x))
        return out


@torch.no_grad()
def probed(model: Tagger, seed: int) -> list[float]:
    """How often a linear probe reads the position from the states after each layer, embeddings first."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(FIRST, FIRST + 10, (120, LONG), generator=generator)
    gold = torch.arange(LONG).expand(len(tokens), -1)
    half, found = len(tokens) // 2, []
    for states in model.states(model.embedding(tokens)):
        known, fresh = states[:half].flatten(0, 1), states[half:].flatten(0, 1)
        wanted = nn.functional.one_hot(gold[:half].flatten()).float()
        probe = torch.linalg.lstsq(known.double(), wanted.double(), driver="gelsd").solution
        said = (fresh.double() @ probe).argmax(-1)
        found.append(float((said == gold[half:].flatten()).float().mean()))
    return found


def _measure(settings: Settings) -> Figures:
    depths = DEPTHS[: settings.pick(len(DEPTHS), 2)]
    accuracy: dict[str, list[list[float]]] = {"with": [], "without": []}
    probe: dict[str, list[list[float]]] = {"with": [], "without": []}
    for depth in depths:
        for kind, table in accuracy.items():
            scores, probes = [], []
            for seed in settings.seeds:
                settings.say(f"{depth} layers {kind} residual connections, seed {seed}")
                seeded(seed)
                model = Tagger(Shape(10, width=32, heads=2, layers=depth, feed_forward=64))
                if kind == "without":
                    replace_residuals(model, Bare)
                probes.append(probed(model, seed))
                batches = stream(seed, previous, symbols=10, lengths=range(6, 11), rows=32, batch=tags_batch)
                fit(model, batches, steps=settings.pick(80, 2), objective=Tagging(), peak_rate=3e-3)
                test = draw(random.Random(-1), previous, rows=100, symbols=10, lengths=range(6, 11))
                scores.append(tag_accuracy(model, tags_batch(test)))
            table.append(scores)
            if depth == depths[-1]:
                probe[kind] = [list(row) for row in zip(*probes, strict=True)]
    return {"depths": list(depths), "accuracy": accuracy, "probe": probe}


def _judge(figures: Figures) -> Verdict:
    accuracy, probe, depths = figures["accuracy"], figures["probe"], figures["depths"]
    deep, bare = accuracy["with"][-1], accuracy["without"][-1]
    top, bare_top = probe["with"][-1], probe["without"][-1]
    because = Words(
        f"With {depths[-1]} layers, {mean(deep):.1%} of the symbols are right with residual connections and "
        f"{mean(bare):.1%} without (with {depths[0]} layers {mean(accuracy['with'][0]):.1%} and "
        f"{mean(accuracy['without'][0]):.1%}). In the top layer of {depths[-1]}, before training, a linear probe "
        f"reads {mean(top):.0%} of the positions with and {mean(bare_top):.0%} without them.",
        f"{depths[-1]} 层时，有残差连接的逐符号正确率 {mean(deep):.1%}，没有则为 {mean(bare):.1%}"
        f"（{depths[0]} 层时为 {mean(accuracy['with'][0]):.1%} 和 {mean(accuracy['without'][0]):.1%}）。"
        f"训练前，线性探针能从 {depths[-1]} 层模型的顶层读出 {mean(top):.0%} 的位置；没有残差时只有 {mean(bare_top):.0%}。",
    )
    helps, carries = clearly_above(deep, bare), clearly_above(top, bare_top)
    if helps and carries:
        return Verdict("holds", because)
    return Verdict("only if" if helps or carries else "does not hold", because)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("layer (0: embeddings)", "层（0 为嵌入）"),
        Words("positions read by a linear probe", "线性探针读出的位置比例"),
        list(range(figures["depths"][-1] + 1)),
        [
            over_seeds(Words("with residual connections", "有残差连接"), figures["probe"]["with"]),
            over_seeds(Words("without", "无残差连接"), figures["probe"]["without"]),
        ],
    )


def _depths(figures: Figures) -> list[Chart]:
    return [
        Chart(
            Words("layers", "层数"),
            Words("symbols that are right", "逐符号正确率"),
            figures["depths"],
            [
                over_seeds(Words("with residual connections", "有残差连接"), figures["accuracy"]["with"]),
                over_seeds(Words("without", "无残差连接"), figures["accuracy"]["without"]),
            ],
        )
    ]


EXPERIMENT = Experiment(
    name="residuals",
    title=Words("Residual connections", "残差连接"),
    claim=Words(
        "Residual connections carry positions to higher layers, and deep models train badly without them.",
        "残差连接帮助位置信息顺利传递到高层；没有它，深层模型难以训练。",
    ),
    source=Words("He et al. 2016; study notes.", "He 等 2016；学习笔记。"),
    prediction=Words(
        "A linear probe reads the position from every layer with residual connections, and less and less of it "
        "without. A deep model without them learns less in the same number of updates.",
        "有残差连接时，线性探针在每一层都能读出位置；没有时越往上越读不出来。同样的更新次数，没有残差的深层模型学到的更少。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    more=_depths,
    correction=Words(
        "The reason has nothing to do with ReLU, as some notes say: the identity path keeps what a layer does "
        "not change, and gives gradients a way around every layer.",
        "原因与某些笔记所说的 ReLU 无关：恒等通路保留了该层没有改变的内容，也给梯度一条绕过每一层的路。",
    ),
    code=(Code(Residual.forward, "self.norm(x + self.dropout(y))"),),
    seconds=55,
)
