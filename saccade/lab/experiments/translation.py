"""Translating number words: training with smoothed labels and forced prefixes, beams, and architectures."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
from saccade.lab.learning import fit, new_model, translate
from saccade.lab.numerals import batches, german_of, pair, split, vocabulary
from saccade.lab.toys import Pair, pairs_batch
from saccade.text.batching import Batch
from saccade.text.vocabulary import END
from saccade.training.objective import CrossEntropy

SIZES: dict[str, dict[str, object]] = {
    "transformer": {"width": 32, "heads": 4, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1},
    "recurrent": {"width": 48, "embedding": 32, "encoder_layers": 1, "decoder_layers": 1},
    "convolutional": {"width": 32, "embedding": 32, "encoder_layers": 2, "decoder_layers": 2},
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
    code=(
        Code(
            CrossEntropy.__call__,
            "return _token_loss(self, model.output, hidden, target.values, target.real)",
        ),
    ),
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
