"""Writing all words at once: what non-autoregressive decoding mixes up, and what distillation cures."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

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
from saccade.lab.learning import fit, new_model, translate
from saccade.lab.toys import FIRST, column, pairs_batch, vocabulary
from saccade.models.nonautoregressive.fertility import Fertility
from saccade.text.batching import Batch
from saccade.text.translation import translation_batch
from saccade.text.vocabulary import END, START
from saccade.training.fertility import FertilityCrossEntropy

THANK, YOU, DANKE, SCHOEN, VIELEN, DANK = range(FIRST, FIRST + 6)
SOURCE = [THANK, YOU]
TRANSLATIONS = ([DANKE, SCHOEN], [VIELEN, DANK], [DANK, DANKE], [SCHOEN, DANK])
"""The translations of the source in the corpus; the words are those of "danke schön" and "vielen Dank"."""
SIZES = {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1}


def corpus(targets: Sequence[list[int]]) -> Batch:
    """Pairs of the one source and these targets, a word for each word."""
    count = len(targets)
    return translation_batch(
        {
            "source": column([[*SOURCE, END]] * count),
            "target": column([[*target, END] for target in targets]),
            "fertilities": column([[1, 1, 0]] * count),
        },
        start=START,
    )


def entropy(targets: Sequence[list[int]]) -> float:
    """The entropy in nats of the translation given the source."""
    counts = Counter(map(tuple, targets))
    shares = [count / len(targets) for count in counts.values()]
    return -sum(share * math.log(share) for share in shares)


@torch.no_grad()
def independent(model: Any) -> torch.Tensor:
    """The distributions (2 places, vocabulary) that the two words are drawn from, independently."""
    source = column([[*SOURCE, END]])
    memory = model.encode(source.values, source.lengths)
    hidden, _ = Fertility(model).write(torch.tensor([[1, 1, 0]]), memory)
    found: torch.Tensor = model.output(hidden)[0].softmax(-1)
    return found


def mixed(model: Any) -> float:
    """The probability of two words that are not a translation together."""
    first, second = independent(model)
    return 1 - float(sum(first[a] * second[b] for a, b in TRANSLATIONS))


def repeated(model: Any) -> float:
    """The probability of the same word twice, which no translation has."""
    first, second = independent(model)
    return float((first * second).sum())


def _student(targets: Sequence[list[int]], seed: int, settings: Settings) -> Any:
    model = new_model("nonautoregressive", vocabulary(6), seed=seed, max_fertility=2, **SIZES)
    batches = itertools.repeat(corpus(targets))
    fit(model, batches, steps=settings.pick(120, 3), objective=FertilityCrossEntropy(), peak_rate=5e-3)
    return model


def _measure(settings: Settings) -> Figures:
    found: dict[str, dict[str, list[float]]] = {
        kind: {"entropy": [], "mixed": [], "repeated": []} for kind in ("raw", "distilled")
    }
    for seed in settings.seeds:
        settings.say(f"seed {seed}")
        teacher = new_model("transformer", vocabulary(6), seed=seed, **SIZES)
        pairs = pairs_batch([(SOURCE, list(target)) for target in TRANSLATIONS])
        fit(teacher, itertools.repeat(pairs), steps=settings.pick(80, 3), peak_rate=5e-3)
        written = translate(teacher, [SOURCE] * len(TRANSLATIONS))
        distilled = [target if len(target) == 2 else list(TRANSLATIONS[0]) for target in written]
        for kind, targets in (("raw", list(TRANSLATIONS)), ("distilled", distilled)):
            model = _student(targets, seed, settings)
            found[kind]["entropy"].append(entropy(targets))
            found[kind]["mixed"].append(mixed(model))
            found[kind]["repeated"].append(repeated(model))
    return found


def _judge(figures: Figures) -> Verdict:
    raw, distilled = figures["raw"], figures["distilled"]
    because = Words(
        f"On raw text with four translations (entropy {mean(raw['entropy']):.2f} nats), words that are chosen "
        f"independently mix translations with probability {mean(raw['mixed']):.2f} and repeat a word with "
        f"{mean(raw['repeated']):.2f}. On a teacher's translations (entropy {mean(distilled['entropy']):.2f}) it "
        f"is {mean(distilled['mixed']):.2f} and {mean(distilled['repeated']):.2f}.",
        f"原始语料有四种译法（熵 {mean(raw['entropy']):.2f} 奈特），各词独立选择时，把不同译法混在一起的概率为 {mean(raw['mixed']):.2f}，"
        f"重复同一个词的概率为 {mean(raw['repeated']):.2f}。在教师模型的译文上（熵 {mean(distilled['entropy']):.2f}），"
        f"两者分别为 {mean(distilled['mixed']):.2f} 和 {mean(distilled['repeated']):.2f}。",
    )
    mixes = min(raw["mixed"]) > 0.25 and min(raw["repeated"]) > 0.02
    if not mixes:
        return Verdict("does not hold", because)
    cured = clearly_above(raw["mixed"], distilled["mixed"]) and max(distilled["mixed"]) < 0.1
    return Verdict("holds" if cured else "only if", because)


def _chart(figures: Figures) -> Chart:
    measures = {
        "entropy": Words("entropy of the text, nats", "语料的熵（奈特）"),
        "mixed": Words("mixed translations", "混合译法"),
        "repeated": Words("repeated words", "重复的词"),
    }
    return Chart(
        Words("measure", "指标"),
        Words("probability, nats", "概率、奈特"),
        list(measures.values()),
        [
            over_seeds(name, [figures[kind][measure] for measure in measures])
            for kind, name in (("raw", Words("raw", "原始")), ("distilled", Words("distilled", "蒸馏")))
        ],
        bars=True,
        panels=True,
    )


EXPERIMENT = Experiment(
    name="parallel",
    title=Words("Writing all words at once", "一次写出所有的词"),
    claim=Words(
        "Non-autoregressive decoding mixes translations and repeats words; distillation cures this.",
        "非自回归解码会混淆译法、重复用词；知识蒸馏可以解决。",
    ),
    source=Words(
        "Gu et al. 2018, sections 2.2 and 3.4; study notes.", "Gu 等 2018，第 2.2 与 3.4 节；学习笔记。"
    ),
    prediction=Words(
        "If a source has several translations, words that do not know of each other mix them. A teacher that "
        "always chooses the same one leaves nothing to mix.",
        "一个源句有多种译法时，互不知情的各个词会把它们混在一起；教师总选同一种译法，就没有可混的了。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Training such a model needs no loop over outputs; only decoding from left to right is sequential. "
        "A source word's fertility is the number of target words aligned with it. Measurements on Multi30k are in "
        "docs/nonautoregressive.md.",
        "训练并不需要逐个输出；只有自左向右的解码是串行的。繁衍度（fertility）是与一个源词对齐的目标词个数。Multi30k 上的测量见 docs/nonautoregressive.md。",
    ),
    code=(
        Code(FertilityCrossEntropy.__call__, "hidden, _ = scheme.write(fertilities, memory)"),
        Code(Fertility.write, "copies_by_fertility(fertilities)"),
    ),
    seconds=15,
)
