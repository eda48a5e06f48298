"""Alignment error rates on the included English-German pairs: by attention, counting, both, and position.

A row for each way to align: along the diagonal; by the model's attention, read from the heads that its
folder names or all heads of the last layer but one; by eflomal in either direction and by both directions
combined; and by attention combined with eflomal. eflomal learns from the text of --source and --target with
the included pairs behind it, so that these options and the extra `align` are needed for its rows. --heads
prints the error rate of every head instead.
"""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from benchmarks.common import show
from saccade.alignment.counting import both_ways
from saccade.alignment.error_rate import alignment_scores
from saccade.alignment.gold import GoldSet, included_gold
from saccade.alignment.heads import candidates
from saccade.alignment.symmetrisation import COMBINATIONS
from saccade.text.corpus import read_parallel
from saccade.text.pharaoh import Link
from saccade.use.translator import Translator

Alignments = Sequence[Collection[Link]]
Rows = list[dict[str, object]]


def gold_set() -> GoldSet:
    """The included English-German pairs."""
    found = included_gold("en", "de")
    assert found is not None
    return found


def diagonal(source: str, target: str) -> list[Link]:
    """A link of each target word to the source word at the same share of its sentence."""
    words, last = len(target.split()), len(source.split()) - 1
    return [(round(word * last / max(words - 1, 1)), word) for word in range(words)]


def alignments(
    translator: Translator, gold: GoldSet, text: tuple[Path, Path] | None
) -> dict[str, Alignments]:
    """The links of the gold set's pairs by each way to align; without text, those of eflomal are left out."""
    attended = translator.align(gold.sources, gold.targets)
    found: dict[str, Alignments] = {
        "along the diagonal": [diagonal(*pair) for pair in zip(gold.sources, gold.targets, strict=True)],
        "attention": attended,
    }
    if text is None:
        return found
    known = read_parallel(*text)
    sides = [[*own, *added] for own, added in zip(known, (gold.sources, gold.targets), strict=True)]
    # What comes last is the gold set.
    to_source, to_target = (links[-len(gold.sources) :] for links in both_ways(*sides))
    found |= {"eflomal, target to source": to_source, "eflomal, source to target": to_target}
    for name, own in (("eflomal", to_source), ("attention and eflomal", attended)):
        for combine, combined in COMBINATIONS.items():
            found[f"{name}, {combine}"] = [combined(*pair) for pair in zip(own, to_target, strict=True)]
    return found


def link_table(found: dict[str, Alignments], gold: GoldSet) -> Rows:
    """A row with the scores of each way to align."""
    scores = {name: alignment_scores(links, gold.links) for name, links in found.items()}
    return [
        {
            "links": name,
            "AER": f"{one.aer:.1%}",
            "precision": f"{one.precision:.1%}",
            "recall": f"{one.recall:.1%}",
        }
        for name, one in scores.items()
    ]


def head_table(translator: Translator, gold: GoldSet) -> Rows:
    """A row for each layer with the error rate of each of its heads, and of all of them together."""
    found = {(one.heads.layer, one.heads.heads): one.scores.aer for one in candidates(translator, gold)}
    rows: Rows = []
    for layer in sorted({layer for layer, _ in found}):
        heads = sorted(own for number, own in found if number == layer and own)
        row: dict[str, object] = {"layer": layer}
        row |= {f"head {head}": f"{found[layer, (head,)]:.1%}" for (head,) in heads}
        rows.append({**row, "all heads": f"{found.get((layer, ()), found[layer, heads[0]]):.1%}"})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--source", type=Path, help="English text for eflomal")
    parser.add_argument("--target", type=Path, help="its German translation")
    parser.add_argument("--heads", action="store_true", help="print the error rate of every head instead")
    parser.add_argument("--out", type=Path, help="append the rows to this JSONL file")
    options = parser.parse_args()
    if (options.source is None) != (options.target is None):
        parser.error("--source and --target go together")
    torch.set_num_threads(1)
    gold = gold_set()
    text = None if options.source is None else (options.source, options.target)
    for model in options.models:
        translator = Translator.load(model, device="cpu")
        if options.heads:
            rows, title = head_table(translator, gold), "alignment error rate of each head"
        else:
            rows, title = link_table(alignments(translator, gold, text), gold), "alignments"
        show(f"{title}, {model}", rows, options.out)


if __name__ == "__main__":
    main()
