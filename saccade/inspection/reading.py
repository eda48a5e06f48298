"""The record of a model that reads a text and labels it: what each position attends to."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from saccade.inspection.facts import facts
from saccade.inspection.record import Inspection, Part, Reason, Side
from saccade.inspection.words import Tokens
from saccade.models.recording import record_attention


def inspect_reading(
    network: nn.Module,
    read: Callable[[], object],
    tokens: Tokens,
    labels: Sequence[str],
    *,
    text: str,
    name: str,
) -> Inspection:
    """The record of one pass over a text.

    read: runs the network on the text alone. tokens: along the source axis. labels: what the model says of
    it. Attention that pools the text, of kind cross, has the label as its only query.
    """
    with torch.inference_mode(), record_attention(network) as recorded:
        read()
    maps = tuple(replace(one, weights=one.weights[0].float().cpu()) for one in recorded.values())
    absent: dict[Part, Reason] = {"search": "labels", "attributions": "labels"}
    if not maps:
        absent["maps"] = "no-attention"
    pooled: tuple[Side, Side] = ("target", "source")
    return Inspection(
        name=name,
        model=facts(network, maps),
        source=text,
        output=" ".join(labels),
        given=False,
        tokens={"source": tokens, "target": word_tokens(labels)},
        maps=maps,
        sides=tuple(pooled if one.kind == "cross" else ("source", "source") for one in maps),
        absent=absent,
    )


def word_tokens(words: Sequence[str]) -> Tokens:
    """Tokens each of which is a word."""
    return Tokens(tuple(words), tuple(range(len(words))), tuple(words))
