"""Heads: whether several see more than one, what they compute, and why queries and keys are projected apart."""

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d
from torch.nn.utils.parametrize import register_parametrization

from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
    Series,
    Settings,
    Verdict,
    Words,
    clearly_above,
    mean,
    over_seeds,
)
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tag_accuracy, tags_batch
from saccade.lab.toys import FIRST, draw, previous, stream
from saccade.nn.attention import SelfAttention, attention_weights, merge_heads, split_heads
from saccade.text.batching import Batch

_EXACT = 1e-10  # what rounding can do in float64

# --- one head or several ---------------------------------------------------------------------------

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


def _measure_heads(settings: Settings) -> Figures:
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
            fit(model, batches, steps=settings.pick(300, 3), objective=Tagging(), peak_rate=1e-2)
            scores[str(heads)].append(tag_accuracy(model, test))
            parameters[str(heads)] = sum(one.numel() for one in model.parameters())
            if heads == 4:
                removed.append(sorted(without_head(model, head, test) for head in range(heads)))
    return {"accuracy": scores, "parameters": parameters, "four_heads_without_one": removed}


def _judge_heads(figures: Figures) -> Verdict:
    scores = figures["accuracy"]
    best = max(scores, key=lambda heads: mean(scores[heads]))
    most = str(HEADS[-1])
    counts = sorted(set(figures["parameters"].values()))
    shares = ", ".join(f"{heads}: {mean(scores[heads]):.1%}" for heads in scores)
    worst, mildest = (mean([row[place] for row in figures["four_heads_without_one"]]) for place in (0, -1))
    because = Words(
        f"Right symbols by number of heads: {shares}; each model has {' or '.join(map(str, counts))} parameters. "
        f"The model with four heads keeps {worst:.0%} without its most important head and {mildest:.0%} without "
        "its least important one.",
        f"各头数的逐符号正确率：{shares}；参数个数都是 {' 或 '.join(map(str, counts))}。"
        f"四个头的模型去掉最重要的头，正确率剩 {worst:.0%}；去掉最不重要的头，剩 {mildest:.0%}。",
    )
    if len(counts) > 1 or not clearly_above(scores[best], scores["1"]):
        return Verdict("does not hold", because)
    more_is_better = all(not clearly_above(scores[str(fewer)], scores[most]) for fewer in HEADS[:-1]) and all(
        clearly_above(scores[str(heads)], scores["1"]) for heads in HEADS[1:]
    )
    return Verdict("holds" if more_is_better else "only if", because)


def _chart_heads(figures: Figures) -> Chart:
    return Chart(
        Words("heads (equal parameters)", "头数（参数相同）"),
        Words("symbols that are right", "逐符号正确率"),
        HEADS,
        [over_seeds(Words("accuracy", "正确率"), [figures["accuracy"][str(heads)] for heads in HEADS])],
        log_x=True,
    )


SEVERAL = Experiment(
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
    measure=_measure_heads,
    judge=_judge_heads,
    chart=_chart_heads,
    correction=Words(
        "The number of parameters does not depend on the number of heads. There is a best number in between: the "
        "paper has 24.9 BLEU with 1 head, 25.8 with 8 and 16, and 25.4 with 32 (table 3, A).",
        "参数个数与头数无关。头数有一个居中的最佳值：论文中 1 个头 24.9 BLEU，8 和 16 个头 25.8，32 个头 25.4（表 3，A 行）。",
    ),
    code=(Code(split_heads, "x.unflatten(-1, (heads, -1)).transpose(1, 2)"),),
    seconds=45,
)

# --- two identities --------------------------------------------------------------------------------


