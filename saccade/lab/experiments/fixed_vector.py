"""A fixed vector, attention, and a Transformer on sequences of growing length."""

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
from saccade.lab.learning import exact, fit, new_model
from saccade.lab.toys import copy, draw, stream
from saccade.lab.toys import vocabulary as symbols_of
from saccade.lab.translating import SIZES
from saccade.models.recurrent import Recurrent

SHORT_TO_LONG = (3, 6, 9, 12)


def _measure(settings: Settings) -> Figures:
    arms: dict[str, tuple[str, dict[str, object]]] = {
        "fixed": ("recurrent", {"attention": "none"}),
        "attention": ("recurrent", {}),
        "transformer": ("transformer", {}),
    }
    found: dict[str, list[list[float]]] = {}
    for name, (kind, changes) in arms.items():
        table = []
        for seed in settings.seeds:
            settings.say(f"{name}, seed {seed}")
            model = new_model(kind, symbols_of(10), seed=seed, **SIZES[kind], **changes)
            lengths = range(2, 13)
            batches = stream(seed, copy, symbols=10, lengths=lengths, rows=32)
            fit(model, batches, steps=settings.pick(300, 2), peak_rate=6e-3)
            generator = random.Random(-1)
            rows = settings.pick(100, 5)
            tests = [
                draw(generator, copy, rows=rows, symbols=10, lengths=range(n, n + 1)) for n in SHORT_TO_LONG
            ]
            table.append([exact(model, test) for test in tests])
        found[name] = [list(row) for row in zip(*table, strict=True)]
    return {"exact": found}


def _judge(figures: Figures) -> Verdict:
    table = figures["exact"]
    fixed, attention = table["fixed"], table["attention"]
    shares = {name: f"{mean(rows[0]):.0%} → {mean(rows[-1]):.0%}" for name, rows in table.items()}
    because = Words(
        f"Sequences of {SHORT_TO_LONG[0]} and of {SHORT_TO_LONG[-1]} symbols that are copied without a mistake: "
        f"{shares['fixed']} with a fixed vector, {shares['attention']} with attention, {shares['transformer']} "
        "with a Transformer.",
        f"长度 {SHORT_TO_LONG[0]} 与 {SHORT_TO_LONG[-1]} 的序列完全复制正确的比例：固定向量 {shares['fixed']}，"
        f"带注意力 {shares['attention']}，Transformer {shares['transformer']}。",
    )
    if not clearly_above(attention[-1], fixed[-1]):
        return Verdict("does not hold", because)
    worse_when_long = mean(attention[-1]) - mean(fixed[-1]) > mean(attention[0]) - mean(fixed[0])
    return Verdict("holds" if worse_when_long else "only if", because)


def _chart(figures: Figures) -> Chart:
    names = {
        "fixed": Words("RNN, fixed vector", "循环网络，固定向量"),
        "attention": Words("RNN with attention", "循环网络，带注意力"),
        "transformer": Words("Transformer", "Transformer"),
    }
    return Chart(
        Words("length of the source", "源序列长度"),
        Words("copied without a mistake", "完全复制正确的比例"),
        SHORT_TO_LONG,
        [over_seeds(name, figures["exact"][arm]) for arm, name in names.items()],
    )


EXPERIMENT = Experiment(
    name="fixed-vector",
    title=Words("The fixed vector", "固定长度的向量"),
    claim=Words(
        "A fixed vector does not suit long sentences; attention cures this.",
        "固定的存储不适合长序列，注意力解决了这个问题。",
    ),
    source=Words(
        "Cho et al. 2014; Bahdanau et al. 2015, figure 2; study notes.",
        "Cho 等 2014；Bahdanau 等 2015，图 2；学习笔记。",
    ),
    prediction=Words(
        "Without attention, accuracy falls with length; with it, hardly.",
        "没有注意力时，正确率随长度下降；有注意力时几乎不降。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "For a given size and amount of training, a fixed vector holds a limited number of symbols. For BLEU by "
        "source length on Multi30k, see docs/systems.md (`make compare`).",
        "在给定规模和训练量下，固定向量能记住的符号有限。Multi30k 上按源句长度的 BLEU 见 docs/systems.md（`make compare`）。",
    ),
    code=(Code(Recurrent.encode, "vector = self.compress("),),
    seconds=60,
)
