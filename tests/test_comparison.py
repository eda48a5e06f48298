"""Paired bootstrap: against a plain reimplementation, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from saccade.comparison import compare
from saccade.errors import UserError

REFERENCES = [f"the {n} small dogs run over the {n} green hills today" for n in range(30)]
FIRST = [line.replace("small", "little") if n % 3 else line for n, line in enumerate(REFERENCES)]
SECOND = [line.replace("hills", "mountains") if n % 2 else line for n, line in enumerate(REFERENCES)]


def bootstrap(first: list[str], second: list[str], *, samples: int, seed: int) -> float:
    """Koehn's test as Moses has it: how often do resampled differences, centred, pass the real one?"""

    def bleu(lines: list[str], chosen: np.ndarray) -> float:
        return BLEU().corpus_score([lines[i] for i in chosen], [[REFERENCES[i] for i in chosen]]).score

    everything = np.arange(len(REFERENCES))
    real = abs(bleu(first, everything) - bleu(second, everything))
    draws = np.random.default_rng(seed).choice(len(REFERENCES), size=(samples, len(REFERENCES)), replace=True)
    differences = np.array([abs(bleu(second, draw) - bleu(first, draw)) for draw in draws])
    return float((np.sum(differences - differences.mean() > real) + 1) / (samples + 1))


def test_p_is_that_of_a_plain_bootstrap() -> None:
    found = compare({"a": FIRST, "b": SECOND}, REFERENCES, samples=50)
    assert found.systems[1].bleu.p == pytest.approx(bootstrap(FIRST, SECOND, samples=50, seed=12345))
    assert found.systems[0].bleu.score == pytest.approx(BLEU().corpus_score(FIRST, [REFERENCES]).score)


def test_equal_systems_do_not_differ() -> None:
    found = compare({"a": FIRST, "b": list(FIRST)}, REFERENCES, samples=20)
    assert found.systems[1].bleu.p == 1.0 and found.systems[1].chrf.p == 1.0
    assert found.differences == ()


def test_the_lines_that_differ_most_come_first_in_either_direction() -> None:
    second = list(FIRST)
    second[4], second[8] = "nothing of the kind", REFERENCES[8]
    found = compare({"a": FIRST, "b": second}, REFERENCES, sources=REFERENCES, samples=10)
    assert [line.line for line in found.differences] == [5, 9]
    worse, better = found.differences
    assert worse.chrf < worse.baseline_chrf and better.chrf == 100.0
    assert (better.source, better.baseline_text) == (REFERENCES[8], FIRST[8])


def test_several_systems_are_each_compared_with_the_first() -> None:
    found = compare({"a": FIRST, "b": SECOND, "c": REFERENCES}, REFERENCES, samples=20, most=2)
    assert [system.name for system in found.systems] == ["a", "b", "c"]
    assert found.systems[2].chrf.score == 100.0
    assert len(found.differences) == 2
    assert found.as_dict()["systems"][0]["bleu"]["p"] is None


def test_counts_must_agree() -> None:
    with pytest.raises(UserError, match="b: 29 lines, but the reference has 30"):
        compare({"a": FIRST, "b": SECOND[:-1]}, REFERENCES)
    with pytest.raises(UserError, match="empty"):
        compare({"a": [], "b": []}, [])
