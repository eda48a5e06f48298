"""One head or several at equal parameters, and heads that are left out."""

import random
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
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tag_accuracy, tags_batch
from saccade.lab.toys import FIRST, draw, stream
from saccade.nn.attention import split_heads
from saccade.text.batching import Batch

HEADS = (1, 2, 4, 8, 16)
SYMBOLS = 6


def neighbours(source: list[int]) -> list[int]:
    """A symbol for each pair of left and right neighbour; at the ends, a symbol is its own neighbour."""
    left, right = [source[0], *source[:-1]], [*source[1:], source[-1]]
    return [FIRST + SYMBOLS * (a - FIRST) + b - FIRST for a, b in zip(left, right, strict=True)]


def without_head(model: Tagger, head: int, test: Batch) -> float:
    """The accuracy if the output of one head is left out."""
    layer: Any = model.layers[0]
    attention = layer.self_attention
    size = attention.output.in_features // attention.heads
    weight, part = attention.output.weight.data, slice(head * size, (head + 1) * size)
    kept = weight[:, part].clone()
    weight[:, part] = 0
    found = tag_accuracy(model, test)
    weight[:, part] = kept
    return found


def _measure(settings: Settings) -> Figures:
    task: dict[str, Any] = {"symbols": SYMBOLS, "lengths": range(6, 11)}
    test = tags_batch(draw(random.Random(-1), neighbours, rows=150, **task))
    scores: dict[str, list[float]] = {str(heads): [] for heads in HEADS}
    parameters, removed = {}, []
    for seed in settings.seeds:
        for heads in HEADS:
            settings.say(f"{heads} heads, seed {seed}")
            seeded(seed)
            model = Tagger(Shape(SYMBOLS, width=32, heads=heads, outputs=SYMBOLS**2, feed_forward=64))
            batches = stream(seed, neighbours, rows=32, batch=tags_batch, **task)
            fit(model, batches, steps=settings.pick(200, 3), objective=Tagging(), peak_rate=1e-2)
            scores[str(heads)].append(tag_accuracy(model, test))
            parameters[str(heads)] = sum(one.numel() for one in model.parameters())
            if heads == 4:
                removed.append(sorted(without_head(model, head, test) for head in range(heads)))
    return {"accuracy": scores, "parameters": parameters, "four_heads_without_one": removed}


def _judge(figures: Figures) -> Verdict:
    scores = figures["accuracy"]
    best = max(scores, key=lambda heads: mean(scores[heads]))
    most = str(HEADS[-1])
    counts = sorted(set(figures["parameters"].values()))
    shares = Words(
        ", ".join(f"{mean(scores[heads]):.1%} with {heads}" for heads in scores),
        "，".join(f"{heads} 个头 {mean(scores[heads]):.1%}" for heads in scores),
    )
    worst, mildest = (mean([row[place] for row in figures["four_heads_without_one"]]) for place in (0, -1))
    because = Words(
        f"Right symbols by number of heads: {shares.en}; each model has {' or '.join(map(str, counts))} parameters. "
        f"The model with four heads keeps {worst:.0%} without its most important head and {mildest:.0%} without "
        "its least important one.",
        f"逐符号正确率：{shares.zh}；参数个数都是 {' 或 '.join(map(str, counts))}。"
        f"四个头的模型去掉最重要的头，正确率剩 {worst:.0%}；去掉最不重要的头，剩 {mildest:.0%}。",
    )
    if len(counts) > 1 or not clearly_above(scores[best], scores["1"]):
        return Verdict("does not hold", because)
    more_is_better = all(not clearly_above(scores[str(fewer)], scores[most]) for fewer in HEADS[:-1]) and all(
        clearly_above(scores[str(heads)], scores["1"]) for heads in HEADS[1:]
    )
    return Verdict("holds" if more_is_better else "only if", because)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("heads (equal parameters)", "头数（参数相同）"),
        Words("symbols that are right", "逐符号正确率"),
        HEADS,
        [over_seeds(Words("accuracy", "正确率"), [figures["accuracy"][str(heads)] for heads in HEADS])],
        log_x=True,
    )


def _removed(figures: Figures) -> list[Chart]:
    rows = [list(row) for row in zip(*figures["four_heads_without_one"], strict=True)]
    return [
        Chart(
            Words("head that is left out of four", "四个头中去掉的那个"),
            Words("symbols that are right", "逐符号正确率"),
            [
                Words("most important", "最重要的"),
                Words("second", "第二"),
                Words("third", "第三"),
                Words("least important", "最不重要的"),
            ],
            [over_seeds(Words("accuracy without it", "去掉后的正确率"), rows)],
            bars=True,
        )
    ]


EXPERIMENT = Experiment(
    name="heads",
    title=Words("One head or several", "一个头还是多个头"),
    claim=Words(
        "At the same number of parameters several heads see more than one, and more heads see more.",
        "参数相同时，多个头比一个头看到的更多，头越多特征越丰富。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.2.2 and table 3 (A); study notes.",
        "Vaswani 等 2017，第 3.2.2 节与表 3(A)；学习笔记。",
    ),
    prediction=Words(
        "A task that needs two neighbours at once is hard for one head, whose average mixes them. With very many "
        "heads each is too narrow to find its neighbour.",
        "需要同时知道左右两个邻居的任务，单头难以完成，因为它把两者平均在一起；头太多时，每个头又太窄，找不准邻居。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    more=_removed,
    correction=Words(
        "The number of parameters does not depend on the number of heads. There is a best number in between: the "
        "paper has 24.9 BLEU with 1 head, 25.8 with 8 and 16, and 25.4 with 32 (table 3, A).",
        "参数个数与头数无关。头数有一个居中的最佳值：论文中 1 个头 24.9 BLEU，8 和 16 个头 25.8，32 个头 25.4（表 3，A 行）。",
    ),
    code=(Code(split_heads, "x.unflatten(-1, (heads, -1)).transpose(1, 2)"),),
    seconds=40,
)
