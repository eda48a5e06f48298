"""The attributions of a translation beside its attention, whatever the decoder."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from saccade.decoding.autoregressive import Autoregressive
from saccade.decoding.interface import Decoder
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.trace import Rounds
from saccade.inspection.attribution import AtOnceAttributor, Attributor, SourceAttributor
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
    attributor = _attributor(decoder, source, target, rounds)
    if attributor is None:
        return Attributed((), None, {"attributions": "all-at-once", "log_probs": "all-at-once"})
    with torch.inference_mode():
        log_probs = attributor.log_probs(source)[0]
    if len(log_probs) and bool(log_probs.isnan().all()):
        return Attributed((), None, {"attributions": "masked", "log_probs": "masked"})
    known = tuple(log_probs.tolist())
    if not wanted:
        return Attributed((), known, {"attributions": "switched-off"})
    compared = [of_tokens(one, slots) for one in cross_maps(maps)]
    values: dict[Method, Tensor] = {"gradient": attributor.gradient(), "erasure": attributor.erasure()}
    assert values.keys() == set(get_args(Method))
    found = tuple(
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
    return Attributed(found, known, {})


def of_tokens(one: AttentionMap, slots: Slots | None) -> AttentionMap:
    """The map (heads, output token, key) of a map (heads, slot, key): the mean over the slots of each token.

    NaN for a token without slots. Without slots, the map is as it was.
    """
    if slots is None:
        return one
    rows = [one.weights[:, list(places)].mean(1) for places in slots]
    return replace(one, weights=torch.stack(rows, 1))


def _attributor(decoder: Decoder, source: Tensor, target: Sequence[int], rounds: Rounds) -> Attributor | None:
    if isinstance(decoder, Autoregressive):
        return SourceAttributor(decoder.network, source, target)
    if isinstance(decoder, NonAutoregressiveDecoder):
        return AtOnceAttributor(decoder, source, target, rounds)
    return None
