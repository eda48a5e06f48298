"""Systems compared: beams, a fixed vector, and the amount of training text."""

import random
from collections.abc import Sequence
from typing import Any

from saccade.decoding.options import length_penalty
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
from saccade.lab.experiments.translation import SIZES, bleu
from saccade.lab.learning import exact, fit, new_model, translate
from saccade.lab.numerals import batches, pair, split, vocabulary
from saccade.lab.toys import copy, draw, pairs_batch, stream
from saccade.lab.toys import vocabulary as symbols_of
from saccade.models.recurrent import Recurrent
from saccade.nn.loss import linear_cross_entropy

_KINDS = {
    "transformer": Words("Transformer", "Transformer"),
    "recurrent": Words("recurrent with attention", "带注意力的循环网络"),
    "convolutional": Words("convolutional", "卷积网络"),
}

# --- beams -------------------------------------------------------------------------------------------

BEAMS = (1, 2, 4, 8, 16, 32, 64)
CUT = 0.3


def cut_batches(numbers: Sequence[int], *, seed: int) -> Any:
    """Batches in which a share of the targets is cut behind its first word, as in text from the web."""
    generator = random.Random(seed)
    while True:
        pairs = [pair(number) for number in generator.choices(numbers, k=32)]
        yield pairs_batch(
            [(source, target[:1] if generator.random() < CUT else target) for source, target in pairs]
        )


def _measure_beams(settings: Settings) -> Figures:
    found: dict[str, list[list[float]]] = {"bleu": [], "penalised": [], "length": []}
    for seed in settings.seeds:
        train, test = split(settings.pick(80, 40), settings.pick(60, 6), seed=seed)
        model = new_model("transformer", vocabulary(), seed=seed, **SIZES["transformer"])
        fit(model, cut_batches(train, seed=seed), steps=settings.pick(150, 3), peak_rate=6e-3)
        pairs = [pair(number) for number in test]
        sources, right = [source for source, _ in pairs], sum(len(target) for _, target in pairs)
        rows: dict[str, list[float]] = {name: [] for name in found}
        for beam in BEAMS[: settings.pick(len(BEAMS), 2)]:
            settings.say(f"beam {beam}, seed {seed}")
            plain = translate(model, sources, beam=beam)
            rows["bleu"].append(bleu(plain, pairs))
            rows["length"].append(sum(map(len, plain)) / right)
            rows["penalised"].append(bleu(translate(model, sources, beam=beam, alpha=1.0), pairs))
        for name, values in rows.items():
            found[name].append(values)
    tables = {name: [list(row) for row in zip(*table, strict=True)] for name, table in found.items()}
    return {"beams": list(BEAMS[: settings.pick(len(BEAMS), 2)]), **tables}


def _judge_beams(figures: Figures) -> Verdict:
    plain, penalised, beams = figures["bleu"], figures["penalised"], figures["beams"]
    best = max(range(len(beams)), key=lambda place: mean(plain[place]))
    because = Words(
        f"Without a length penalty BLEU is {mean(plain[0]):.1f} with beam 1, best with beam {beams[best]} "
        f"({mean(plain[best]):.1f}), and {mean(plain[-1]):.1f} with beam {beams[-1]}, whose translations have "
        f"{mean(figures['length'][-1]):.0%} of the right length. With a penalty of 1, beam {beams[-1]} has "
        f"{mean(penalised[-1]):.1f}.",
        f"不用长度惩罚时，束宽 1 的 BLEU 为 {mean(plain[0]):.1f}，最好的是束宽 {beams[best]}（{mean(plain[best]):.1f}），"
        f"束宽 {beams[-1]} 为 {mean(plain[-1]):.1f}，其译文长度只有参考的 {mean(figures['length'][-1]):.0%}。"
        f"长度惩罚取 1 时，束宽 {beams[-1]} 为 {mean(penalised[-1]):.1f}。",
    )
    falls = clearly_above(plain[best], plain[-1])
    if not falls:
        return Verdict("holds" if clearly_above(plain[-1], plain[0]) else "does not hold", because)
    cured = not clearly_above(penalised[0], penalised[-1])
    return Verdict("only if" if cured else "does not hold", because)


def _chart_beams(figures: Figures) -> Chart:
    return Chart(
        Words("beam", "束宽"),
        Words("BLEU", "BLEU"),
        figures["beams"],
        [
            over_seeds(Words("no length penalty", "无长度惩罚"), figures["bleu"]),
            over_seeds(Words("length penalty 1", "长度惩罚 1"), figures["penalised"]),
        ],
        log_x=True,
    )


