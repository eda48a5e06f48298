"""The ladder as an experiment: each rung trained on number words, its failures shown, the next one's remedy."""

import math
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
    clearly_above,
    mean,
    over_seeds,
)
from saccade.lab.experiments.translation import bleu, log_probs
from saccade.lab.ladder import RUNGS, Bare
from saccade.lab.learning import fit, seeded, translate
from saccade.lab.numerals import batches, english, german, german_of, pair, split, vocabulary
from saccade.lab.toys import Pair, pairs_batch
from saccade.models.transformer import TransformerConfig
from saccade.nn.layers import Residual

SHOWN = (423, 3_031, 7_777, 117, 250, 999, 1_001, 1_234, 2_020, 4_096, 5_555, 6_060, 8_712, 9_306, 9_999)
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


def _measure_ladder(settings: Settings) -> Figures:
    scores: list[list[float]] = []
    perplexities: list[list[float]] = []
    shown: list[list[str]] = []
    for number, rung in enumerate(RUNGS, start=1):
        row, forced = [], []
        for seed in settings.seeds:
            settings.say(f"rung {number}, seed {seed}")
            train, test = split(settings.pick(3000, 40), settings.pick(100, 5), seed=seed)
            train = [one for one in train if one not in SHOWN]
            model = trained(rung, train, seed=seed, steps=settings.pick(250, 2))
            pairs = [pair(one) for one in test]
            row.append(bleu(translate(model, [source for source, _ in pairs]), pairs))
            forced.append(forced_perplexity(model, pairs))
            if seed == settings.seeds[0]:
                written = translate(model, [pair(one)[0] for one in SHOWN])
                shown.append([" ".join(german_of(ids)) for ids in written])
        scores.append(row)
        perplexities.append(forced)
    return {
        "bleu": scores,
        "forced_perplexity": perplexities,
        "sources": [" ".join(english(one)) for one in SHOWN],
        "references": [" ".join(german(one)) for one in SHOWN],
        "written": shown,
    }


def _judge_ladder(figures: Figures) -> Verdict:
    scores, forced = figures["bleu"], figures["forced_perplexity"]
    listed = ", ".join(f"{place}: {mean(row):.0f}" for place, row in enumerate(scores, start=1))
    because = Words(
        f"BLEU by rung: {listed}. Without the mask (rung 3) the perplexity is {mean(forced[2]):.2f} as long as the "
        f"right prefix and what follows it can be read, and the translations have {mean(scores[2]):.0f} BLEU. "
        f"Rung 1 writes “{figures['written'][0][0]}” for “{figures['sources'][0]}”, rung 6 "
        f"“{figures['written'][-1][0]}”.",
        f"各级的 BLEU：{listed}。没有掩码时（第 3 级），能读到正确的上下文，困惑度是 {mean(forced[2]):.2f}，而自己写出的译文只有 {mean(scores[2]):.0f} BLEU。"
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


def _chart_ladder(figures: Figures) -> Chart:
    return Chart(
        Words("rung", "级"),
        Words("BLEU", "BLEU"),
        _RUNG_NAMES,
        [over_seeds(Words("BLEU", "BLEU"), figures["bleu"])],
        bars=True,
    )


LADDER = Experiment(
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
    measure=_measure_ladder,
    judge=_judge_ladder,
    chart=_chart_ladder,
    correction=Words(
        "The order of the parts matters: some pay off only together with the next one, as self-attention does "
        "with the mask. The code of all rungs is in `saccade/lab/ladder.py`.",
        "部件的先后有讲究：有的要与下一个合在一起才见效，例如自注意力要配合掩码。各级的代码都在 `saccade/lab/ladder.py`。",
    ),
    code=(
        Code(Bare.read_source, "attention(x, attention.project_memory"),
        Code(Residual.forward, "self.norm(x + self.dropout(y))"),
    ),
    seconds=60,
)
