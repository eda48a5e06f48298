"""Translating number words: training with smoothed labels and forced prefixes, beams, and architectures."""

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.decoding.options import length_penalty
from saccade.evaluation import score_text
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
    spread,
)
from saccade.lab.learning import exact, fit, new_model, translate
from saccade.lab.numerals import batches, german_of, pair, split, vocabulary
from saccade.lab.toys import Pair, copy, draw, pairs_batch, stream
from saccade.lab.toys import vocabulary as symbols_of
from saccade.models.recurrent import Recurrent
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.text.vocabulary import END
from saccade.training.objective import CrossEntropy

SIZES: dict[str, dict[str, object]] = {
    "transformer": {"width": 32, "heads": 4, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1},
    "recurrent": {"width": 48, "embedding": 32, "encoder_layers": 1, "decoder_layers": 1},
    "convolutional": {"width": 32, "embedding": 32, "encoder_layers": 2, "decoder_layers": 2},
}
_KINDS = {
    "transformer": Words("Transformer", "Transformer"),
    "recurrent": Words("recurrent with attention", "带注意力的循环网络"),
    "convolutional": Words("convolutional", "卷积网络"),
}


def translator(numbers: Sequence[int], *, seed: int, steps: int, smoothing: float = 0.0) -> Any:
    """A small Transformer trained on these numbers."""
    model = new_model("transformer", vocabulary(), seed=seed, **SIZES["transformer"])
    objective = CrossEntropy(label_smoothing=smoothing)
    fit(model, batches(numbers, seed=seed), steps=steps, objective=objective, peak_rate=6e-3)
    return model


def bleu(written: Sequence[Sequence[int]], pairs: Sequence[Pair]) -> float:
    """BLEU of German number words, their parts as tokens."""
    said = [" ".join(german_of(ids)) for ids in written]
    references = [" ".join(german_of(target)) for _, target in pairs]
    return score_text(said, references, tokenize="none").bleu


@torch.no_grad()
def log_probs(model: Any, batch: Batch) -> Tensor:
    """Teacher-forced log-probabilities (rows, target, vocabulary)."""
    memory = model.encode(batch["source"].values, batch["source"].lengths)
    found: Tensor = model.output(model.decode(batch["target_in"].values, memory)).log_softmax(-1)
    return found


# --- label smoothing -------------------------------------------------------------------------------


def calibration_error(probability: Tensor, right: Tensor, *, bins: int = 10) -> float:
    """The expected calibration error: |accuracy − confidence| by bin of confidence, weighted by size."""
    place = (probability * bins).long().clamp(max=bins - 1)
    found = 0.0
    for number in range(bins):
        own = place == number
        if bool(own.any()):
            gap = right[own].float().mean() - probability[own].mean()
            found += float(own.float().mean() * gap.abs())
    return found


def _measure_smoothing(settings: Settings) -> Figures:
    found: dict[str, dict[str, list[float]]] = {}
    for name, smoothing in (("without", 0.0), ("with", 0.1)):
        rows = []
        for seed in settings.seeds:
            settings.say(f"smoothing {smoothing}, seed {seed}")
            train, test = split(settings.pick(100, 40), settings.pick(300, 20), seed=1)
            model = translator(train, seed=seed, steps=settings.pick(250, 3), smoothing=smoothing)
            pairs = [pair(number) for number in test]
            batch = pairs_batch(pairs)
            scores, real = log_probs(model, batch)[batch["target"].real], batch["target"].real
            gold = batch["target"].values[real]
            surest = scores.max(-1)
            rows.append(
                {
                    "perplexity": math.exp(-float(scores.gather(1, gold[:, None]).mean())),
                    "bleu": bleu(translate(model, [source for source, _ in pairs]), pairs),
                    "calibration": calibration_error(surest.values.exp(), surest.indices == gold),
                }
            )
        found[name] = {key: [row[key] for row in rows] for key in rows[0]}
    return found


