"""Why scores are divided by sqrt(d_k): what unscaled dot products do to the softmax and to training."""

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
    clearly_above,
    mean,
    over_seeds,
)
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tags_batch
from saccade.lab.toys import previous, stream
from saccade.nn.attention import AttentionPositions, attention_weights

WIDTHS = (4, 16, 64, 256)
KEYS, QUERIES = 16, 512
PARTS = 15


class Unscaled(AttentionPositions):
    """Undoes the division by sqrt(d_k), by multiplying queries with it."""

    def place(self, query: Tensor, key: Tensor, *, start: int | Tensor) -> tuple[Tensor, Tensor]:
        """See `AttentionPositions.place`."""
        return super().place(query * math.sqrt(query.size(-1)), key, start=start)


def softmax_facts(weights: Tensor) -> tuple[float, float]:
    """The mean entropy in nats of rows of weights, and the mean norm of the softmax's Jacobian there."""
    entropy = -torch.special.xlogy(weights, weights).sum(-1).mean()
    jacobian = torch.diag_embed(weights) - weights[..., None] * weights[..., None, :]
    return float(entropy), float(jacobian.flatten(-2).norm(dim=-1).mean())


def training_curve(seed: int, settings: Settings, *, scaled: bool) -> list[float]:
    """The loss of a model with one wide head that is trained to find each left neighbour, a mean for each
    fifteenth of its training.
    """
    seeded(seed)
    model = Tagger(Shape(10, width=64), inner=AttentionPositions if scaled else Unscaled)
    batches = stream(seed, previous, symbols=10, lengths=range(6, 11), rows=32, batch=tags_batch)
    part = settings.pick(10, 1)
    losses = fit(model, batches, steps=PARTS * part, objective=Tagging(), peak_rate=2e-3)
    return [mean(losses[first : first + part]) for first in range(0, len(losses), part)]


def _measure(settings: Settings) -> Figures:
    """Entropy and Jacobian by d_k for components of unit variance; losses of trained models."""
    generator = torch.Generator().manual_seed(settings.seeds[0])
    table: dict[str, list[float]] = {name: [] for name in ("scaled", "unscaled", "jacobian", "bare_jacobian")}
    for width in WIDTHS:
        query = torch.randn(1, 1, QUERIES, width, generator=generator)
        key = torch.randn(1, 1, KEYS, width, generator=generator)
        for entropy, norm, factor in (
            ("scaled", "jacobian", 1.0),
            ("unscaled", "bare_jacobian", math.sqrt(width)),
        ):
            found = softmax_facts(attention_weights(factor * query, key))
            table[entropy].append(found[0])
            table[norm].append(found[1])
    curves: dict[str, list[list[float]]] = {}
    for name, scaled in (("scaled", True), ("unscaled", False)):
        settings.say(f"training, {name}")
        rows = [training_curve(seed, settings, scaled=scaled) for seed in settings.seeds]
        curves[name] = [list(row) for row in zip(*rows, strict=True)]
    return {"entropy_and_jacobian": table, "loss": curves}


