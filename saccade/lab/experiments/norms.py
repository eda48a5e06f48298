"""Layer norm or batch norm: what other sentences in the batch change."""

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
from saccade.lab.toys import draw, previous, stream
from saccade.nn.layers import Residual


class OverTokens(nn.Module):
    """Batch norm over all tokens of a batch, padding included."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises x (batch, length, width) by channel."""
        out: Tensor = self.norm(x.flatten(0, 1)).view_as(x)
        return out


class PostNorm(nn.Module):
    """Norm(x + f(x)) with a norm of any kind."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """See `Residual.forward`."""
        out: Tensor = self.norm(x + sublayer(x))
        return out


def _normed(kind: str, seed: int) -> Tagger:
    seeded(seed)
    model = Tagger(Shape(10, width=32, heads=2, layers=2, feed_forward=64))
    if kind == "batch":
        replace_residuals(model, lambda _: PostNorm(OverTokens(32)))
    return model


@torch.no_grad()
def _company(model: Tagger, seed: int) -> float:
    """How much a sentence's states change in training mode when other sentences are in the batch."""
    generator = random.Random(seed)
    pairs = draw(generator, previous, rows=4, symbols=10, lengths=range(3, 13))
    model.train()
    batch = tags_batch(pairs)["source"]
    alone = tags_batch(pairs[:1])["source"]
    length = int(alone.lengths[0])
    together = model(batch.values, batch.lengths)[0, :length]
    return float((together - model(alone.values, alone.lengths)[0]).abs().max())


def _measure(settings: Settings) -> Figures:
    found: dict[str, dict[str, list[float]]] = {}
    for kind in ("layer", "batch"):
        accuracy, company = [], []
        for seed in settings.seeds:
            settings.say(f"{kind} norm, seed {seed}")
            company.append(_company(_normed(kind, seed), seed))
            model = _normed(kind, seed)
            batches = stream(seed, previous, symbols=10, lengths=range(3, 13), rows=4, batch=tags_batch)
            fit(model, batches, steps=settings.pick(300, 3), objective=Tagging(), peak_rate=5e-3)
            test = draw(random.Random(-1), previous, rows=150, symbols=10, lengths=range(3, 13))
            accuracy.append(tag_accuracy(model, tags_batch(test)))
        found[kind] = {"accuracy": accuracy, "company": company}
    return found


def _judge(figures: Figures) -> Verdict:
    layer, batch = figures["layer"], figures["batch"]
    because = Words(
        f"In training, other sentences in the batch change a sentence's states by {max(layer['company']):.0e} "
        f"with layer norm and by {mean(batch['company']):.2f} with batch norm. Trained on four sentences at a "
        f"time, {mean(layer['accuracy']):.1%} and {mean(batch['accuracy']):.1%} of the symbols are right.",
        f"训练时，同一批里的其他句子使一个句子的状态改变：层归一化 {max(layer['company']):.0e}，批归一化 {mean(batch['company']):.2f}。"
        f"每批四句训练后，逐符号正确率分别为 {mean(layer['accuracy']):.1%} 和 {mean(batch['accuracy']):.1%}。",
    )
    if max(layer["company"]) > 1e-4 or min(batch["company"]) < 1e-3:
        return Verdict("does not hold", because)
    return Verdict("holds" if clearly_above(layer["accuracy"], batch["accuracy"]) else "only if", because)


def _chart(figures: Figures) -> Chart:
    sides = (("layer", Words("layer norm", "层归一化")), ("batch", Words("batch norm", "批归一化")))
    return Chart(
        Words("measure", "指标"),
        Words("value", "数值"),
        [Words("right symbols", "逐符号正确率"), Words("change by other sentences", "受其他句子的影响")],
        [over_seeds(name, [figures[side]["accuracy"], figures[side]["company"]]) for side, name in sides],
        bars=True,
        panels=True,
    )


EXPERIMENT = Experiment(
    name="norms",
    title=Words("Layer norm, not batch norm", "用层归一化而不是批归一化"),
    claim=Words(
        "Batch norm does not suit sequences of different lengths in small batches; layer norm does.",
        "批归一化很难用在长度不同的序列和小批量上，层归一化可以。",
    ),
    source=Words("Ba et al. 2016; study notes.", "Ba 等 2016；学习笔记。"),
    prediction=Words(
        "With batch norm a sentence's result depends on its company and on padding, and the averages that are "
        "used afterwards do not fit; with layer norm it depends on the sentence alone.",
        "用批归一化，一个句子的结果取决于同批的句子和填充，之后使用的滑动平均又与训练时不符；用层归一化则只取决于句子本身。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Layer norm standardises the features of one token, by mean and variance. It neither whitens nor makes "
        "features independent, and it is not a regulariser.",
        "层归一化按均值和方差标准化单个词元的各个特征。它既不是白化，也不会让特征相互独立，更不是正则化手段。",
    ),
    code=(Code(Residual.__init__, "self.norm = nn.LayerNorm(width"),),
    seconds=20,
)
