"""Beams of 1 to 64, with and without a length penalty."""

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
from saccade.lab.learning import fit, new_model, translate
from saccade.lab.numerals import pair, split, vocabulary
from saccade.lab.toys import pairs_batch
from saccade.lab.translating import SIZES, bleu

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


def _measure(settings: Settings) -> Figures:
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


def _judge(figures: Figures) -> Verdict:
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


def _chart(figures: Figures) -> Chart:
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


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "A bigger beam finds more probable outputs; whether they are better is up to the model. With noisy text "
        "the most probable output is too short, so beams need a length penalty.",
        "更大的束宽找到的是概率更高的输出，是否更好取决于模型。训练数据有噪声时，概率最高的输出往往过短，所以要配合长度惩罚。",
    ),
    code=(Code(length_penalty, "base = (5 + length) / 6"),),
    seconds=15,
)
