"""Fertilities of sentence pairs: the number of target pieces aligned with each source piece."""

from collections.abc import Sequence
from typing import Literal, get_args

from saccade.alignment.attention import aligned_by_attention
from saccade.alignment.counting import aligned_by_counting
from saccade.errors import ConfigError
from saccade.text.lines import require_pairs
from saccade.use.translator import Translator

Method = Literal["attention", "eflomal"]


def fertilities(
    translator: Translator,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    method: str = "attention",
    layer: int | None = None,
) -> list[list[int]]:
    """The fertility of each source piece of each pair, without end symbols; empty for an empty line.

    Pieces are those of the model; `eflomal` uses only its tokeniser. layer: see `aligned_by_attention`.
    Raises UserError for a line that is too long or has no partner, and TypeError unless both sides are lists
    of str.
    """
    check_method(method, layer)
    sources, targets = require_pairs(sources, targets)
    tokenizer = translator.tokenizer
    source_ids, target_ids = tokenizer.encode_source(sources), tokenizer.encode_target(targets)
    translator.checks().require_fit(source_ids, target_ids)
    if method == "attention":
        alignments = aligned_by_attention(translator, source_ids, target_ids, layer=layer)
    else:
        alignments = aligned_by_counting(source_ids, target_ids)
    return [counted(one, len(source) - 1) for one, source in zip(alignments, source_ids, strict=True)]


def check_method(method: str, layer: int | None) -> None:
    """Raises UserError for an unknown method, or for a layer with a method that has none."""
    if method not in get_args(Method):
        raise ConfigError(f"method {method}: allowed are {', '.join(get_args(Method))}.")
    if layer is not None and method != "attention":
        raise ConfigError("layer: only attention has layers; leave it out.")


def counted(alignment: Sequence[int], pieces: int) -> list[int]:
    """The number of occurrences of each source position, 0 to pieces - 1."""
    counts = [0] * pieces
    for position in alignment:
        counts[position] += 1
    return counts
