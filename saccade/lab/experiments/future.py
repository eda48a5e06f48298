"""The decoder's mask hides the future: the real mask, wrong ones, and what leaks behind them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from saccade.lab.experiment import Chart, Code, Experiment, Figures, Series, Settings, Verdict, Words
from saccade.nn.attention import AttentionPositions, SelfAttention, attention_weights
from saccade.nn.masks import causal_mask

_EXACT = 1e-9  # what rounding can do in float64


class ZeroScores(AttentionPositions):
    """The mistake of setting hidden scores to 0 before the softmax, where exp(0) = 1."""

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        offset: int,  # noqa: ARG002
        visible: Tensor | None = None,  # noqa: ARG002
        causal: bool = False,  # noqa: ARG002
        dropout: float = 0.0,  # noqa: ARG002
    ) -> Tensor:
        """See `AttentionPositions.attend`."""
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
        past = causal_mask(query.size(-2), key.size(-2))
        return (scores * past).softmax(-1) @ value


class ZeroWeights(AttentionPositions):
    """The mistake of setting hidden weights to 0 after the softmax, whose sum still contains the future."""

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        offset: int,  # noqa: ARG002
        visible: Tensor | None = None,  # noqa: ARG002
        causal: bool = False,  # noqa: ARG002
        dropout: float = 0.0,  # noqa: ARG002
    ) -> Tensor:
        """See `AttentionPositions.attend`."""
        past = causal_mask(query.size(-2), key.size(-2))
        return (attention_weights(query, key) * past) @ value


def leak(layer: Callable[[Tensor], Tensor], *, length: int, width: int) -> float:
    """The largest derivative of an output with respect to an input at a later position."""
    x = torch.randn(4, length, width, dtype=torch.float64).requires_grad_()
    out = layer(x)
    direction = torch.randn(width, dtype=torch.float64)
    found = 0.0
    for place in range(length - 1):
        [gradient] = torch.autograd.grad((out[:, place] @ direction).sum(), [x], retain_graph=True)
        found = max(found, float(gradient[:, place + 1 :].abs().max()))
    return found


def _measure(settings: Settings) -> Figures:
    """What leaks from the future: the real mask, two wrong ones, and batch norm behind the right one."""
    width, length = 16, settings.pick(12, 6)
    torch.manual_seed(settings.seeds[0])
    layers = {
        "minus_infinity": SelfAttention(width, heads=2, causal=True),
        "zero_scores": SelfAttention(width, heads=2, causal=True, positions=ZeroScores()),
        "zero_weights": SelfAttention(width, heads=2, causal=True, positions=ZeroWeights()),
    }
    leaks = {name: leak(layer.double(), length=length, width=width) for name, layer in layers.items()}
    norm, attention = nn.BatchNorm1d(width).double(), layers["minus_infinity"]
    leaks["batch_norm"] = leak(
        lambda x: norm(attention(x).transpose(1, 2)).transpose(1, 2), length=length, width=width
    )
    return {"leak": leaks}


def _judge(figures: Figures) -> Verdict:
    """Holds only if masked before the softmax, unless the real mask leaks or nothing does."""
    leaks = figures["leak"]
    wrong = {name: value for name, value in leaks.items() if name != "minus_infinity"}
    because = Words(
        f"The derivative by future inputs is {leaks['minus_infinity']:g} with minus infinity before the "
        f"softmax. It is up to {leaks['zero_scores']:.2g} if hidden scores are set to 0, "
        f"{leaks['zero_weights']:.2g} if hidden weights are, and {leaks['batch_norm']:.2g} if batch norm over "
        "time follows the right mask.",
        f"在 softmax 之前填 −∞ 时，对未来输入的导数为 {leaks['minus_infinity']:g}。"
        f"把被遮的得分设为 0，导数可达 {leaks['zero_scores']:.2g}；把被遮的权重设为 0，可达 {leaks['zero_weights']:.2g}；"
        f"掩码正确但之后沿时间做批归一化，可达 {leaks['batch_norm']:.2g}。",
    )
    if leaks["minus_infinity"] != 0:
        return Verdict("does not hold", because)
    return Verdict("only if" if max(wrong.values()) > _EXACT else "holds", because)


_WAYS = {
    "minus_infinity": Words("score minus infinity", "得分设为 −∞"),
    "zero_scores": Words("score 0", "得分设为 0"),
    "zero_weights": Words("weight 0", "权重设为 0"),
    "batch_norm": Words("minus infinity, then batch norm", "−∞ 加批归一化"),
}


def _chart(figures: Figures) -> Chart:
    """The leak of each way of masking."""
    return Chart(
        Words("way of masking", "掩码方式"),
        Words("largest derivative by a future input", "对未来输入的最大导数"),
        list(_WAYS.values()),
        [Series(Words("leak", "泄漏"), [figures["leak"][way] for way in _WAYS])],
        bars=True,
    )


EXPERIMENT = Experiment(
    name="future",
    title=Words("The mask that hides the future", "遮住未来的掩码"),
    claim=Words(
        "The decoder's mask hides the future.",
        "解码器的掩码挡住了未来。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.2.3. Study notes add that masked elements are set to 0.",
        "Vaswani 等 2017，第 3.2.3 节；学习笔记还说“将被遮罩的元素设置为 0”。",
    ),
    prediction=Words(
        "Only minus infinity before the softmax gives a derivative of exactly 0; zeros leave the future in the "
        "softmax's sum.",
        "只有在 softmax 之前填 −∞，导数才恰好为 0；填 0 会把未来留在 softmax 的分母里。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Masked scores are set to minus infinity before the softmax, so that masked weights are 0 and the others "
        "sum to 1. A position sees itself and everything before it. Normalisation over time would leak as well.",
        "在 softmax 之前把被遮的得分设为 −∞，这样被遮的权重为 0，其余权重之和为 1。"
        "每个位置能看到自己和之前的全部位置。沿时间方向的归一化同样会泄漏未来。",
    ),
    code=(
        Code(attention_weights, "masked_fill(~visible, -math.inf)"),
        Code(causal_mask, ".tril(keys - queries)"),
    ),
)
