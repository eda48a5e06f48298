"""What layers and a memory add: context that segments cut off, and looking things up twice."""

import random
from collections.abc import Iterator

import torch
from torch import Tensor, nn

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
from saccade.lab.learning import fit, new_model, seeded
from saccade.lab.tagger import Shape, Tagger, tags_batch
from saccade.lab.toys import FIRST, Pair, vocabulary
from saccade.models.families import LanguageModel
from saccade.models.transformer_xl import TransformerXL
from saccade.nn.layers import EncoderLayer
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.training.objective import Objective

# --- context that segments cut -----------------------------------------------------------------------

SEGMENT, SEGMENTS = 8, 3
WORDS_OF = 12


def running_text(seed: int, *, rows: int = 32) -> Iterator[Batch]:
    """Text of random words of four symbols from a small lexicon, without spaces, cut at random places."""
    lexicon_generator = random.Random(0)
    lexicon = [lexicon_generator.choices(range(FIRST, FIRST + 6), k=4) for _ in range(WORDS_OF)]
    generator, length = random.Random(seed), SEGMENT * SEGMENTS + 1
    while True:
        pairs: list[Pair] = []
        for _ in range(rows):
            text = [symbol for _ in range(length // 4 + 2) for symbol in generator.choice(lexicon)]
            first = generator.randrange(4)
            pairs.append((text[first : first + length - 1], text[first + 1 : first + length]))
        yield tags_batch(pairs)


class Segmentwise(Objective):
    """The loss of reading a text segment by segment, the memory passing from each to the next."""

    def losses(self, model: LanguageModel, batch: Batch) -> Tensor:
        """The loss of each token, summed over rows and segments, (segment,)."""
        tokens, gold = batch["source"].values, batch["target"].values
        memory, found = model.start(len(tokens)), []
        for first in range(0, tokens.size(1), SEGMENT):
            hidden, memory = model.read(tokens[:, first : first + SEGMENT], memory)
            logits = model.output(hidden)
            own = gold[:, first : first + SEGMENT]
            found.append(nn.functional.cross_entropy(logits.transpose(1, 2), own, reduction="none").sum(0))
        return torch.stack(found[1:] if not model.training and len(found) > 1 else found).sum(0)

    def __call__(self, model: LanguageModel, batch: Batch) -> Tensor:
        """See `Objective`."""
        return self.losses(model, batch).sum()


def _reader(memory: int, seed: int) -> LanguageModel:
    sizes = {"width": 32, "heads": 2, "feed_forward": 64, "layers": 2}
    model: LanguageModel = new_model(
        "transformer-xl", vocabulary(6), seed=seed, segment=SEGMENT, memory=memory, **sizes
    )
    return model


def _measure_context(settings: Settings) -> Figures:
    found: dict[str, list[list[float]]] = {}
    for name, memory in (("with", SEGMENT), ("without", 0)):
        rows = []
        for seed in settings.seeds:
            settings.say(f"{name} memory, seed {seed}")
            model = _reader(memory, seed)
            fit(
                model,
                running_text(seed),
                steps=settings.pick(150, 2),
                objective=Segmentwise(),
                peak_rate=5e-3,
            )
            test = next(running_text(-1, rows=settings.pick(300, 10)))
            with torch.no_grad():
                losses = Segmentwise().losses(model, test) / (test.rows * (SEGMENTS - 1))
            rows.append([float(loss) for loss in losses])
        found[name] = [list(row) for row in zip(*rows, strict=True)]
    return {"loss_by_place": found}


def _judge_context(figures: Figures) -> Verdict:
    with_, without = figures["loss_by_place"]["with"], figures["loss_by_place"]["without"]
    because = Words(
        f"At the first place of a segment the loss is {mean(with_[0]):.2f} nats with a memory and "
        f"{mean(without[0]):.2f} without; at the last place {mean(with_[-1]):.2f} and {mean(without[-1]):.2f}.",
        f"片段第一个位置的损失：有记忆 {mean(with_[0]):.2f} 奈特，无记忆 {mean(without[0]):.2f}；"
        f"最后一个位置：{mean(with_[-1]):.2f} 和 {mean(without[-1]):.2f}。",
    )
    if not clearly_above(without[0], with_[0]):
        return Verdict("does not hold", because)
    level = mean(with_[0]) - mean(with_[-1]) < 0.3 * (mean(without[0]) - mean(without[-1]))
    return Verdict("holds" if level else "only if", because)


def _chart_context(figures: Figures) -> Chart:
    table = figures["loss_by_place"]
    return Chart(
        Words("place in the segment", "片段中的位置"),
        Words("loss, nats", "损失（奈特）"),
        list(range(1, SEGMENT + 1)),
        [
            over_seeds(Words("with memory", "有记忆"), table["with"]),
            over_seeds(Words("without", "无记忆"), table["without"]),
        ],
    )


CONTEXT = Experiment(
    name="context",
    title=Words("Context fragmentation", "上下文碎片"),
    claim=Words(
        "Reading a text in segments cuts context off; Transformer-XL's memory cures this.",
        "把文本切成片段会割断上下文；Transformer-XL 的片段级递归解决了这个问题。",
    ),
    source=Words("Dai et al. 2019; study notes.", "Dai 等 2019；学习笔记。"),
    prediction=Words(
        "Without memory the first tokens of a segment are predicted worse than the last; with memory all places "
        "are alike.",
        "没有记忆时，片段开头的词元预测得比结尾差；有记忆时各位置相近。",
    ),
    measure=_measure_context,
    judge=_judge_context,
    chart=_chart_context,
    correction=Words(
        "What is passed on are the states below each layer, put before the keys and values of the next segment "
        "without gradient; they do not go “to the same place of the next segment”.",
        "传递的是每一层的输入状态：不带梯度，拼接在下一片段的键和值之前；并不是送到“下一片段的同样位置”。",
    ),
    code=(Code(TransformerXL.read, "context = torch.cat([past, x], 1)"),),
    seconds=40,
)

# --- induction ---------------------------------------------------------------------------------------

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


def _measure_induction(settings: Settings) -> Figures:
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


def _judge_induction(figures: Figures) -> Verdict:
    one, two = figures["accuracy"]["1"], figures["accuracy"]["2"]
    because = Words(
        f"Where the same symbol has come before, its follower is named rightly in {mean(one):.0%} of the cases "
        f"with one layer and in {mean(two):.0%} with two; guessing gets {1 / KEYS:.0%}.",
        f"同一符号之前出现过时，正确说出其后继的比例：一层 {mean(one):.0%}，两层 {mean(two):.0%}；瞎猜为 {1 / KEYS:.0%}。",
    )
    if not clearly_above(two, one):
        return Verdict("does not hold", because)
    return Verdict("holds" if min(two) > 0.9 and max(one) < 0.6 else "only if", because)


def _chart_induction(figures: Figures) -> Chart:
    return Chart(
        Words("layers", "层数"),
        Words("followers that are right", "后继正确率"),
        ["1", "2"],
        [over_seeds(Words("accuracy", "正确率"), [figures["accuracy"]["1"], figures["accuracy"]["2"]])],
        bars=True,
    )


INDUCTION = Experiment(
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
    measure=_measure_induction,
    judge=_judge_induction,
    chart=_chart_induction,
    correction=Words(
        "Layers let attention use what attention has found. On this task two layers are needed; how many a "
        "translator needs has to be measured.",
        "多层让注意力可以利用上一层注意力找到的东西。这个任务需要两层；翻译需要几层要靠测量。",
    ),
    code=(Code(EncoderLayer.forward, "self.self_attention_residual(x,"),),
    seconds=70,
)
