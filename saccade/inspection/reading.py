"""The record of a model that reads a text and labels it: what each position attends to."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from saccade.inspection.attributed import attributions
from saccade.inspection.attribution.attributor import Attributor
from saccade.inspection.facts import facts
from saccade.inspection.limits import require_shown
from saccade.inspection.record import Inspection, Part, Reason, Side
from saccade.inspection.words import Tokens
from saccade.models.recording import AttentionMap, cross_maps, record_attention


def inspect_reading(
    network: nn.Module,
    read: Callable[[], object],
    tokens: Tokens,
    labels: Sequence[str],
    *,
    text: str,
    name: str,
    attributor: Attributor | None = None,
) -> Inspection:
    """The record of one pass over a text.

    read: runs the network on the text alone. tokens: along the source axis. labels: what the model says of
    it. Attention that pools the text, of kind cross, has the label as its only query. attributor: attributes
    the labels to the text; without one, attributions are absent. Raises UserError for a text that is too long
    to show.
    """
    require_shown(len(tokens.pieces), "text")
    with torch.inference_mode(), record_attention(network) as recorded:
        read()
    maps = tuple(replace(one, weights=one.weights[0].float().cpu()) for one in recorded.values())
    absent: dict[Part, Reason] = {"search": "labels"}
    if attributor is None:
        absent["attributions"] = "labels"
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
        log_probs=None if attributor is None else _log_probs(attributor),
        attributions=() if attributor is None else attributions(attributor, _compared(attributor, maps)),
        places=None if attributor is None or attributor.places is None else tuple(attributor.places.tolist()),
        sides=tuple(pooled if one.kind == "cross" else ("source", "source") for one in maps),
        absent=absent,
    )


@torch.inference_mode()
def _log_probs(attributor: Attributor) -> tuple[float, ...]:
    return tuple(attributor.log_probs().tolist())


def _compared(attributor: Attributor, maps: Sequence[AttentionMap]) -> list[AttentionMap]:
    """The maps (heads, label, source) to compare: what pools or points, or the rows of the labels' places."""
    places = attributor.places
    if places is None:
        return cross_maps(maps)
    return [replace(one, weights=one.weights[:, places.cpu()]) for one in maps]


def word_tokens(words: Sequence[str]) -> Tokens:
    """Tokens each of which is a word."""
    return Tokens(tuple(words), tuple(range(len(words))), tuple(words))