BEAMS_BETTER = Experiment(
    name="beams",
    title=Words("Bigger beams", "更大的束宽"),
    claim=Words("Bigger beams translate better.", "束宽越大，翻译越好。"),
    source=Words(
        "Assumed in study notes; against it Koehn and Knowles 2017, Stahlberg and Byrne 2019.",
        "学习笔记的默认想法；反例见 Koehn 与 Knowles 2017、Stahlberg 与 Byrne 2019。",
    ),
    prediction=Words(
        "Trained on text in which 30% of the targets are cut short, a larger beam finds the short outputs that "
        "are likely and wrong. A length penalty counteracts.",
        "训练数据中有 30% 的目标被截断，束宽越大，越容易找到又短又“可能”的错误输出；长度惩罚可以抵消。",
    ),
    measure=_measure_beams,
    judge=_judge_beams,
    chart=_chart_beams,
    correction=Words(
        "A bigger beam finds more probable outputs; whether they are better is up to the model. With noisy text "
        "the most probable output is too short, so beams need a length penalty.",
        "更大的束宽找到的是概率更高的输出，是否更好取决于模型。训练数据有噪声时，概率最高的输出往往过短，所以要配合长度惩罚。",
    ),
    code=(Code(length_penalty, "base = (5 + length) / 6"),),
    seconds=50,
)

# --- the fixed vector --------------------------------------------------------------------------------

SHORT_TO_LONG = (3, 6, 9, 12)


def _measure_fixed(settings: Settings) -> Figures:
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


def _judge_fixed(figures: Figures) -> Verdict:
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


def _chart_fixed(figures: Figures) -> Chart:
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


FIXED = Experiment(
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
    measure=_measure_fixed,
    judge=_judge_fixed,
    chart=_chart_fixed,
    correction=Words(
        "For a given size and amount of training, a fixed vector holds a limited number of symbols. For BLEU by "
        "source length on Multi30k, see docs/systems.md (`make compare`).",
        "在给定规模和训练量下，固定向量能记住的符号有限。Multi30k 上按源句长度的 BLEU 见 docs/systems.md（`make compare`）。",
    ),
    code=(Code(Recurrent.encode, "vector = self.compress("),),
    seconds=60,
)

# --- how much data -----------------------------------------------------------------------------------

AMOUNTS = (50, 500, 5000)


def _measure_data(settings: Settings) -> Figures:
    found: dict[str, list[list[float]]] = {}
    for kind, sizes in SIZES.items():
        table = []
        for amount in AMOUNTS:
            row = []
            for seed in settings.seeds:
                settings.say(f"{kind}, {amount} pairs, seed {seed}")
                train, test = split(settings.pick(AMOUNTS[-1], AMOUNTS[0]), settings.pick(200, 10), seed=seed)
                model = new_model(kind, vocabulary(), seed=seed, **sizes)
                numbers = batches(train[:amount], seed=seed)
                fit(model, numbers, steps=settings.pick(150, 2), peak_rate=6e-3)
                pairs = [pair(number) for number in test]
                row.append(bleu(translate(model, [source for source, _ in pairs]), pairs))
            table.append(row)
        found[kind] = table
    return {"amounts": list(AMOUNTS), "bleu": found}


def _judge_data(figures: Figures) -> Verdict:
    table = figures["bleu"]
    few = {kind: rows[0] for kind, rows in table.items()}
    most = {kind: rows[-1] for kind, rows in table.items()}
    listed = {kind: f"{mean(few[kind]):.0f} → {mean(most[kind]):.0f}" for kind in table}
    because = Words(
        f"BLEU with {AMOUNTS[0]} and with {AMOUNTS[-1]:,} training pairs: Transformer {listed['transformer']}, "
        f"recurrent {listed['recurrent']}, convolutional {listed['convolutional']}.",
        f"训练对数为 {AMOUNTS[0]} 与 {AMOUNTS[-1]} 时的 BLEU：Transformer {listed['transformer']}，"
        f"循环网络 {listed['recurrent']}，卷积网络 {listed['convolutional']}。",
    )
    others = [kind for kind in table if kind != "transformer"]
    worse = [clearly_above(few[kind], few["transformer"]) for kind in others]
    levels = not any(clearly_above(most[kind], most["transformer"]) for kind in others)
    if all(worse) and levels:
        return Verdict("holds", because)
    return Verdict("only if" if any(worse) else "does not hold", because)


def _chart_data(figures: Figures) -> Chart:
    return Chart(
        Words("training pairs", "训练对数"),
        Words("BLEU", "BLEU"),
        [f"{amount:,}" for amount in figures["amounts"]],
        [over_seeds(name, figures["bleu"][kind]) for kind, name in _KINDS.items()],
    )


DATA = Experiment(
    name="data",
    title=Words("Who needs more data", "谁更需要数据"),
    claim=Words(
        "Attention assumes less about the data than recurrence or convolution and therefore needs more of it.",
        "注意力对数据的假设更少，因此需要更多的数据。",
    ),
    source=Words("Study notes.", "学习笔记。"),
    prediction=Words(
        "With few pairs the Transformer is behind both others; with many it has caught up.",
        "数据少时，Transformer 落后于另外两者；数据多时赶上。",
    ),
    measure=_measure_data,
    judge=_judge_data,
    chart=_chart_data,
    correction=Words(
        "Every encoder-decoder here uses attention between source and target; they differ inside each side. Which "
        "one needs most data depends on the task and the sizes. Larger corpora: docs/systems.md.",
        "这里三种编码器-解码器在源与目标之间都用注意力，差别只在各自内部。谁更需要数据，取决于任务和规模。更大语料的结果见 docs/systems.md。",
    ),
    code=(Code(linear_cross_entropy, "total: Tensor = _LinearCrossEntropy.apply"),),
    seconds=110,
)
