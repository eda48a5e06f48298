"""The heads of a model that align best, chosen on gold alignments."""

from typing import NamedTuple

from saccade.alignment.error_rate import AlignmentScores, alignment_scores
from saccade.alignment.gold import GoldSet
from saccade.errors import InputError, Unsupported
from saccade.model_folder.heads import AlignmentHeads
from saccade.text.pharaoh import Link
from saccade.use.aligning import chosen_weights, links_by
from saccade.use.translator import Translator


class Candidate(NamedTuple):
    """Heads and how well they align."""

    heads: AlignmentHeads
    scores: AlignmentScores


def candidates(translator: Translator, gold: GoldSet) -> list[Candidate]:
    """Every head of every layer, and all heads of each layer together, with the lowest error rate first.

    Of equal ones, the lower layer and the lower head come first. Raises UserError for a model that does not
    align, and for a gold set of which no pair has words on both sides.
    """
    links: dict[AlignmentHeads, list[tuple[Link, ...]]] = {}
    known = []
    for row, layers in translator.word_weights(gold.sources, gold.targets):
        known.append(gold.links[row])
        for heads in _all_heads([len(layer) for layer in layers], gold.name):
            links.setdefault(heads, []).append(links_by(chosen_weights(layers, heads)))
    if not known:
        raise InputError(f"{gold.name}: no pair has words on both sides.")
    found = [Candidate(heads, alignment_scores(own, known)) for heads, own in links.items()]
    if not found:
        raise Unsupported("this model has no cross-attention to align by.")
    return sorted(found, key=lambda one: one.scores.aer)


def _all_heads(layers: list[int], name: str) -> list[AlignmentHeads]:
    chosen = []
    for layer, count in enumerate(layers, start=1):
        chosen += [AlignmentHeads(layer, (head,), name) for head in range(1, count + 1)]
        if count > 1:
            chosen.append(AlignmentHeads(layer, (), name))
    return chosen