def _judge_smoothing(figures: Figures) -> Verdict:
    with_, without = figures["with"], figures["without"]
    because = Words(
        f"Smoothing by 0.1 changes the perplexity on unseen numbers from {mean(without['perplexity']):.2f} to "
        f"{mean(with_['perplexity']):.2f}, BLEU from {mean(without['bleu']):.1f} ± {spread(without['bleu']):.1f} "
        f"to {mean(with_['bleu']):.1f} ± {spread(with_['bleu']):.1f}, and the calibration error from "
        f"{mean(without['calibration']):.3f} to {mean(with_['calibration']):.3f}.",
        f"平滑 0.1 使未见数字上的困惑度从 {mean(without['perplexity']):.2f} 变为 {mean(with_['perplexity']):.2f}，"
        f"BLEU 从 {mean(without['bleu']):.1f} ± {spread(without['bleu']):.1f} 变为 {mean(with_['bleu']):.1f} ± {spread(with_['bleu']):.1f}，"
        f"校准误差从 {mean(without['calibration']):.3f} 变为 {mean(with_['calibration']):.3f}。",
    )
    hurts = clearly_above(with_["perplexity"], without["perplexity"])
    helps = clearly_above(with_["bleu"], without["bleu"])
    if hurts and helps:
        return Verdict("holds", because)
    return Verdict("only if" if hurts or helps else "does not hold", because)


def _chart_smoothing(figures: Figures) -> Chart:
    measures = {
        "perplexity": Words("perplexity", "困惑度"),
        "bleu": Words("BLEU / 10", "BLEU / 10"),
        "calibration": Words("calibration error × 10", "校准误差 × 10"),
    }
    factor = {"perplexity": 1.0, "bleu": 0.1, "calibration": 10.0}
    return Chart(
        Words("measure", "指标"),
        Words("value", "数值"),
        list(measures.values()),
        [
            over_seeds(name, [[factor[key] * one for one in figures[side][key]] for key in measures])
            for side, name in (
                ("without", Words("no smoothing", "不平滑")),
                ("with", Words("smoothing 0.1", "平滑 0.1")),
            )
        ],
        bars=True,
    )


SMOOTHING = Experiment(
    name="smoothing",
    title=Words("Label smoothing", "标签平滑"),
    claim=Words(
        "Label smoothing makes perplexity worse and BLEU better.", "标签平滑会使困惑度变差，但提高 BLEU。"
    ),
    source=Words(
        "Vaswani et al. 2017, section 5.4 and table 3 (D); study notes.",
        "Vaswani 等 2017，第 5.4 节与表 3(D)；学习笔记。",
    ),
    prediction=Words(
        "Probabilities are held below one, which costs perplexity where the model is right. Whether BLEU gains "
        "depends on the data.",
        "概率被压在 1 以下，模型答对时困惑度受损；BLEU 是否提高取决于数据。",
    ),
    measure=_measure_smoothing,
    judge=_judge_smoothing,
    chart=_chart_smoothing,
    correction=Words(
        "For K classes the target is 1 − ε + ε/K for the right one and ε/K for each other one, so the smallest "
        "possible loss is not 0. If a model is too sure of what it has not seen, as here with few training pairs, "
        "smoothing can improve even perplexity.",
        "K 个类别时，正确类的目标是 1−ε+ε/K，其余各类为 ε/K，所以损失的下限不是 0。如果模型对没见过的东西过于自信（例如训练数据很少时），平滑甚至可以改善困惑度。",
    ),
    code=(Code(CrossEntropy.__call__, "label_smoothing=self.label_smoothing"),),
    seconds=50,
)

# --- forced and free ---------------------------------------------------------------------------------


