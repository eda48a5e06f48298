"""Teacher forcing and exposure: errors with the right prefix and with its own."""

from collections.abc import Sequence
from typing import Any

from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
    Settings,
    Verdict,
    Words,
    mean,
    over_seeds,
)
from saccade.lab.learning import translate
from saccade.lab.numerals import pair, split
from saccade.lab.toys import Pair, pairs_batch
from saccade.lab.translating import log_probs, translator
from saccade.text.vocabulary import END
from saccade.training.objective import CrossEntropy


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


def _measure(settings: Settings) -> Figures:
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


def _judge(figures: Figures) -> Verdict:
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


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("place in the target", "目标中的位置"),
        Words("wrong tokens", "错误率"),
        list(range(1, PLACES + 1)),
        [
            over_seeds(Words("right prefix (as in training)", "正确前缀（与训练相同）"), figures["forced"]),
            over_seeds(Words("its own prefix", "自己的前缀"), figures["free"]),
        ],
    )


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Errors shift what follows, but part of the difference is only that a wrong beginning is compared with "
        "another sentence: the place-by-place comparison counts every later token of it as wrong.",
        "前面的错误会影响后面；但差距的一部分只是因为开头错了之后，后面逐位比较都会算错。",
    ),
    code=(Code(CrossEntropy.given, 'model.decode(batch["target_in"].values, memory)'),),
    seconds=10,
)
