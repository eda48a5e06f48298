"""Cross-attention as word alignment and as explanation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.decoding.token_scores import StepwiseScores
from saccade.inspection.attribution.translation import SourceAttributor
from saccade.inspection.correlation import rank_correlation
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
from saccade.lab.learning import fit, new_model
from saccade.lab.numerals import alignment, batches, pair, split, vocabulary
from saccade.lab.toys import Pair, pairs_batch
from saccade.models.recording import cross_maps, record_attention
from saccade.nn.attention import CrossAttention
from saccade.text.vocabulary import END

LAYERS = 2


@torch.no_grad()
def cross_weights(model: Any, one: Pair) -> list[Tensor]:
    """The cross-attention (target, source) of each layer, the mean of its heads, for one sentence pair."""
    batch = pairs_batch([one])
    with record_attention(model) as maps:
        model.decode(batch["target_in"].values, model.encode(batch["source"].values, batch["source"].lengths))
    return [one.weights[0].mean(0) for one in cross_maps(maps.values())]


def error_rate(links: set[tuple[int, int]], gold: set[tuple[int, int]]) -> float:
    """The alignment error rate against sure links alone, 1 − 2 |A ∩ S| / (|A| + |S|) (Och and Ney 2003)."""
    return 1 - 2 * len(links & gold) / max(len(links) + len(gold), 1)


def _aligned(weights: Tensor, gold: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The strongest source word of each target word that has a link."""
    return {(int(weights[place, :-1].argmax()), place) for _, place in gold}


def _correlations(model: Any, one: Pair, weights: Sequence[Tensor]) -> dict[str, float]:
    """The mean rank correlation over target words of the last layer's weights with two attributions."""
    source, target = torch.tensor([[*one[0], END]]), [*one[1], END]
    attributor = SourceAttributor(model, source, StepwiseScores(model, target, device=source.device))
    found = {}
    for name, table in (("gradient", attributor.gradient()), ("erasure", attributor.erasure())):
        rows = zip(weights[-1].double().numpy(), table.abs().numpy(), strict=True)
        known = [value for row in rows if (value := rank_correlation(*row)) is not None]
        found[name] = mean(known) if known else 0.0
    return found


def _measure(settings: Settings) -> Figures:
    rates: list[list[float]] = []
    related: dict[str, list[float]] = {"gradient": [], "erasure": []}
    for seed in settings.seeds:
        settings.say(f"seed {seed}")
        train, test = split(settings.pick(2000, 40), settings.pick(40, 3), seed=seed)
        sizes = {"width": 32, "heads": 4, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": LAYERS}
        model = new_model("transformer", vocabulary(), seed=seed, **sizes)
        fit(model, batches(train, seed=seed), steps=settings.pick(250, 3), peak_rate=6e-3)
        by_layer: list[list[float]] = [[] for _ in range(LAYERS)]
        found: dict[str, list[float]] = {name: [] for name in related}
        for number in test:
            one, gold = pair(number), alignment(number)
            weights = cross_weights(model, one)
            for layer, own in enumerate(weights):
                by_layer[layer].append(error_rate(_aligned(own, gold), gold))
            for name, value in _correlations(model, one, weights).items():
                found[name].append(value)
        rates.append([mean(layer) for layer in by_layer])
        for name, values in found.items():
            related[name].append(mean(values))
    return {"error_rate": [list(row) for row in zip(*rates, strict=True)], "correlation": related}


def _judge(figures: Figures) -> Verdict:
    rates, related = figures["error_rate"], figures["correlation"]
    best = min(range(len(rates)), key=lambda layer: mean(rates[layer]))
    listed = Words(
        " and ".join(f"{mean(row):.0%} in layer {layer}" for layer, row in enumerate(rates, start=1)),
        "，".join(f"第 {layer} 层 {mean(row):.0%}" for layer, row in enumerate(rates, start=1)),
    )
    because = Words(
        f"The alignment error rate of the strongest weights is {listed.en} of the decoder. The last layer's weights "
        f"have a rank correlation of {mean(related['erasure']):.2f} with what happens if a word is erased, and of "
        f"{mean(related['gradient']):.2f} with gradient × input.",
        f"解码器各层取最大权重的对齐错误率：{listed.zh}。最后一层的权重与“删去该词的影响”的秩相关为 {mean(related['erasure']):.2f}，"
        f"与梯度×输入的秩相关为 {mean(related['gradient']):.2f}。",
    )
    if min(mean(rates[best]), max(rates[best])) > 0.3:
        return Verdict("does not hold", because)
    everywhere = all(max(row) <= 0.3 for row in rates)
    explains = min(related["erasure"]) >= 0.7
    return Verdict("holds" if everywhere and explains else "only if", because)


def _chart(figures: Figures) -> Chart:
    rates, related = figures["error_rate"], figures["correlation"]
    return Chart(
        Words("measure", "指标"),
        Words("share, correlation", "比例、相关系数"),
        [
            *(Words(f"error rate, layer {n}", f"对齐错误率 第{n}层") for n in range(1, len(rates) + 1)),
            Words("correlation, erasure", "与删词的相关"),
            Words("correlation, gradient", "与梯度的相关"),
        ],
        [over_seeds(Words("value", "数值"), [*rates, related["erasure"], related["gradient"]])],
        bars=True,
    )


EXPERIMENT = Experiment(
    name="alignment",
    title=Words("Attention, alignment, explanation", "注意力、对齐与解释"),
    claim=Words(
        "Cross-attention is word alignment, and attention explains the output.",
        "交叉注意力就是词对齐，注意力可以解释输出。",
    ),
    source=Words(
        "Bahdanau et al. 2015, section 5.2; against it Koehn and Knowles 2017, Jain and Wallace 2019.",
        "Bahdanau 等 2015，第 5.2 节；反例见 Koehn 与 Knowles 2017、Jain 与 Wallace 2019。",
    ),
    prediction=Words(
        "Not every layer aligns, and weights agree only in part with what happens if a word is erased.",
        "并非每一层都像词对齐；权重与“删去一个词的影响”只有部分一致。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Attention is where a layer reads from, which may be a neighbour of the aligned word. For an explanation, "
        "compare it with erasure, as `saccade attention` does.",
        "注意力只说明这一层从哪里读取，读的可能是对应词旁边的词。要解释输出，应与删词的影响相比较，`saccade attention` 就这样做。",
    ),
    code=(Code(CrossAttention.weights, "attention_weights(split_heads(self.query(x)"),),
    seconds=30,
)
