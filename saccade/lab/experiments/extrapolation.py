"""Positions on sequences longer than those of training."""

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
from saccade.models.placing import Positions
from saccade.nn.positions import SinusoidalPositions

KINDS: tuple[Positions, ...] = ("sinusoidal", "learned", "relative", "rotary", "alibi", "none")
TRAINED = range(5, 21)
LENGTHS = (20, 30, 40, 60)


_NAMES: dict[Positions, Words] = {
    "sinusoidal": Words("sinusoids", "正弦位置"),
    "learned": Words("learned positions", "学习的位置"),
    "relative": Words("relative positions", "相对位置"),
    "rotary": Words("rotary positions", "旋转位置"),
    "alibi": Words("ALiBi", "ALiBi"),
    "none": Words("no positions", "无位置"),
}


def _measure(settings: Settings) -> Figures:
    scores: dict[str, list[list[float]]] = {}
    for kind in KINDS:
        table = []
        for seed in settings.seeds:
            settings.say(f"positions {kind}, seed {seed}")
            seeded(seed)
            model = Tagger(Shape(10, width=32, heads=2, positions=kind, causal=True, feed_forward=64))
            batches = stream(seed, previous, symbols=10, lengths=TRAINED, rows=16, batch=tags_batch)
            fit(model, batches, steps=settings.pick(200, 3), objective=Tagging(), peak_rate=1e-2)
            generator = random.Random(-1)
            tests = [
                tags_batch(draw(generator, previous, rows=40, symbols=10, lengths=range(n, n + 1)))
                for n in LENGTHS
            ]
            table.append([tag_accuracy(model, test) for test in tests])
        scores[kind] = [list(row) for row in zip(*table, strict=True)]
    return {"lengths": list(LENGTHS), "accuracy": scores}


def _judge(figures: Figures) -> Verdict:
    scores = figures["accuracy"]
    near, _, _, far = scores["sinusoidal"]
    best = max(KINDS, key=lambda kind: mean(scores[kind][-1]))
    because = Words(
        f"Trained on up to 20 symbols, sinusoids get {mean(near):.1%} of the symbols right at 20 and "
        f"{mean(far):.1%} at 60. At 60, {_NAMES[best].en} are best with {mean(scores[best][-1]):.1%}; learned "
        f"ones have {mean(scores['learned'][-1]):.1%}.",
        f"在不超过 20 个符号的序列上训练后，正弦位置在长度 20 时逐符号正确率 {mean(near):.1%}，长度 60 时 {mean(far):.1%}。"
        f"长度 60 时最好的是{_NAMES[best].zh}，{mean(scores[best][-1]):.1%}；学习得到的位置为 {mean(scores['learned'][-1]):.1%}。",
    )
    if mean(near) < 0.9 or clearly_above([0.95 * value for value in near], far):
        return Verdict("does not hold", because)
    return Verdict("holds" if min(far) >= 0.95 * min(near) else "only if", because)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("length (trained up to 20)", "长度（训练不超过 20）"),
        Words("symbols that are right", "逐符号正确率"),
        figures["lengths"],
        [over_seeds(_NAMES[kind], figures["accuracy"][kind]) for kind in KINDS],
    )


EXPERIMENT = Experiment(
    name="extrapolation",
    title=Words("Longer than in training", "比训练时更长"),
    claim=Words(
        "With sinusoidal positions a model works on sequences longer than those it was trained on.",
        "使用正弦位置编码，模型可以外推到比训练时更长的序列。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.5 (“may allow”); study notes drop the “may”.",
        "Vaswani 等 2017，第 3.5 节（原文是“may allow”，可能）；学习笔记去掉了“可能”。",
    ),
    prediction=Words(
        "Sinusoids are defined at any length, but accuracy falls soon behind the trained length. Positions that "
        "depend on distance alone fall less.",
        "正弦编码对任意长度都有定义，但一超过训练长度，正确率就很快下降；只依赖距离的位置方案下降较少。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Defined for any position is not the same as working there. On the task “name your left neighbour” it is "
        "positions by distance inside attention that carry over. See also docs/positions.md for translation.",
        "对任意位置有定义，不等于在那里有效。在“说出左邻符号”任务上，能推广的是注意力内部按距离计算的位置方案。翻译任务的测量见 docs/positions.md。",
    ),
    code=(Code(SinusoidalPositions.rows, "return _rows("),),
    seconds=60,
)
