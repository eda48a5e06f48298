"""Warnings about the text of a run: repeated and untranslated lines, overlaps, languages and scripts."""

from collections.abc import Iterator, Mapping

from saccade.text.language_id import alike, share_in
from saccade.text.repeats import MANY_TARGETS, LineRepeats
from saccade.text.report import DataReport

_SAME = 0.01
"""Share of pairs. Names are alike in most languages; but with 1 or 2% of copied sentences, beam search
prefers copies, and with 5% or more most translations suffer (Ott et al. 2018, Khayrallah and Koehn 2018)."""
_REPEATED = 0.1  # share of pairs; large collections of clean text have a few percent
_AMBIGUOUS = 0.1
_NEAR = 0.05  # share of validation pairs, over twice the share of training pairs that are near to another one
_LINES_REPEATED = 0.2
_LINES_FOUND = 0.05
_FEW = 3  # pairs or lines: fewer are no share
_IN_LANGUAGE = 0.5  # share of samples
_IN_ANOTHER = 0.2
_TOKENS_NEEDED = ("13a", "intl", "none")  # tokenisers that leave words without blanks whole


def on_repeats(report: DataReport) -> Iterator[str]:
    """Warnings of training pairs that are not translated, occur again, or contradict one another."""
    found, kept = report.repeats, report.train.kept
    about = "" if found.exact else "about "
    if _many(found.same, of=kept, share=_SAME):
        yield (
            f"source and target are the same in {found.same:,} of {kept:,} pairs, for example "
            f"{found.same_places[0]}: the model will learn to copy. Remove them, or check that the files are "
            "the right ones."
        )
    if _many(found.repeated, of=kept, share=_REPEATED):
        yield (
            f"{about}{found.repeated:,} of {kept:,} pairs repeat an earlier pair: they count several times. "
            "Remove the duplicates, unless they are meant."
        )
    if _many(found.ambiguous, of=kept, share=_AMBIGUOUS):
        yield (
            f"{about}{found.ambiguous:,} of {kept:,} pairs have a source with more than {MANY_TARGETS} "
            f'different targets, for example "{found.example[:60]}": the model can learn none well. Keep few.'
        )


def on_overlaps(report: DataReport) -> Iterator[str]:
    """Warnings of validation and test pairs in the training text."""
    for name, found in report.duplicates.items():
        if found.pairs:
            yield (
                f"{found.pairs:,} of {found.checked:,} {name} pairs are also in the training text: scores on "
                "them mean nothing. Remove them from the training text."
            )
        if found.folded or _many(found.near, of=found.checked, share=_NEAR + 2 * found.usual):
            yield (
                f"{found.folded + found.near:,} of {found.checked:,} {name} pairs are nearly the same as "
                f"training pairs, for example {found.near_places[0]}: scores on them are too high. Remove "
                "those pairs from the training text."
            )


def on_lines(found: LineRepeats) -> Iterator[str]:
    """Warnings of lines of running text that occur again, in the text or in its validation text."""
    about = "" if found.exact else "about "
    if _many(found.repeated, of=found.lines, share=_LINES_REPEATED):
        yield (
            f"{about}{found.repeated:,} of {found.lines:,} long lines repeat an earlier line: the model will "
            "learn them by heart. Remove the duplicates."
        )
    if _many(found.valid_found, of=found.valid_lines, share=_LINES_FOUND):
        yield (
            f"{found.valid_found:,} of {found.valid_lines:,} long validation lines are also in the training "
            "text: scores on them mean nothing. Remove them from the training text."
        )


def on_languages(named: Mapping[str, str], found: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Warnings of text that is not in the language that the configuration names.

    named: languages by side; found: number of samples by side and language.
    """
    shares = {side: share_in(code, found.get(side, {})) for side, code in named.items()}
    wrong = [side for side, share in shares.items() if share is not None and share < _IN_LANGUAGE]
    if len(wrong) == 2 and all(
        _main(found["source" if side == "target" else "target"], named[side]) for side in wrong
    ):
        yield (
            f"the sides seem to be swapped: the source is in {_most(found['source'])} and the target in "
            f"{_most(found['target'])}, but data.source_language = {named['source']} and "
            f"data.target_language = {named['target']}."
        )
        return
    for side, share in shares.items():
        if share is None:
            continue
        own = alike(named[side])
        others = {code: count for code, count in found[side].items() if code not in own}
        total = sum(found[side].values())
        if side in wrong or max(others.values(), default=0) > _IN_ANOTHER * total:
            yield (
                f"{1 - share:.0%} of the {side} text seems to be in another language than "
                f"data.{side}_language = {named[side]}, most of that in {_most(others)}. Check the files, "
                "or remove those pairs."
            )


def on_scores(report: DataReport) -> Iterator[str]:
    """A warning of a tokeniser of BLEU that does not fit the script of the validation text."""
    if report.fitting not in (None, "13a") and report.tokenize in _TOKENS_NEEDED:
        yield (
            f"validation.tokenize = {report.tokenize}, but the target text has no blanks between words, so "
            f"BLEU will count a whole sentence as one word. Leave it out, or set it to {report.fitting}."
        )


def _many(count: int, *, of: int, share: float) -> bool:
    return count >= _FEW and count > share * of


def _main(found: Mapping[str, int], code: str) -> bool:
    """Whether most samples are in a language."""
    share = share_in(code, found)
    return share is not None and share >= _IN_LANGUAGE


def _most(found: Mapping[str, int]) -> str:
    return max(found, key=lambda code: found[code])
