"""Concatenating heads, adding them, and convolving: two identities in float64."""

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
    Series,
    Settings,
    Verdict,
    Words,
)
from saccade.nn.attention import SelfAttention, attention_weights, merge_heads, split_heads

_EXACT = 1e-10  # what rounding can do in float64


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


def _measure(settings: Settings) -> Figures:
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


def _judge(figures: Figures) -> Verdict:
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


def _chart(figures: Figures) -> Chart:
    error = figures["error"]
    return Chart(
        Words("number of heads, width of the convolution", "头数、卷积宽度"),
        Words("largest difference (float64)", "最大差（float64）"),
        [
            Words(f"{heads} heads, width {kernel}", f"{heads} 个头，宽 {kernel}")
            for heads, kernel in ((2, 3), (4, 5), (8, 7))
        ],
        [
            Series(Words("concatenation − sum over heads", "拼接 − 按头求和"), error["sum_over_heads"]),
            Series(Words("convolution − heads", "卷积 − 多个头"), error["convolution"]),
            Series(Words("concatenation − bare sum", "拼接 − 直接相加"), error["bare_sum"]),
        ],
        log_y=True,
    )


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Text and formula agree if each head has its own slice W_i^O. A bare sum of heads is another model.",
        "只要每个头有自己的 W_i^O，文字与公式就一致；各头直接相加则是另一个模型。",
    ),
    code=(Code(merge_heads, "x.transpose(1, 2).flatten(2)"),),
)
