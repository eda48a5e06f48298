"""Tying of an encoder-decoder's matrices: the embeddings and the output layer."""

from typing import Literal

from torch import nn

from saccade.nn.embedding import Embedding

Tying = Literal["all", "target", "none"]
"""Matrices that are shared. all: source, target and output; target: target and output; none: no matrix."""


def resolve_tying(setting: Tying | None, *, shared: bool) -> Tying:
    """Returns the setting or, if it is None, as much tying as the vocabulary allows.

    shared: whether source and target have one vocabulary. Raises ValueError for "all" if they have not.
    """
    if setting == "all" and not shared:
        raise ValueError("tied_embeddings = all needs one vocabulary for source and target")
    return setting or ("all" if shared else "target")


def tie(tying: Tying, *, output: nn.Linear, source: nn.Module, target: Embedding | None) -> None:
    """Ties the matrices; target is None in a model that embeds no target tokens.

    source: an `Embedding` if it is tied.
    """
    if target is None:
        if tying == "all":
            assert isinstance(source, Embedding)
            output.weight = source.tokens.weight
        return
    if tying == "all":
        assert isinstance(source, Embedding)
        source.tokens.weight = target.tokens.weight
    if tying != "none":
        output.weight = target.tokens.weight
