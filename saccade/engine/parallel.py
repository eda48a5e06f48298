"""Models that write all positions at once, their encoder, decoder and linear layers behind them in C."""

from copy import copy
from typing import Any

from torch import Tensor, nn

from saccade.engine.packed import Memory, PackedStack, why_not_packed
from saccade.models.nonautoregressive import NonAutoregressive
from saccade.native.linear import pack
from saccade.quantisation import Precision


def why_not_parallel(network: NonAutoregressive) -> str | None:
    """Why this network can't run in C; None where it can."""
    config = network.config
    output: Any = network.output
    if not isinstance(output, nn.Linear):
        return "it runs in another engine already"
    return why_not_packed(
        network.output.weight, head_width=config.head_width, feed_forward=config.feed_forward
    )


def in_c(network: NonAutoregressive, *, precision: Precision) -> NonAutoregressive:
    """The same model, to decode with. Encoder, decoder and the linear layers are copies: training does not
    reach them."""
    config: Any = network.config
    source, target = network.source_embedding, network.target_embedding
    # Masked models put a token before the source and so embed it themselves; their decoder reads targets.
    masked = network.scheme == "mask-predict"
    encoder, decoder = (
        PackedStack(
            layers,
            config=config,
            final=final,
            precision=precision,
            embedding=embedding,
            positions=source.positions,
        )
        for layers, final, embedding in (
            (network.encoder, network.encoder_norm, None if masked else source),
            (network.decoder, network.decoder_norm, target if masked else source),
        )
    )
    stands_in = copy(network)
    # The rest is shared with the network; only the list of its parts is another one.
    parts: dict[str, Any] = dict(network._modules)  # noqa: SLF001
    parts |= {"encoder": _Encoder(encoder), "decoder": _Decoder(decoder)}
    parts["target_embedding" if masked else "source_embedding"] = _Ids(source.positions)
    parts |= {"encoder_norm": nn.Identity(), "decoder_norm": nn.Identity()}
    # The output, and what predicts fertilities or the length.
    heads = {name: parts.pop(name) for name, part in network.named_children() if isinstance(part, nn.Linear)}
    stands_in.__dict__["_modules"] = parts
    for name, head in heads.items():
        own = precision if name == "output" else "float32"
        stands_in.__dict__[name] = pack(head.weight, head.bias, precision=own)
    return stands_in


class _Ids(nn.Module):
    """See `Embedding`: the stack behind it looks up the ids that it is given."""

    def __init__(self, positions: nn.Module) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens


class _Encoder(nn.Module):
    """See `EncoderStack`; x may be ids."""

    def __init__(self, stack: PackedStack) -> None:
        super().__init__()
        self.stack = stack

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.stack.run(x, lengths)


class _Decoder(nn.Module):
    """See `ParallelDecoderStack`; x may be ids."""

    def __init__(self, stack: PackedStack) -> None:
        super().__init__()
        self.stack = stack

    def remember(self, states: Tensor, lengths: Tensor) -> Memory:
        return self.stack.project_memory(states, lengths)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor,
        memory: Memory,
        positions: nn.Module,  # noqa: ARG002 - as its sibling; the stack has its own
        *,
        sees_itself: bool,
    ) -> Tensor:
        return self.stack.run(x, lengths, mask="none" if sees_itself else "diagonal", memory=memory)