@torch.no_grad()
def _head_sums(*, heads: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The output of multi-head attention, the sum over heads each with its slice of W^O, and a bare sum."""
    attention = SelfAttention(width, heads=heads, causal=False).double()
    x = torch.randn(2, 7, width, dtype=torch.float64)
    value = split_heads(attention.query_key_value(x).chunk(3, -1)[2], heads)
    each = attention.weights(x) @ value  # (batch, heads, length, head width)
    slices = attention.output.weight.unflatten(1, (heads, -1))  # (width, heads, head width)
    summed = sum((each[:, head] @ slices[:, head].T for head in range(heads)), attention.output.bias.detach())
    bare = each.sum(1) @ slices[:, 0].T + attention.output.bias
    return attention(x), torch.as_tensor(summed), bare


@torch.no_grad()
def _convolution(*, kernel: int, width: int) -> tuple[Tensor, Tensor]:
    """A convolution, and heads that look at one distance each, with a slice of the kernel as W^V W^O."""
    length = 9
    x = torch.randn(2, length, width, dtype=torch.float64)
    weight = torch.randn(width, width, kernel, dtype=torch.float64)
    expected = conv1d(x.transpose(1, 2), weight, padding=kernel // 2).transpose(1, 2)
    score = torch.zeros(1, 1, length, 1, dtype=torch.float64)
    found = torch.zeros_like(expected)
    for number in range(kernel):
        at_distance = torch.ones(length, length, dtype=torch.bool)
        shift = number - kernel // 2
        at_distance = at_distance.triu(shift) & at_distance.tril(shift)
        found += attention_weights(score, score, visible=at_distance)[0, 0] @ x @ weight[:, :, number].T
    return expected, found


def _measure_identities(settings: Settings) -> Figures:
    torch.manual_seed(settings.seeds[0])
    table: dict[str, list[float]] = {"sum_over_heads": [], "bare_sum": [], "convolution": []}
    for heads in (2, 4, 8):
        whole, summed, bare = _head_sums(heads=heads, width=16)
        table["sum_over_heads"].append(float((whole - summed).abs().max()))
        table["bare_sum"].append(float((whole - bare).abs().max()))
    for kernel in (3, 5, 7):
        expected, found = _convolution(kernel=kernel, width=8)
        table["convolution"].append(float((expected - found).abs().max()))
    return {"error": table}


def _judge_identities(figures: Figures) -> Verdict:
    error = {name: max(values) for name, values in figures["error"].items()}
    because = Words(
        f"The largest difference is {error['sum_over_heads']:.0e} between concatenation with projection and the "
        f"sum over heads, and {error['convolution']:.0e} between a convolution and heads at fixed distances. A "
        f"sum of heads that share one slice of the projection differs by {error['bare_sum']:.2f}.",
        f"拼接再投影与按头求和的最大差为 {error['sum_over_heads']:.0e}，卷积与固定距离的多个头的最大差为 {error['convolution']:.0e}。"
        f"若各头共用同一段投影直接相加，则相差 {error['bare_sum']:.2f}。",
    )
    same = [error["sum_over_heads"] < _EXACT, error["convolution"] < _EXACT, error["bare_sum"] > _EXACT]
    if all(same):
        return Verdict("holds", because)
    return Verdict("only if" if any(same[:2]) else "does not hold", because)


def _chart_identities(figures: Figures) -> Chart:
    error = figures["error"]
    return Chart(
        Words("heads, or width of the kernel", "头数或卷积核宽度"),
        Words("largest difference (float64)", "最大差（float64）"),
        ["2 / 3", "4 / 5", "8 / 7"],
        [
            Series(Words("concatenation − sum over heads", "拼接 − 按头求和"), error["sum_over_heads"]),
            Series(Words("convolution − heads", "卷积 − 多个头"), error["convolution"]),
            Series(Words("concatenation − bare sum", "拼接 − 直接相加"), error["bare_sum"]),
        ],
        log_y=True,
    )


IDENTITIES = Experiment(
    name="identities",
    title=Words("Concatenating, adding, convolving", "拼接、相加与卷积"),
    claim=Words(
        "Concatenating heads and projecting is the same as adding them, each through its own slice of the "
        "projection; and a convolution of width k is k heads that look at fixed distances.",
        "各头拼接后再投影，等于各头经过自己那一段投影后相加；宽度为 k 的卷积等于 k 个只看固定距离的头。",
    ),
    source=Words(
        "Study notes, whose text says “add” where their formula says “concatenate”; Vaswani's lectures.",
        "学习笔记（文字写“相加”，公式写“拼接”）；Vaswani 的讲座。",
    ),
    prediction=Words("Both are identities, up to rounding.", "两者都是恒等式，只差舍入误差。"),
    measure=_measure_identities,
    judge=_judge_identities,
    chart=_chart_identities,
    correction=Words(
        "Text and formula agree if each head has its own slice W_i^O. A bare sum of heads is another model.",
        "只要每个头有自己的 W_i^O，文字与公式就一致；各头直接相加则是另一个模型。",
    ),
    code=(Code(merge_heads, "x.transpose(1, 2).flatten(2)"),),
)

# --- queries and keys ------------------------------------------------------------------------------


class SameMatrix(nn.Module):
    """A parametrisation of the joint matrix of queries, keys and values in which keys take that of queries."""

    def forward(self, joint: Tensor) -> Tensor:
        """The rows of queries, of queries again, and of values."""
        query, _, value = joint.chunk(3)
        return torch.cat([query, query, value])


def _previous_tagger(seed: int, settings: Settings, *, tied: bool) -> tuple[float, float]:
    """Accuracy at naming the left neighbour, and how far the scores are from symmetric."""
    seeded(seed)
    model = Tagger(Shape(10, width=32, feed_forward=64))
    layer: Any = model.layers[0]
    joint = layer.self_attention.query_key_value
    if tied:
        for name in ("weight", "bias"):
            register_parametrization(joint, name, SameMatrix())
    task: dict[str, Any] = {"symbols": 10, "lengths": range(6, 11)}
    batches = stream(seed, previous, rows=32, batch=tags_batch, **task)
    fit(model, batches, steps=settings.pick(200, 3), objective=Tagging(), peak_rate=1e-2)
    test = tags_batch(draw(random.Random(-1), previous, rows=150, **task))
    with torch.no_grad():
        x = model.embedding(test["source"].values[:, :6])
        query, key, _ = joint(x).chunk(3, -1)
        scores = query @ key.transpose(-2, -1)
        asymmetry = float((scores - scores.transpose(-2, -1)).norm() / scores.norm())
    return tag_accuracy(model, test), asymmetry


def _measure_query_key(settings: Settings) -> Figures:
    found: dict[str, dict[str, list[float]]] = {}
    for name, tied in (("own", False), ("tied", True)):
        settings.say(f"{name} matrices")
        pairs = [_previous_tagger(seed, settings, tied=tied) for seed in settings.seeds]
        found[name] = {"accuracy": [one for one, _ in pairs], "asymmetry": [one for _, one in pairs]}
    return found


def _judge_query_key(figures: Figures) -> Verdict:
    own, tied = figures["own"], figures["tied"]
    because = Words(
        f"With one matrix for both, scores are symmetric up to {max(tied['asymmetry']):.0e}: if a position looks "
        f"at its left neighbour, that one looks back. {mean(tied['accuracy']):.1%} of the symbols are right then, "
        f"and {mean(own['accuracy']):.1%} with two matrices (asymmetry {mean(own['asymmetry']):.2f}).",
        f"共用一个矩阵时得分是对称的（偏差 {max(tied['asymmetry']):.0e}）：一个位置看左邻，左邻也同样看它。"
        f"此时逐符号正确率 {mean(tied['accuracy']):.1%}；用两个矩阵则为 {mean(own['accuracy']):.1%}（不对称度 {mean(own['asymmetry']):.2f}）。",
    )
    if max(tied["asymmetry"]) > 1e-4 or min(own["asymmetry"]) < 1e-4:
        return Verdict("does not hold", because)
    return Verdict("holds" if clearly_above(own["accuracy"], tied["accuracy"]) else "only if", because)


def _chart_query_key(figures: Figures) -> Chart:
    sides = (("own", Words("two matrices", "两个矩阵")), ("tied", Words("one matrix", "一个矩阵")))
    return Chart(
        Words("measure", "指标"),
        Words("share", "比例"),
        [Words("right symbols", "逐符号正确率"), Words("asymmetry of scores", "得分的不对称度")],
        [over_seeds(name, [figures[side]["accuracy"], figures[side]["asymmetry"]]) for side, name in sides],
        bars=True,
    )


QUERY_KEY = Experiment(
    name="query-key",
    title=Words("Why queries and keys have different matrices", "为什么查询和键用不同的矩阵"),
    claim=Words("Queries and keys need different matrices.", "查询和键需要不同的投影矩阵。"),
    source=Words(
        "One of the “questions on the Transformer” that circulate in Chinese.",
        "流传甚广的“Transformer 面试题”之一。",
    ),
    prediction=Words(
        "With one matrix the scores are symmetric, and a task that looks to one side only fails.",
        "共用一个矩阵时得分对称，只往一侧看的任务就会失败。",
    ),
    measure=_measure_query_key,
    judge=_judge_query_key,
    chart=_chart_query_key,
    correction=Words(
        "One matrix forces s(i, j) = s(j, i), but not equal weights: each row of the softmax is normalised by itself, "
        "so that a direction can still be learned. Two matrices make it easier; “need” says too much.",
        "共用矩阵会迫使 s(i,j)=s(j,i)，但权重不必相等：softmax 逐行归一化，所以仍有可能学到方向。两个矩阵让它更容易，但“需要”说得过头了。",
    ),
    code=(Code(SelfAttention._project, "self.query_key_value(x).unflatten"),),  # noqa: SLF001
    seconds=20,
)
