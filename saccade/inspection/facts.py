"""The facts about a model that a record holds. They contain no paths and nothing about its training data."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from saccade.models.recording import AttentionMap


def facts(network: nn.Module | None, maps: Iterable[AttentionMap]) -> dict[str, Any]:
    """The kind of model, the number of its parameters, and the heads of each layer of each kind of map."""
    found: dict[str, Any] = {}
    if network is not None:
        config: Any = getattr(network, "config", None)
        if config is not None:
            found["kind"] = config.kind
            scheme = getattr(config, "decoder", None)
            if isinstance(scheme, str):
                found["decoder"] = scheme
        found["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    attention: dict[str, list[int]] = {}
    for one in maps:
        attention.setdefault(one.kind, []).append(one.heads)
    found["attention"] = attention
    return found