def _judge(figures: Figures) -> Verdict:
    """Holds if scaling keeps the entropy, its lack loses it, and training suffers; see `Experiment.judge`."""
    table, loss = figures["entropy_and_jacobian"], figures["loss"]
    kept = min(table["scaled"]) >= 0.9 * max(table["scaled"])
    lost = table["unscaled"][-1] <= 0.5 * table["scaled"][-1]
    vanishes = table["bare_jacobian"][-1] <= 0.5 * table["jacobian"][-1]
    suffers = clearly_above(loss["unscaled"][-1], loss["scaled"][-1])
    with_, without = table["scaled"][-1], table["unscaled"][-1]
    because = Words(
        f"At d_k = {WIDTHS[-1]} the entropy of 16 weights is {with_:.2f} nats with scaling and {without:.2f} "
        f"without; the softmax's derivative shrinks from {table['jacobian'][-1]:.2f} to "
        f"{table['bare_jacobian'][-1]:.2f}. After training with d_k = 64 the loss is "
        f"{mean(loss['scaled'][-1]):.3f} with and {mean(loss['unscaled'][-1]):.3f} without.",
        f"d_k = {WIDTHS[-1]} 时，16 个权重的熵在缩放时是 {with_:.2f} 奈特，不缩放时只有 {without:.2f}；"
        f"softmax 导数的范数从 {table['jacobian'][-1]:.2f} 降到 {table['bare_jacobian'][-1]:.2f}。"
        f"d_k = 64 训练结束时的损失：缩放 {mean(loss['scaled'][-1]):.3f}，不缩放 {mean(loss['unscaled'][-1]):.3f}。",
    )
    if not (kept and lost and vanishes):
        return Verdict("does not hold", because)
    return Verdict("holds" if suffers else "only if", because)


_NAMES = {
    "scaled": Words("divided by sqrt(d_k)", "除以 √d_k"),
    "unscaled": Words("not divided", "不缩放"),
}
_JACOBIANS = {"scaled": "jacobian", "unscaled": "bare_jacobian"}


def _chart(figures: Figures) -> Chart:
    """Entropy by d_k, with and without scaling."""
    table = figures["entropy_and_jacobian"]
    entropies = [Series(name, table[key]) for key, name in _NAMES.items()]
    y = Words("entropy of 16 weights, nats", "16 个权重的熵（奈特）")
    return Chart(Words("d_k", "d_k"), y, WIDTHS, entropies, log_x=True)


def _gradients_and_curves(figures: Figures) -> list[Chart]:
    """The norm of the softmax's derivative by d_k, and the loss during training."""
    table, losses = figures["entropy_and_jacobian"], figures["loss"]
    norms = [Series(name, table[_JACOBIANS[key]]) for key, name in _NAMES.items()]
    curves = [over_seeds(name, losses[key]) for key, name in _NAMES.items()]
    y = Words("norm of the softmax's derivative", "softmax 导数的范数")
    updates = [10 * place for place in range(1, PARTS + 1)]
    return [
        Chart(Words("d_k", "d_k"), y, WIDTHS, norms, log_x=True),
        Chart(
            Words("updates (d_k = 64)", "更新次数（d_k = 64）"),
            Words("training loss, nats", "训练损失（奈特）"),
            updates,
            curves,
        ),
    ]


EXPERIMENT = Experiment(
    name="scaling",
    title=Words("Dividing by sqrt(d_k)", "除以 √d_k"),
    claim=Words(
        "Dividing scores by sqrt(d_k) keeps the softmax out of saturation, where its gradient is small.",
        "把得分除以 √d_k，可以避免 softmax 饱和，饱和处梯度很小。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.2.1, footnote 4; repeated in most study notes.",
        "Vaswani 等 2017，第 3.2.1 节脚注 4；多数学习笔记都有此说。",
    ),
    prediction=Words(
        "A dot product of d_k components of unit variance has variance d_k, so without scaling the entropy of "
        "the weights falls as d_k grows; with scaling it stays the same.",
        "d_k 个单位方差分量的点积方差为 d_k，所以不缩放时权重的熵随 d_k 增大而下降，缩放后则保持不变。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    more=_gradients_and_curves,
    correction=Words(
        "The divisor is sqrt(d_k), with d_k the width of a head (not of the model), and it assumes components "
        "of variance one. It keeps the spread of the scores independent of d_k; it does not stop single large "
        "keys from dominating.",
        "除数是 √d_k，d_k 是单个头的宽度（不是模型宽度），并且假设各分量方差为 1。"
        "它让得分的离散程度不随 d_k 变化，但不能阻止个别很大的键占据主导。",
    ),
    code=(Code(attention_weights, "math.sqrt(query.size(-1))"),),
    seconds=20,
)
