"""Label smoothing: perplexity, BLEU and calibration."""

import math

from torch import Tensor

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
from saccade.lab.learning import translate
from saccade.lab.numerals import pair, split
from saccade.lab.toys import pairs_batch
from saccade.lab.translating import bleu, log_probs, translator
from saccade.training.objective import CrossEntropy


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


def _measure(settings: Settings) -> Figures:
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


def _judge(figures: Figures) -> Verdict:
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


def _chart(figures: Figures) -> Chart:
    measures = {
        "perplexity": Words("perplexity", "困惑度"),
        "bleu": Words("BLEU", "BLEU"),
        "calibration": Words("calibration error", "校准误差"),
    }
    return Chart(
        Words("measure", "指标"),
        Words("value", "数值"),
        list(measures.values()),
        [
            over_seeds(name, [figures[side][key] for key in measures])
            for side, name in (
                ("without", Words("no smoothing", "不平滑")),
                ("with", Words("smoothing 0.1", "平滑 0.1")),
            )
        ],
        bars=True,
        panels=True,
    )


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "For K classes the target is 1 − ε + ε/K for the right one and ε/K for each other one, so the smallest "
        "possible loss is not 0. Smoothing lowers the confidence of every prediction: a model that was too sure of "
        "itself gains by this, and one whose confidence agreed with its accuracy, as here, loses.",
        "K 个类别时，正确类的目标是 1−ε+ε/K，其余各类为 ε/K，所以损失的下限不是 0。平滑会压低每个预测的置信度：原本过于自信的模型会因此受益，而置信度原本与正确率相符的模型（如这里）则会变差。",
    ),
    code=(
        Code(
            CrossEntropy.given,
            "return _token_loss(self, model.output, hidden, target.values, target.real)",
        ),
    ),
    seconds=35,
)
