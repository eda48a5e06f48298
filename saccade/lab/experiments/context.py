"""Context that segments cut off, and Transformer-XL's memory."""

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
from saccade.lab.learning import fit, new_model
from saccade.lab.tagger import tags_batch
from saccade.lab.toys import FIRST, Pair, vocabulary
from saccade.models.families import LanguageModel
from saccade.models.transformer_xl import TransformerXL
from saccade.text.batching import Batch
from saccade.training.objective import Objective

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


def _measure(settings: Settings) -> Figures:
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


def _judge(figures: Figures) -> Verdict:
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


def _chart(figures: Figures) -> Chart:
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


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "What is passed on are the states below each layer, put before the keys and values of the next segment "
        "without gradient; they do not go “to the same place of the next segment”.",
        "传递的是每一层的输入状态：不带梯度，拼接在下一片段的键和值之前；并不是送到“下一片段的同样位置”。",
    ),
    code=(Code(TransformerXL.read, "context = torch.cat([past, x], 1)"),),
    seconds=40,
)
