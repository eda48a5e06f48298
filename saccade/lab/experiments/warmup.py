"""Warm-up: with norms after the residual sums and before each sub-layer."""

import random

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
from saccade.nn.layers import Norm
from saccade.training.optim import learning_rate


def _measure(settings: Settings) -> Figures:
    scores: dict[str, list[float]] = {}
    norms: tuple[Norm, ...] = ("post", "pre")
    for norm in norms:
        for warmup in (0, 40):
            found = []
            for seed in settings.seeds:
                settings.say(f"{norm}-norm, warm-up {warmup}, seed {seed}")
                seeded(seed)
                model = Tagger(Shape(10, width=32, heads=2, layers=4, feed_forward=64, norm=norm))
                batches = stream(seed, previous, symbols=10, lengths=range(6, 11), rows=32, batch=tags_batch)
                fit(
                    model,
                    batches,
                    steps=settings.pick(120, 2),
                    objective=Tagging(),
                    peak_rate=6e-3,
                    warmup=warmup,
                    schedule="constant",
                )
                test = draw(random.Random(-1), previous, rows=100, symbols=10, lengths=range(6, 11))
                found.append(tag_accuracy(model, tags_batch(test)))
            scores[f"{norm}_{'with' if warmup else 'without'}"] = found
    return {"accuracy": scores}


def _judge(figures: Figures) -> Verdict:
    scores = figures["accuracy"]
    shares = {name: f"{mean(values):.1%}" for name, values in scores.items()}
    because = Words(
        f"Right symbols after equal training with and without warm-up: {shares['post_with']} and "
        f"{shares['post_without']} with norms after the residual sums, {shares['pre_with']} and "
        f"{shares['pre_without']} with norms before each sub-layer.",
        f"同样训练之后，有、无预热的逐符号正确率：后置归一化 {shares['post_with']} 和 {shares['post_without']}，"
        f"前置归一化 {shares['pre_with']} 和 {shares['pre_without']}。",
    )
    post = clearly_above(scores["post_with"], scores["post_without"])
    pre = clearly_above(scores["pre_with"], scores["pre_without"])
    if post and pre:
        return Verdict("holds", because)
    return Verdict("only if" if post or pre else "does not hold", because)


def _chart(figures: Figures) -> Chart:
    scores = figures["accuracy"]
    return Chart(
        Words("place of the norm", "归一化的位置"),
        Words("symbols that are right", "逐符号正确率"),
        [Words("post-norm", "后置"), Words("pre-norm", "前置")],
        [
            over_seeds(Words("with warm-up", "有预热"), [scores["post_with"], scores["pre_with"]]),
            over_seeds(Words("without", "无预热"), [scores["post_without"], scores["pre_without"]]),
        ],
        bars=True,
    )


EXPERIMENT = Experiment(
    name="warmup",
    title=Words("Warm-up", "学习率预热"),
    claim=Words("A Transformer needs warm-up.", "训练 Transformer 需要学习率预热。"),
    source=Words(
        "Vaswani et al. 2017, section 5.3; Xiong et al. 2020 for pre-norm; study notes.",
        "Vaswani 等 2017，第 5.3 节；前置归一化见 Xiong 等 2020；学习笔记。",
    ),
    prediction=Words(
        "At a high rate, post-norm layers need warm-up, because their gradients are large at the start; pre-norm "
        "layers do not.",
        "学习率高时，后置归一化需要预热，因为开始时梯度很大；前置归一化不需要。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "The paper's schedule is a linear rise and then a fall as 1/sqrt(step); nothing is “set back”. How much "
        "warm-up matters depends on the place of the norm, the depth and the peak rate.",
        "论文的方案是先线性上升、再按步数的 −0.5 次方下降，并没有“调回去”。预热有多重要，取决于归一化的位置、层数和学习率峰值。",
    ),
    code=(Code(learning_rate, "inverse_sqrt(step, warmup=config.warmup)"),),
    seconds=40,
)
