"""Which matrices of an encoder-decoder are one: the embeddings and the output layer."""

from typing import Literal

from torch import nn

from saccade.nn.embedding import Embedding

Tying = Literal["all", "target", "none"]
"""all: source, target and output are one matrix; target: target and output; none: each has its own."""


def resolve_tying(setting: Tying | None, *, shared: bool) -> Tying:
    """Returns the setting, or, where it is None, everything that the vocabulary allows.

    shared: whether source and target have one vocabulary. Raises ValueError where "all" needs one.
    """
    if setting == "all" and not shared:
        raise ValueError("tied_embeddings = all needs one vocabulary for source and target")
    return setting or ("all" if shared else "target")


def tie(tying: Tying, *, output: nn.Linear, source: Embedding, target: Embedding | None) -> None:
    """Makes the matrices one; target is None in a model that embeds no target tokens."""
    if target is None:
        if tying == "all":
            output.weight = source.tokens.weight
        return
    if tying == "all":
        source.tokens.weight = target.tokens.weight
    if tying != "none":
        output.weight = target.tokens.weight
