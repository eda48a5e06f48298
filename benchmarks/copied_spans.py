"""How much of a source's markup a translation reproduces: spans of code and roles of reStructuredText.

    python -m benchmarks.copied_spans SOURCE REFERENCE TRANSLATION [TRANSLATION ...] --train TRAIN

A span is ``code`` or :role:`target`. Of the spans that a source and its reference share, the table gives the
part that the translation has, too, each as often as the other two. Spans that do not occur in TRAIN, which a
model cannot have learned, also have a column of their own.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.common import show
from saccade.text.reading import read_text

SPAN = re.compile(r"``[^`]+``|:[a-z0-9:+-]+:`[^`]+`")


def spans(line: str) -> Counter[str]:
    """The spans of a line, with their numbers."""
    return Counter(SPAN.findall(line))


def copied(
    sources: Sequence[str], references: Sequence[str], translations: Sequence[str], known: Iterable[str]
) -> dict[str, str]:
    """The share of spans that are reproduced, of all and of those that `known` lacks."""
    seen = set(known)
    total: Counter[str] = Counter()
    for source, reference, translation in zip(sources, references, translations, strict=True):
        wanted = spans(source) & spans(reference)
        found = wanted & spans(translation)
        for span, count in wanted.items():
            for name in ("spans", *(() if span in seen else ("new spans",))):
                total[name] += count
                total[f"{name} found"] += found[span]
    return {name: _share(total[f"{name} found"], total[name]) for name in ("spans", "new spans")}


def _share(found: int, count: int) -> str:
    return f"{found / count:.1%} of {count:,}" if count else "none"


def main() -> None:
    """Prints a row for each translation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("translations", type=Path, nargs="+", metavar="translation")
    parser.add_argument("--train", type=Path, required=True, help="the source side of the training text")
    options = parser.parse_args()
    known = {span for line in read_text(options.train) for span in spans(line)}
    files = [options.source, options.reference, *options.translations]
    sources, references, *translations = ([*read_text(file)] for file in files)
    for file, lines in zip(options.translations, translations, strict=True):
        if not len(sources) == len(references) == len(lines):
            parser.error(f"{file} has {len(lines):,} lines, {options.source} has {len(sources):,}")
    rows = [
        {"translation": file.name, **copied(sources, references, lines, known)}
        for file, lines in zip(options.translations, translations, strict=True)
    ]
    show("Spans reproduced", rows, None)


if __name__ == "__main__":
    main()
