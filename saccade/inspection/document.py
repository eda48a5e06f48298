"""Records as one JSON document, which `docs/explorer.md` describes and the page reads."""

import base64
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from saccade.inspection.record import Attribution, Inspection, Passes, Search, Written
from saccade.inspection.seen import Seen
from saccade.inspection.words import Tokens
from saccade.models.recording import AttentionMap

FORMAT, VERSION = "saccade-inspection", 1
LEVELS = 65535
"""Weights are stored as whole numbers of 16 bits, n for n / 65535, so that they are off by at most 7.7e-6."""
DIGITS = 5
"""Digits behind the point of every other number, in nats."""


def document(records: Sequence[Inspection]) -> dict[str, Any]:
    """The records in JSON types, with the format's name and version."""
    return {"format": FORMAT, "version": VERSION, "records": [_record(one) for one in records]}


def _record(one: Inspection) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": one.name,
        "model": dict(one.model),
        "source": one.source,
        "output": one.output,
        "given": one.given,
        "tokens": {side: _tokens(tokens) for side, tokens in one.tokens.items()},
        "written": one.written,
        "memory": one.memory,
        "maps": [
            {**_map(kept), "queries": queries, "keys": keys}
            for kept, (queries, keys) in zip(one.maps, one.sides, strict=True)
        ],
        "hypotheses": [_hypothesis(hypothesis) for hypothesis in one.hypotheses],
        "attributions": [_attribution(attribution) for attribution in one.attributions],
        "absent": dict(one.absent),
    }
    if one.log_probs is not None:
        found["log_probs"] = _rounded(one.log_probs)
    if one.fertilities is not None:
        found["fertilities"] = list(one.fertilities)
    if one.places is not None:
        found["places"] = list(one.places)
    if one.picture is not None:
        found["picture"] = _picture(one.picture)
    if one.search is not None:
        found["search"] = _search(one.search)
    if one.passes is not None:
        found["rounds"] = _rounds(one.passes)
    if one.passes is not None and one.passes.slots is not None:
        found["slots"] = [list(places) for places in one.passes.slots]
    return found


def _tokens(one: Tokens) -> dict[str, Any]:
    return {"pieces": list(one.pieces), "numbers": list(one.numbers), "words": list(one.words)}


def _picture(one: Seen) -> dict[str, Any]:
    return {
        "shape": list(one.values.shape),
        "values": base64.b64encode(one.values.tobytes()).decode("ascii"),
        "square": one.square,
        "boxes": [[list(box) for box in boxes] for boxes in one.boxes],
    }


def _map(one: AttentionMap) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "layer": one.layer,
        "shape": list(one.weights.shape),
        "weights": packed(one.weights),
    }


def packed(weights: Tensor) -> str:
    """Weights between 0 and 1 as base64 of little-endian 16-bit numbers, in the order of the axes."""
    levels = (weights.double().clamp(0, 1) * LEVELS).round().numpy().astype("<u2")
    return base64.b64encode(levels.tobytes()).decode("ascii")


def unpacked(data: str, shape: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The weights that `packed` stored, float64 of this shape."""
    return np.frombuffer(base64.b64decode(data), "<u2").reshape(shape) / LEVELS


def _search(search: Search) -> dict[str, Any]:
    steps = [
        [
            {
                "parent": candidate.parent,
                "piece": search.pieces[candidate.token],
                "log_prob": _round(candidate.log_prob),
                "total": _round(candidate.total),
                "fate": candidate.fate,
                "place": candidate.place,
            }
            for candidate in step
        ]
        for step in search.trace.steps
    ]
    return {"steps": steps}


def _rounds(passes: Passes) -> list[dict[str, Any]]:
    return [
        {
            "pieces": [passes.pieces[token] for token in one.tokens],
            "log_probs": _rounded(one.log_probs),
            "written": list(one.written),
            "candidates": [
                [{"piece": passes.pieces[token], "log_prob": _round(value)} for token, value in own]
                for own in one.candidates
            ],
        }
        for one in passes.rounds
    ]


def _hypothesis(one: Written) -> dict[str, Any]:
    return {
        "text": one.text,
        "pieces": list(one.pieces),
        "log_prob": _round(one.log_prob),
        "score": _round(one.score),
        "path": list(one.path),
    }


def _attribution(one: Attribution) -> dict[str, Any]:
    return {
        "method": one.method,
        "side": one.side,
        "values": [_rounded(row) for row in one.values.tolist()],
        "correlations": [
            {"kind": found.kind, "layer": found.layer, "values": [_round(value) for value in found.values]}
            for found in one.correlations
        ],
    }


def _rounded(values: Iterable[float]) -> list[float | None]:
    return [_round(value) for value in values]


def _round(value: float | None) -> float | None:
    """A number of the document; JSON has no infinity and no NaN, which become null."""
    return None if value is None or not math.isfinite(value) else round(value, DIGITS)
