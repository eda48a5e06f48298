"""Padding must not matter: which mask hides it in each place."""

import torch
from torch import nn

from saccade.lab.experiment import Chart, Code, Experiment, Figures, Series, Settings, Verdict, Words
from saccade.lab.learning import new_model
from saccade.lab.toys import FIRST, vocabulary
from saccade.models.transformer import Memory
from saccade.nn.masks import padding_mask
from saccade.text.vocabulary import PAD, START

_EXACT = 1e-9  # what rounding can do in float64


@torch.no_grad()
def _measure(settings: Settings) -> Figures:
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


def _judge(figures: Figures) -> Verdict:
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


def _chart(figures: Figures) -> Chart:
    """The change of the logits for each place."""
    return Chart(
        Words("mask", "掩码"),
        Words("largest change of a logit", "logit 的最大变化"),
        list(_PLACES.values()),
        [Series(Words("change", "变化"), [figures["change"][place] for place in _PLACES])],
        bars=True,
    )


EXPERIMENT = Experiment(
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
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Encoder self-attention and cross-attention need the padding mask. The decoder's self-attention needs "
        "none as long as targets are padded on the right.",
        "编码器自注意力和交叉注意力都需要填充掩码；只要目标序列在右侧填充，解码器自注意力就不需要。",
    ),
    code=(Code(padding_mask, "< lengths[:, None]"),),
)
