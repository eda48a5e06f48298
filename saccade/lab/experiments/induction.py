"""Why several layers of attention: repeating what followed last time."""

import random
from collections.abc import Iterator

import torch
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
)
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, tags_batch
from saccade.lab.toys import FIRST, Pair
from saccade.nn.layers import EncoderLayer
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.training.objective import Objective

KEYS = 6
PAIRS = 10


def associations(seed: int, *, rows: int = 32) -> Iterator[Batch]:
    """Sequences k v k v ..., in which each key has its own value; what follows a key seen before is known.

    The target is the next symbol where it is known, and a mark (the first symbol behind all others) elsewhere.
    """
    generator, mark = random.Random(seed), FIRST + 2 * KEYS
    while True:
        pairs: list[Pair] = []
        for _ in range(rows):
            values = [FIRST + KEYS + generator.randrange(KEYS) for _ in range(KEYS)]
            source: list[int] = []
            target: list[int] = []
            for _ in range(PAIRS):
                key = generator.randrange(KEYS)
                known = FIRST + key in source[::2]
                source += [FIRST + key, values[key]]
                target += [values[key] if known else mark, mark]
            pairs.append((source, target))
        yield tags_batch(pairs)


class Known(Objective):
    """Cross-entropy where the next symbol is known."""

    def __call__(self, model: Tagger, batch: Batch) -> Tensor:
        """See `Objective`."""
        gold = batch["target"].values
        known = gold != FIRST + 2 * KEYS
        total: Tensor = linear_cross_entropy(
            model(batch["source"].values)[known], model.output.weight, model.output.bias, gold[known]
        )
        return total


def _measure(settings: Settings) -> Figures:
    scores: dict[str, list[float]] = {}
    for layers in (1, 2):
        found = []
        for seed in settings.seeds:
            settings.say(f"{layers} layers, seed {seed}")
            seeded(seed)
            shape = Shape(2 * KEYS + 1, width=32, heads=2, layers=layers, positions="relative", causal=True)
            model = Tagger(shape)
            fit(model, associations(seed), steps=settings.pick(400, 3), objective=Known(), peak_rate=5e-3)
            test = next(associations(-1, rows=settings.pick(200, 10)))
            gold = test["target"].values
            known = gold != FIRST + 2 * KEYS
            with torch.no_grad():
                said = model.output(model(test["source"].values)).argmax(-1)
            found.append(float((said == gold)[known].float().mean()))
        scores[str(layers)] = found
    return {"accuracy": scores}


def _judge(figures: Figures) -> Verdict:
    one, two = figures["accuracy"]["1"], figures["accuracy"]["2"]
    because = Words(
        f"Where the same symbol has come before, its follower is named rightly in {mean(one):.0%} of the cases "
        f"with one layer and in {mean(two):.0%} with two; guessing gets {1 / KEYS:.0%}.",
        f"同一符号之前出现过时，正确说出其后继的比例：一层 {mean(one):.0%}，两层 {mean(two):.0%}；随机猜测为 {1 / KEYS:.0%}。",
    )
    if not clearly_above(two, one):
        return Verdict("does not hold", because)
    return Verdict("holds" if min(two) > 0.9 and max(one) < 0.6 else "only if", because)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("layers", "层数"),
        Words("followers that are right", "后继正确率"),
        ["1", "2"],
        [over_seeds(Words("accuracy", "正确率"), [figures["accuracy"]["1"], figures["accuracy"]["2"]])],
        bars=True,
    )


EXPERIMENT = Experiment(
    name="induction",
    title=Words("Why several layers of attention", "为什么要多层注意力"),
    claim=Words(
        "One layer of attention is not enough: repeating what followed last time needs two.",
        "一层注意力不够：要重复“上次后面跟着什么”，需要两层。",
    ),
    source=Words(
        "An empty heading in the study notes; Olsson et al. 2022 on induction heads.",
        "学习笔记里只有标题的问题；归纳头见 Olsson 等 2022。",
    ),
    prediction=Words(
        "The first layer writes into each position what stands before it; the second looks for its own symbol "
        "among these notes and copies. One layer cannot do both.",
        "第一层在每个位置记下前一个符号，第二层在这些记录里找自己的符号并复制；一层做不到两件事。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Layers let attention use what attention has found. On this task two layers are needed; how many a "
        "translator needs has to be measured.",
        "多层让注意力可以利用上一层注意力找到的东西。这个任务需要两层；翻译需要几层要靠测量。",
    ),
    code=(Code(EncoderLayer.forward, "self.self_attention_residual(x,"),),
    seconds=70,
)