def _errors(model: Any, pairs: Sequence[Pair], places: int) -> tuple[list[float], list[float]]:
    """The share of wrong tokens at each place with the right prefix, and with the model's own."""
    batch = pairs_batch(pairs)
    said, gold = log_probs(model, batch).argmax(-1), batch["target"].values
    forced, free = [0] * places, [0] * places
    written = translate(model, [source for source, _ in pairs])
    counts = [0] * places
    for row, (own, (_, target)) in enumerate(zip(written, pairs, strict=True)):
        whole, own_whole = [*target, END], [*own, END]
        for place in range(min(places, len(whole))):
            counts[place] += 1
            forced[place] += int(said[row, place] != gold[row, place])
            free[place] += int(place >= len(own_whole) or own_whole[place] != whole[place])
    shares = [
        [wrong / max(count, 1) for wrong, count in zip(side, counts, strict=True)] for side in (forced, free)
    ]
    return shares[0], shares[1]


PLACES = 7


def _measure_exposure(settings: Settings) -> Figures:
    forced, free = [], []
    for seed in settings.seeds:
        settings.say(f"seed {seed}")
        train, test = split(settings.pick(100, 40), settings.pick(400, 20), seed=seed)
        model = translator(train, seed=seed, steps=settings.pick(150, 3))
        own = _errors(model, [pair(number) for number in test], PLACES)
        forced.append(own[0])
        free.append(own[1])
    return {
        "forced": [list(row) for row in zip(*forced, strict=True)],
        "free": [list(row) for row in zip(*free, strict=True)],
    }


def _judge_exposure(figures: Figures) -> Verdict:
    forced, free = figures["forced"], figures["free"]
    own, given = ([mean(seed) for seed in zip(*side, strict=True)] for side in (free, forced))
    gaps = [mean(a) - mean(b) for a, b in zip(free, forced, strict=True)]
    half = PLACES // 2
    because = Words(
        f"Over the first {PLACES} places, {mean(given):.1%} of the tokens are wrong with the right prefix and "
        f"{mean(own):.1%} with the model's own. The difference is {mean(gaps[:half]):.1%} in the first {half} "
        f"places and {mean(gaps[-half:]):.1%} in the last {half}.",
        f"前 {PLACES} 个位置：前缀正确时错误率 {mean(given):.1%}，使用自己的前缀时 {mean(own):.1%}。"
        f"两者之差在前 {half} 个位置为 {mean(gaps[:half]):.1%}，在后 {half} 个位置为 {mean(gaps[-half:]):.1%}。",
    )
    if not all(one > other for one, other in zip(own, given, strict=True)):
        return Verdict("does not hold", because)
    return Verdict("holds" if mean(gaps[-half:]) > 2 * mean(gaps[:half]) else "only if", because)


def _chart_exposure(figures: Figures) -> Chart:
    return Chart(
        Words("place in the target", "目标中的位置"),
        Words("wrong tokens", "错误率"),
        list(range(1, PLACES + 1)),
        [
            over_seeds(Words("right prefix (as in training)", "正确前缀（与训练相同）"), figures["forced"]),
            over_seeds(Words("its own prefix", "自己的前缀"), figures["free"]),
        ],
    )


EXPOSURE = Experiment(
    name="exposure",
    title=Words("Teacher forcing and exposure", "教师强制与暴露偏差"),
    claim=Words(
        "A model that was trained on right prefixes accumulates errors when it continues its own.",
        "用正确前缀训练的模型，接着自己写的前缀往下写时，错误会累积。",
    ),
    source=Words(
        "Ranzato et al. 2016; study notes on teacher forcing.", "Ranzato 等 2016；学习笔记中的教师强制。"
    ),
    prediction=Words(
        "With its own prefix the model is wrong more often, the more so the later the place.",
        "使用自己的前缀时错误更多，位置越靠后越多。",
    ),
    measure=_measure_exposure,
    judge=_judge_exposure,
    chart=_chart_exposure,
    correction=Words(
        "Errors shift what follows, but part of the difference is only that a wrong beginning is compared with "
        "another sentence: the place-by-place comparison counts every later token of it as wrong.",
        "前面的错误会影响后面；但差距的一部分只是因为开头错了之后，后面逐位比较都会算错。",
    ),
    code=(Code(CrossEntropy.__call__, 'model.decode(batch["target_in"].values, memory)'),),
    seconds=25,
)

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
