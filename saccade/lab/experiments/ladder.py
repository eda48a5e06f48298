"""The ladder as an experiment: each rung trained on number words, its failures shown, the next one's remedy."""

import base64
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
    Table,
    Verdict,
    Words,
    clearly_above,
    mean,
    over_seeds,
    plain,
)
from saccade.lab.ladder import RUNGS, Bare, Placed
from saccade.lab.learning import fit, seeded, translate
from saccade.lab.numerals import batches, english, german, german_of, pair, split, vocabulary
from saccade.lab.toys import Pair, pairs_batch
from saccade.lab.translating import bleu, log_probs
from saccade.models.transformer import TransformerConfig
from saccade.nn.layers import Residual

SHOWN = (423, 4_096, 9_306, 3_031, 7_777, 117, 250, 999, 1_001, 1_234, 2_020, 5_555, 6_060, 8_712, 9_999)
"""The numbers whose translations are shown for each rung; none is trained with."""

CONFIG = TransformerConfig(
    width=32,
    heads=4,
    feed_forward=64,
    encoder_layers=1,
    decoder_layers=1,
    dropout=0.0,
    tied_embeddings="none",
)


def trained(rung: type[Bare], numbers: Sequence[int], *, seed: int, steps: int) -> Bare:
    """A model of this rung, trained on these numbers."""
    seeded(seed)
    model = rung(CONFIG, vocabulary())
    fit(model, batches(numbers, seed=seed), steps=steps, peak_rate=6e-3)
    return model


def forced_perplexity(model: Any, pairs: Sequence[Pair]) -> float:
    """The perplexity of the right targets when each prefix is given, as in training."""
    batch = pairs_batch(pairs)
    real, gold = batch["target"].real, batch["target"].values
    scores = log_probs(model, batch)[real].gather(1, gold[real][:, None])
    return math.exp(-float(scores.mean()))


_ENDS = {
    "right": Words("right", "正确"),
    "long": Words("too long: does not stop", "过长：停不下来"),
    "short": Words("too short: stops early", "过短：停得太早"),
    "wrong": Words("right length, wrong words", "长度对，词不对"),
}


def ending(written: Sequence[int], target: Sequence[int]) -> str:
    """Which of the keys of `_ENDS` a translation is."""
    if len(written) != len(target):
        return "long" if len(written) > len(target) else "short"
    return "right" if list(written) == list(target) else "wrong"


@torch.no_grad()
def rounded(model: Bare) -> Bare:
    """The model with its weights rounded to 16 bits, in which they are kept for the page that runs it."""
    for weight in model.parameters():
        weight.copy_(weight.half())
    return model


def packed(model: Bare) -> dict[str, Any]:
    """A rung in JSON types: its weights as base64 of float16, and what they do not say about it."""
    weights = {
        name: {
            "shape": list(weight.shape),
            "float16": base64.b64encode(weight.detach().half().numpy().astype("<f2").tobytes()).decode(),
        }
        for name, weight in model.named_parameters()
    }
    return {
        "weights": weights,
        "positions": isinstance(model, Placed),
        "heads": model.cross_attention.heads,
        "width": CONFIG.width,
    }


def _rung(rung: type[Bare], seed: int, settings: Settings) -> dict[str, Any]:
    """The scores of a rung that is trained with a seed, and what it writes for `SHOWN`."""
    train, test = split(settings.pick(3000, 40), settings.pick(100, 5), seed=seed)
    train = [one for one in train if one not in SHOWN]
    model = rounded(trained(rung, train, seed=seed, steps=settings.pick(250, 2)))
    shown = SHOWN[: settings.pick(len(SHOWN), 3)]
    pairs = [pair(one) for one in test]
    written = translate(model, [source for source, _ in pairs])
    ends = Counter(ending(said, target) for said, (_, target) in zip(written, pairs, strict=True))
    translated = translate(model, [pair(one)[0] for one in shown])
    return {
        "bleu": bleu(written, pairs),
        "perplexity": forced_perplexity(model, pairs),
        "ends": {end: ends[end] / len(pairs) for end in _ENDS},
        "written": [" ".join(german_of(ids)) for ids in translated],
        "model": packed(model) if seed == settings.seeds[0] else None,
    }


def _measure(settings: Settings) -> Figures:
    found: list[list[dict[str, Any]]] = []
    for number, rung in enumerate(RUNGS, start=1):
        settings.say(f"rung {number}")
        found.append([_rung(rung, seed, settings) for seed in settings.seeds])
    shown = SHOWN[: settings.pick(len(SHOWN), 3)]
    return {
        "bleu": [[seed["bleu"] for seed in row] for row in found],
        "forced_perplexity": [[seed["perplexity"] for seed in row] for row in found],
        "ends": {end: [[seed["ends"][end] for seed in row] for row in found] for end in _ENDS},
        "models": [row[0]["model"] for row in found],
        "numbers": list(shown),
        "sources": [" ".join(english(one)) for one in shown],
        "references": [" ".join(german(one)) for one in shown],
        "written": [row[0]["written"] for row in found],
    }


