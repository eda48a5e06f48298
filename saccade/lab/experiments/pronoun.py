"""What “it” points at: built by hand, in trained models, and by erasure."""

import math
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
    mean,
    over_seeds,
)
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tags_batch
from saccade.lab.toys import FIRST, Pair
from saccade.models.recording import record_attention
from saccade.nn.attention import SelfAttention, attend
from saccade.text.batching import Batch

ANIMALS, PLACES, ANIMAL_WORDS, PLACE_WORDS = 5, 5, 3, 3
_FRAME = 6  # the, didn't cross, because, it, was too, end


def _id(group: int, number: int = 0) -> int:
    starts = (
        0,
        _FRAME,
        _FRAME + ANIMALS,
        _FRAME + ANIMALS + PLACES,
        _FRAME + ANIMALS + PLACES + ANIMAL_WORDS,
    )
    return FIRST + starts[group] + number


SYMBOLS = _FRAME + ANIMALS + PLACES + ANIMAL_WORDS + PLACE_WORDS
IT = 6
NOUNS = (1, 4)


def sentences(seed: int, *, rows: int = 32) -> Iterator[Batch]:
    """“The NOUN didn't cross the NOUN because it was too ADJECTIVE”; the target at “it” is the noun it means.

    One noun is an animal and one a place, in either order; the adjective fits one of them. Elsewhere the target
    is the word itself.
    """
    generator = random.Random(seed)
    the, cross, because, it, too, end = (_id(0, number) for number in range(_FRAME))
    while True:
        pairs: list[Pair] = []
        for _ in range(rows):
            animal, place = _id(1, generator.randrange(ANIMALS)), _id(2, generator.randrange(PLACES))
            tired = generator.random() < 0.5
            adjective = _id(3, generator.randrange(3)) if tired else _id(4, generator.randrange(3))
            first, second = (animal, place) if generator.random() < 0.5 else (place, animal)
            source = [the, first, cross, the, second, because, it, too, adjective, end]
            target = [*source]
            target[IT] = animal if tired else place
            pairs.append((source, target))
        yield tags_batch(pairs)


def constructed_weight() -> float:
    """The weight of the right noun in attention that is built by hand: “it” asks for the adjective's kind.

    Channels: is an animal word, is a place word. The first look-up brings the adjective's kind to “it”, the
    second finds the noun of that kind.
    """
    kinds = torch.tensor(
        [[0, 0], [1, 0], [0, 0], [0, 0], [0, 1], [0, 0], [0, 0], [0, 0], [1, 0], [0, 0]]
    ).double()
    adjective = torch.zeros(10, 1).double()
    adjective[8] = 1
    sharp = 20.0
    at_it = attend(
        torch.full((1, 1, 1, 1), sharp).double(), adjective[None, None], kinds[None, None]
    )  # (1, 1, 1, 2)
    nouns = torch.zeros(10, 10).double()
    nouns[list(NOUNS), list(NOUNS)] = 1
    keys = (kinds * nouns.diagonal()[:, None])[None, None]
    found = attend(sharp * math.sqrt(2) * at_it, keys, torch.eye(10).double()[None, None])
    return float(found[0, 0, 0, NOUNS[0]])


@torch.no_grad()
def _pointing(model: Tagger, batch: Batch) -> dict[str, float]:
    """How often weights from “it” prefer the noun that it means: of the best head, of all heads, and erasure."""
    tokens, gold = batch["source"].values, batch["target"].values[:, IT]
    meant = (tokens[:, NOUNS[1]] == gold).long()  # which of the two nouns
    with record_attention(model) as maps:
        logits = model.output(model(tokens))[:, IT].log_softmax(-1)
    heads = torch.cat([one.weights for one in maps.values()], 1)[:, :, IT, list(NOUNS)]  # (rows, heads, 2)
    right = heads.argmax(-1) == meant[:, None]
    whole = heads.mean(1).argmax(-1) == meant
    scores = []
    for noun in NOUNS:
        without = tokens.clone()
        without[:, noun] = _id(0, 0)
        own = model.output(model(without))[:, IT].log_softmax(-1)
        scores.append((logits - own).gather(1, gold[:, None])[:, 0])
    erased = torch.stack(scores, 1).argmax(-1) == meant
    return {
        "accuracy": tag_accuracy_at(logits, gold),
        "best_head": float(right.float().mean(0).max()),
        "all_heads": float(whole.float().mean()),
        "erasure": float(erased.float().mean()),
    }


