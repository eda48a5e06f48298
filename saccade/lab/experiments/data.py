"""How much data a Transformer, a recurrent and a convolutional network need."""

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
from saccade.lab.numerals import batches, pair, split, vocabulary
from saccade.lab.translating import SIZES, bleu
from saccade.nn.loss import linear_cross_entropy

_KINDS = {
    "transformer": Words("Transformer", "Transformer"),
    "recurrent": Words("recurrent with attention", "带注意力的循环网络"),
    "convolutional": Words("convolutional", "卷积网络"),
}


AMOUNTS = (50, 500, 5000)


def _measure(settings: Settings) -> Figures:
    found: dict[str, list[list[float]]] = {}
    for kind, sizes in SIZES.items():
        table = []
        for amount in AMOUNTS:
            row = []
            for seed in settings.seeds:
                settings.say(f"{kind}, {amount} pairs, seed {seed}")
                train, test = split(settings.pick(AMOUNTS[-1], AMOUNTS[0]), settings.pick(100, 10), seed=seed)
                model = new_model(kind, vocabulary(), seed=seed, **sizes)
                numbers = batches(train[:amount], seed=seed)
                fit(model, numbers, steps=settings.pick(150, 2), peak_rate=6e-3)
                pairs = [pair(number) for number in test]
                row.append(bleu(translate(model, [source for source, _ in pairs]), pairs))
            table.append(row)
        found[kind] = table
    return {"amounts": list(AMOUNTS), "bleu": found}


def _judge(figures: Figures) -> Verdict:
    table = figures["bleu"]
    few = {kind: rows[0] for kind, rows in table.items()}
    most = {kind: rows[-1] for kind, rows in table.items()}
    listed = {kind: f"{mean(few[kind]):.0f} → {mean(most[kind]):.0f}" for kind in table}
    because = Words(
        f"BLEU with {AMOUNTS[0]} and with {AMOUNTS[-1]:,} training pairs: Transformer {listed['transformer']}, "
        f"recurrent {listed['recurrent']}, convolutional {listed['convolutional']}.",
        f"训练对数为 {AMOUNTS[0]} 与 {AMOUNTS[-1]} 时的 BLEU：Transformer {listed['transformer']}，"
        f"循环网络 {listed['recurrent']}，卷积网络 {listed['convolutional']}。",
    )
    others = [kind for kind in table if kind != "transformer"]
    worse = [clearly_above(few[kind], few["transformer"]) for kind in others]
    levels = not any(clearly_above(most[kind], most["transformer"]) for kind in others)
    if all(worse) and levels:
        return Verdict("holds", because)
    return Verdict("only if" if any(worse) else "does not hold", because)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("training pairs", "训练对数"),
        Words("BLEU", "BLEU"),
        [f"{amount:,}" for amount in figures["amounts"]],
        [over_seeds(name, figures["bleu"][kind]) for kind, name in _KINDS.items()],
    )


EXPERIMENT = Experiment(
    name="data",
    title=Words("Who needs more data", "谁更需要数据"),
    claim=Words(
        "Attention assumes less about the data than recurrence or convolution and therefore needs more of it.",
        "注意力对数据的假设更少，因此需要更多的数据。",
    ),
    source=Words("Study notes.", "学习笔记。"),
    prediction=Words(
        "With few pairs the Transformer is behind both others; with many it has caught up.",
        "数据少时，Transformer 落后于另外两者；数据多时赶上。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Every encoder-decoder here uses attention between source and target; they differ inside each side. Which "
        "one needs most data depends on the task and the sizes. Larger corpora: docs/systems.md.",
        "这里三种编码器-解码器在源与目标之间都用注意力，差别只在各自内部。谁更需要数据，取决于任务和规模。更大语料的结果见 docs/systems.md。",
    ),
    code=(Code(linear_cross_entropy, "total: Tensor = _LinearCrossEntropy.apply"),),
    seconds=120,
)