def _judge(figures: Figures) -> Verdict:
    scores, forced = figures["bleu"], figures["forced_perplexity"]
    listed = Words(
        ", ".join(f"{mean(row):.0f} on rung {place}" for place, row in enumerate(scores, start=1)),
        "，".join(f"第 {place} 级 {mean(row):.0f}" for place, row in enumerate(scores, start=1)),
    )
    because = Words(
        f"BLEU is {listed.en}. Without the mask (rung 3) the perplexity is {mean(forced[2]):.2f} as long as the "
        f"right prefix and what follows it can be read, and the translations have {mean(scores[2]):.0f} BLEU. "
        f"Rung 1 writes “{figures['written'][0][0]}” for “{figures['sources'][0]}”, rung 6 "
        f"“{figures['written'][-1][0]}”.",
        f"BLEU：{listed.zh}。没有掩码时（第 3 级），能读到正确的上下文，困惑度是 {mean(forced[2]):.2f}，而自己写出的译文只有 {mean(scores[2]):.0f} BLEU。"
        f"对 “{figures['sources'][0]}”，第 1 级写出 “{figures['written'][0][0]}”，第 6 级写出 “{figures['written'][-1][0]}”。",
    )
    if not clearly_above(scores[-1], scores[0]) or mean(scores[-1]) < max(map(mean, scores)) - 1:
        return Verdict("does not hold", because)
    # Rung 3 is meant to fail: what it adds pays off with the mask.
    steps = ((0, 1), (1, 3), (3, 4), (4, 5))
    every = all(clearly_above(scores[upper], scores[lower]) for lower, upper in steps)
    return Verdict("holds" if every and mean(scores[2]) < mean(scores[3]) else "only if", because)


_RUNG_NAMES = (
    Words("1 attention", "1 注意力"),
    Words("2 + positions", "2 + 位置"),
    Words("3 + self-attention", "3 + 自注意力"),
    Words("4 + mask", "4 + 掩码"),
    Words("5 + heads, FFN", "5 + 多头、前馈"),
    Words("6 + residuals, norms", "6 + 残差、归一化"),
)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("rung", "级"),
        Words("BLEU", "BLEU"),
        _RUNG_NAMES,
        [over_seeds(Words("BLEU", "BLEU"), figures["bleu"])],
        bars=True,
    )


def _failures(figures: Figures) -> list[Chart | Table]:
    """How the translations of each rung end, and three numbers as each rung translates them."""
    ends = Chart(
        Words("rung", "级"),
        Words("translations of unseen numbers", "未见数字的译文比例"),
        _RUNG_NAMES,
        [over_seeds(name, figures["ends"][end]) for end, name in _ENDS.items()],
        bars=True,
    )
    shown = range(3)
    head = (Words("rung", "级"), *(plain(figures["sources"][place]) for place in shown))
    rows = [
        (name, *(plain(written[place]) for place in shown))
        for name, written in zip(_RUNG_NAMES, figures["written"], strict=True)
    ]
    right = (Words("right", "正确"), *(plain(figures["references"][place]) for place in shown))
    return [ends, Table(head, [*rows, right])]


EXPERIMENT = Experiment(
    name="ladder",
    title=Words("The ladder: what each part adds", "阶梯：每个部件带来什么"),
    claim=Words(
        "Each part of the Transformer, added in the order of the notes, removes a failure of the model before "
        "it.",
        "按笔记的顺序逐个加上 Transformer 的部件，每一个都消除前一个模型的一种失败。",
    ),
    source=Words(
        "Study notes: bare attention; positions; self-attention; several heads and feed-forward; residual "
        "connections and norms; the mask.",
        "学习笔记：最简注意力；位置；自注意力；多头与前馈；残差与归一化；掩码。",
    ),
    prediction=Words(
        "Bare attention knows no order and repeats itself; positions give order; self-attention without a mask "
        "looks at its own answers in training and fails in use; the mask, heads with feed-forward, and residual "
        "connections with norms each improve the translation.",
        "最简注意力没有次序，会重复；位置带来次序；没有掩码的自注意力在训练时偷看答案，使用时失败；掩码、多头与前馈、残差与归一化各自都会改善翻译。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    more=_failures,
    correction=Words(
        "The order of the parts matters: some pay off only together with a later one. Self-attention needs the mask; "
        "and without residual connections it replaces each word by an average of its neighbours, so that rungs 4 and "
        "5 can be worse than rung 2. The code of all rungs is in `saccade/lab/ladder.py`.",
        "部件的先后有讲究：有的要与后面的合在一起才见效。自注意力要配合掩码；没有残差连接时，它会用周围词的平均取代原来的词，所以第 4、5 级可能不如第 2 级。各级的代码都在 `saccade/lab/ladder.py`。",
    ),
    code=(
        Code(Bare.read_source, "attention(x, attention.project_memory"),
        Code(Residual.forward, "self.norm(x + self.dropout(y))"),
    ),
    seconds=60,
)
