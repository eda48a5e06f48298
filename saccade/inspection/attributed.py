"""The attributions of a translation beside its attention, whatever the decoder."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from saccade.decoding.interface import Decoder
from saccade.decoding.trace import Rounds
from saccade.inspection.attribution.attributor import Attributor
from saccade.inspection.attribution.translation import SourceAttributor
from saccade.inspection.correlation import correlations
from saccade.inspection.record import Attribution, Correlation, Method, Part, Reason
from saccade.models.recording import AttentionMap, cross_maps

Slots = Sequence[tuple[int, ...]]


class Attributed(NamedTuple):
    """The attributions of the output tokens, their log-probabilities, and why a part is absent."""

    attributions: tuple[Attribution, ...]
    log_probs: tuple[float, ...] | None
    absent: dict[Part, Reason]


def attributed(
    decoder: Decoder,
    source: Tensor,
    target: Sequence[int],
    maps: Sequence[AttentionMap],
    *,
    rounds: Rounds,
    slots: Slots | None,
    wanted: bool,
) -> Attributed:
    """Attributes a target (ids, end symbol last) to its source (1, source).

    rounds: those in which the model wrote the target, none if it was given. slots: see `Passes`. wanted:
    whether attributions are computed; log-probabilities always are.
    """
    scores = decoder.token_scores(source, target, rounds)
    if scores is None:
        return Attributed((), None, {"attributions": "all-at-once", "log_probs": "all-at-once"})
    attributor = SourceAttributor(decoder.network, source, scores)
    with torch.inference_mode():
        log_probs = attributor.log_probs()
    if len(log_probs) and bool(log_probs.isnan().all()):
        return Attributed((), None, {"attributions": "masked", "log_probs": "masked"})
    known = tuple(log_probs.tolist())
    if not wanted:
        return Attributed((), known, {"attributions": "switched-off"})
    return Attributed(
        attributions(attributor, [of_tokens(one, slots) for one in cross_maps(maps)]), known, {}
    )


def attributions(attributor: Attributor, compared: Sequence[AttentionMap]) -> tuple[Attribution, ...]:
    """The attributions by every method, with the rank correlations of maps (heads, output token, key)."""
    values: dict[Method, Tensor] = {"gradient": attributor.gradient(), "erasure": attributor.erasure()}
    assert values.keys() == set(get_args(Method))
    return tuple(
        Attribution(
            method,
            "source",
            value,
            tuple(
                Correlation(one.kind, one.layer, correlations(one, value, causal=False))
                for one in compared
                if one.weights.shape[1:] == value.shape
            ),
        )
        for method, value in values.items()
    )


def of_tokens(one: AttentionMap, slots: Slots | None) -> AttentionMap:
    """The map (heads, output token, key) of a map (heads, slot, key): the mean over the slots of each token.

    NaN for a token without slots. Without slots, the map is as it was.
    """
    if slots is None:
        return one
    rows = [one.weights[:, list(places)].mean(1) for places in slots]
    return replace(one, weights=torch.stack(rows, 1))
