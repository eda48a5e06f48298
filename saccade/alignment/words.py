"""Word alignments of a text by attention, by counting, and by both."""

from collections.abc import Collection, Sequence
from typing import Literal, get_args

from saccade.alignment.counting import both_ways
from saccade.alignment.symmetrisation import COMBINATIONS
from saccade.errors import ConfigError
from saccade.model_folder.heads import AlignmentHeads
from saccade.text.lines import require_pairs
from saccade.text.pharaoh import Link
from saccade.use.translator import Translator

Method = Literal["attention", "eflomal", "both"]


def align_words(
    translator: Translator,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    method: str = "attention",
    combine: str = "grow-diag-final-and",
    heads: AlignmentHeads | None = None,
) -> list[Collection[Link]]:
    """The links of the words of each pair; none where a side is empty.

    method: attention links each target word with one source word; eflomal combines its alignments in both
    directions; both combines the links of attention with those of eflomal from each source word to one target
    word. combine: see `COMBINATIONS`. heads: see `Translator.align`. Raises UserError for an unknown method,
    unequal counts and a line that is too long, and if eflomal is needed and not installed.
    """
    check_words(method, combine, heads)
    sources, targets = require_pairs(sources, targets)
    if method == "attention":
        return list(translator.align(sources, targets, heads=heads))
    to_source, to_target = both_ways(sources, targets)
    if method == "both":
        to_source = translator.align(sources, targets, heads=heads)
    return [COMBINATIONS[combine](*one) for one in zip(to_source, to_target, strict=True)]


def check_words(method: str, combine: str, heads: AlignmentHeads | None) -> None:
    """Raises UserError for an unknown method or combination, or for heads with a method that has none."""
    if method not in get_args(Method):
        raise ConfigError(f"method {method}: allowed are {', '.join(get_args(Method))}.")
    if combine not in COMBINATIONS:
        raise ConfigError(f"combine {combine}: allowed are {', '.join(COMBINATIONS)}.")
    if heads is not None and method == "eflomal":
        raise ConfigError("layer: only attention has layers and heads; leave them out.")
