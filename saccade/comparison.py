"""Comparing systems: significance by paired bootstrap (Koehn 2004), and the lines that differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from saccade.config import require_count
from saccade.errors import InputError
from saccade.evaluation import bleu_metric
from saccade.text.lines import require_lines
from saccade.text.scripts import bleu_tokenizer

MOST_SAMPLES = 100_000
"""Bound of the bootstrap resamples."""


@dataclass(frozen=True)
class Measured:
    """A score from 0 to 100 with its confidence.

    interval: half of the 95% bootstrap interval; p: p-value of the difference from the baseline, or None.
    """

    score: float
    interval: float
    p: float | None


@dataclass(frozen=True)
class SystemScores:
    """The scores of a system."""

    name: str
    bleu: Measured
    chrf: Measured


@dataclass(frozen=True)
class Difference:
    """A line, counted from 1, that the baseline and another system translate differently.

    more_references: the line of each further reference.
    """

    line: int
    system: str
    source: str | None
    reference: str
    baseline_text: str
    text: str
    baseline_chrf: float
    chrf: float
    more_references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All systems, the baseline first; the lines that differ most; sacreBLEU's signatures of the scores."""

    systems: tuple[SystemScores, ...]
    differences: tuple[Difference, ...]
    signatures: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The comparison in JSON types."""
        return asdict(self)


def compare(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    more_references: Sequence[Sequence[str]] = (),
    sources: Sequence[str] | None = None,
    tokenize: str | None = None,
    lowercase: bool = False,
    samples: int = 1000,
    most: int = 5,
) -> Comparison:
    """Compares each system, name to lines, with the first one by `samples` bootstrap resamples.

    more_references, tokenize, lowercase: as in `score_text`. most: number of differing lines to return;
    sources: source lines to return with them. The resamples are the same in every call (sacreBLEU's seed).
    Raises UserError if line counts differ or there is nothing to compare.
    """
    systems = {name: require_lines(lines, f"systems[{name!r}]") for name, lines in systems.items()}
    references = require_lines(references, "references")
    sources = None if sources is None else require_lines(sources, "sources")
    require_count(samples, "samples", most=MOST_SAMPLES)
    if not references:
        raise InputError("nothing to compare: the reference is empty.")
    every = [list(references), *map(list, more_references)]
    for name, lines in [*systems.items(), *(("a further reference", own) for own in every[1:])]:
        if len(lines) != len(references):
            raise InputError(f"{name}: {len(lines):,} lines, but the reference has {len(references):,}.")
    bleu = bleu_metric(tokenize or bleu_tokenizer(references), lowercase=lowercase)
    metrics = {"BLEU": bleu, "chrF": CHRF(lowercase=lowercase)}
    named: list[tuple[str, Sequence[str]]] = [(name, list(lines)) for name, lines in systems.items()]
    test = PairedTest(named, metrics, every, test_type="bs", n_samples=samples)
    signatures, results = test()
    same = [lines == named[0][1] for _, lines in named]
    scores = [
        [_measured(result, same=equal) for result, equal in zip(found, same, strict=True)]
        for name, found in results.items()
        if name != "System"
    ]
    return Comparison(
        systems=tuple(
            SystemScores(name, bleu, chrf) for name, bleu, chrf in zip(systems, *scores, strict=True)
        ),
        differences=tuple(_differences(systems, every, sources, lowercase=lowercase)[:most] if most else ()),
        signatures=tuple(f"{name}: {signature}" for name, signature in signatures.items()),
    )


def _measured(result: Any, *, same: bool) -> Measured:
    p = None if result.p_value is None else float(result.p_value)
    if p is not None and same:
        p = 1.0  # sacreBLEU would report equal outputs as a certain difference
    return Measured(float(result.score), float(result.ci), p)


def _differences(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    sources: Sequence[str] | None,
    *,
    lowercase: bool,
) -> list[Difference]:
    """All differing lines of all systems, those with the largest difference in sentence chrF first."""
    (_, baseline), *others = systems.items()
    chrf = CHRF(lowercase=lowercase)

    def measure(text: str, own: Sequence[str]) -> float:
        return float(chrf.sentence_score(text, own).score)

    found = []
    for name, lines in others:
        for index, (first, second, *own) in enumerate(zip(baseline, lines, *references, strict=True)):
            if first == second:
                continue
            scores = measure(first, own), measure(second, own)
            source = None if sources is None else sources[index]
            found.append(Difference(index + 1, name, source, own[0], first, second, *scores, tuple(own[1:])))
    return sorted(found, key=lambda line: -abs(line.chrf - line.baseline_chrf))
