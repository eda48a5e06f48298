"""Masks: what hides the future, and what hides padding."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from saccade.lab.experiment import Chart, Code, Experiment, Figures, Series, Settings, Verdict, Words
from saccade.lab.learning import new_model
from saccade.lab.toys import FIRST, vocabulary
from saccade.models.transformer import Memory
from saccade.nn.attention import AttentionPositions, SelfAttention, attention_weights
from saccade.nn.masks import causal_mask, padding_mask
from saccade.text.vocabulary import PAD, START

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


def measure_future(settings: Settings) -> Figures:
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


def judge_future(figures: Figures) -> Verdict:
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
    "batch_norm": Words("minus infinity, then batch norm", "−∞，再做批归一化"),
}


def chart_future(figures: Figures) -> Chart:
    """The leak of each way of masking."""
    return Chart(
        Words("way of masking", "掩码方式"),
        Words("largest derivative by a future input", "对未来输入的最大导数"),
        list(_WAYS.values()),
        [Series(Words("leak", "泄漏"), [figures["leak"][way] for way in _WAYS])],
        bars=True,
    )


FUTURE = Experiment(
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
    measure=measure_future,
    judge=judge_future,
    chart=chart_future,
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


@torch.no_grad()
def measure_padding(settings: Settings) -> Figures:
    """The change of logits when a sentence is padded, with all masks and without each of them."""
    sizes = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 2, "decoder_layers": 2}
    # Rotary positions depend on distances alone, so that padding on the left moves nothing.
    model = new_model("transformer", vocabulary(20), seed=settings.seeds[0], positions="rotary", **sizes)
    model.double().eval()
    length, whole = settings.pick(7, 5), 12
    source = torch.arange(FIRST, FIRST + length)[None]
    target = torch.tensor([[START, *range(FIRST + 6, FIRST + 11)]])
    padded = nn.functional.pad(source, (0, whole - length), value=PAD)
    lengths, all_real = torch.tensor([length]), torch.tensor([whole])
    alone = model(target, model.encode(source, lengths))
    memory, visible = model.encode(padded, lengths), padding_mask(lengths, whole)
    right = nn.functional.pad(target, (0, 3), value=PAD)
    left = nn.functional.pad(target, (3, 0), value=PAD)
    logits = {
        "masked": model(target, memory),
        "no_encoder_mask": model(target, Memory(model.encoder(padded, all_real), visible)),
        "no_cross_mask": model(target, Memory(memory.states, None)),
        "decoder_right": model(right, memory)[:, : target.size(1)],
        "decoder_left": model(left, memory)[:, 3:],
    }
    return {"change": {name: float((found - alone).abs().max()) for name, found in logits.items()}}


def judge_padding(figures: Figures) -> Verdict:
    """Holds only if masked, unless padding matters in spite of the masks or does not matter without them."""
    change = figures["change"]
    because = Words(
        f"With masks in encoder and cross-attention, padding changes no logit by more than "
        f"{change['masked']:.0e}. Without the encoder's mask logits change by {change['no_encoder_mask']:.2f}, "
        f"without that of cross-attention by {change['no_cross_mask']:.2f}. Padding behind the target changes "
        f"{change['decoder_right']:.0e}, padding before it {change['decoder_left']:.2f}.",
        f"编码器和交叉注意力都有填充掩码时，logit 的变化不超过 {change['masked']:.0e}。"
        f"去掉编码器的掩码，变化 {change['no_encoder_mask']:.2f}；去掉交叉注意力的掩码，变化 {change['no_cross_mask']:.2f}。"
        f"目标序列右侧填充只带来 {change['decoder_right']:.0e} 的变化，左侧填充则为 {change['decoder_left']:.2f}。",
    )
    if max(change["masked"], change["decoder_right"]) > _EXACT:
        return Verdict("does not hold", because)
    needed = min(change["no_encoder_mask"], change["no_cross_mask"], change["decoder_left"])
    return Verdict("only if" if needed > _EXACT else "holds", because)


_PLACES = {
    "masked": Words("all masks", "掩码齐全"),
    "no_encoder_mask": Words("none in the encoder", "编码器无掩码"),
    "no_cross_mask": Words("none in cross-attention", "交叉注意力无掩码"),
    "decoder_right": Words("target padded behind", "目标右填充"),
    "decoder_left": Words("target padded before", "目标左填充"),
}


def chart_padding(figures: Figures) -> Chart:
    """The change of the logits for each place."""
    return Chart(
        Words("mask", "掩码"),
        Words("largest change of a logit", "logit 的最大变化"),
        list(_PLACES.values()),
        [Series(Words("change", "变化"), [figures["change"][place] for place in _PLACES])],
        bars=True,
    )


PADDING = Experiment(
    name="padding",
    title=Words("Padding", "填充"),
    claim=Words(
        "Padding does not change what a model computes.",
        "填充不影响模型的计算结果。",
    ),
    source=Words(
        "Assumed wherever sentences are batched. Study notes say that the encoder needs no mask.",
        "凡是把句子拼成批次都默认如此；学习笔记说“编码器端的自注意力不需要遮罩”。",
    ),
    prediction=Words(
        "Padding changes the result wherever attention can see it: in the encoder, in cross-attention, and in "
        "the decoder if it stands before the target. Behind the target the causal mask hides it already.",
        "只要注意力看得见填充，结果就会变：编码器、交叉注意力，以及目标序列左侧填充时的解码器。"
        "目标右侧的填充已经被因果掩码挡住。",
    ),
    measure=measure_padding,
    judge=judge_padding,
    chart=chart_padding,
    correction=Words(
        "Encoder self-attention and cross-attention need the padding mask. The decoder's self-attention needs "
        "none as long as targets are padded on the right.",
        "编码器自注意力和交叉注意力都需要填充掩码；只要目标序列在右侧填充，解码器自注意力就不需要。",
    ),
    code=(Code(padding_mask, "< lengths[:, None]"),),
)