def tag_accuracy_at(logits: Tensor, gold: Tensor) -> float:
    """The share of rows whose most likely symbol is right."""
    return float((logits.argmax(-1) == gold).float().mean())


def _measure(settings: Settings) -> Figures:
    rows = []
    for seed in settings.seeds:
        settings.say(f"seed {seed}")
        seeded(seed)
        model = Tagger(Shape(SYMBOLS, width=32, heads=2, layers=2, feed_forward=64))
        fit(model, sentences(seed), steps=settings.pick(200, 3), objective=Tagging(), peak_rate=1e-2)
        rows.append(_pointing(model, next(sentences(-1, rows=settings.pick(400, 20)))))
    return {"constructed": constructed_weight(), **{name: [row[name] for row in rows] for name in rows[0]}}


def _judge(figures: Figures) -> Verdict:
    because = Words(
        f"Attention built by hand gives the right noun a weight of {figures['constructed']:.3f}. Trained models "
        f"name the noun in {mean(figures['accuracy']):.0%} of the sentences. From “it”, the best single head "
        f"prefers that noun in {mean(figures['best_head']):.0%}, the mean of all heads in "
        f"{mean(figures['all_heads']):.0%}; erasing nouns finds it in {mean(figures['erasure']):.0%}.",
        f"手工构造的注意力给正确名词的权重是 {figures['constructed']:.3f}。训练出的模型在 {mean(figures['accuracy']):.0%} 的句子里说对了名词。"
        f"从 “it” 出发，最好的单个头在 {mean(figures['best_head']):.0%} 的句子里偏向该名词，所有头平均则为 {mean(figures['all_heads']):.0%}；"
        f"逐个删去名词的方法有 {mean(figures['erasure']):.0%} 找对。",
    )
    readings = [min(figures[name]) >= 0.9 for name in ("best_head", "all_heads")]
    if min(figures["accuracy"]) < 0.9 or not any(readings):
        return Verdict("does not hold", because)
    return Verdict("holds" if all(readings) else "only if", because)


def _chart(figures: Figures) -> Chart:
    names = {
        "accuracy": Words("model names the noun", "模型说对名词"),
        "best_head": Words("best head points at it", "最好的头指向它"),
        "all_heads": Words("mean of all heads does", "所有头平均指向它"),
        "erasure": Words("erasing finds it", "删词法找对"),
    }
    return Chart(
        Words("measure", "指标"),
        Words("sentences", "句子比例"),
        list(names.values()),
        [over_seeds(Words("share", "比例"), [figures[name] for name in names])],
        bars=True,
    )


EXPERIMENT = Experiment(
    name="pronoun",
    title=Words("“it” and the animal", "“it” 与 animal"),
    claim=Words(
        "In “The animal didn't cross the street because it was too tired”, the attention of “it” shows that it "
        "means the animal.",
        "在 “The animal didn't cross the street because it was too tired” 中，“it” 的注意力表明它指的是 animal。",
    ),
    source=Words(
        "Uszkoreit's blog post of 2017 and Alammar's pictures; study notes.",
        "Uszkoreit 2017 年的博文与 Alammar 的插图；学习笔记。",
    ),
    prediction=Words(
        "Attention can do this, as a construction shows, and a trained toy model does; but single heads show it, "
        "not the mean of all.",
        "注意力能做到（可以手工构造），训练出的玩具模型也能做到；但体现它的是个别的头，而不是所有头的平均。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "The picture shows one chosen head of one model. Whether a single head or the mean of all shows the noun "
        "differs from model to model, so look at all of them and check with erasure (`saccade attention`). No "
        "published translator was examined here.",
        "那幅图只是某个模型里挑出来的一个头。究竟是某个头还是所有头的平均能看出名词，因模型而异，所以要全部查看，并用删词法核对（`saccade attention`）。这里没有检验任何公开发布的翻译模型。",
    ),
    code=(Code(SelfAttention.weights, "attention_weights(query, key"),),
    seconds=10,
)
