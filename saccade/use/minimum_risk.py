"""Minimum-Bayes-risk decoding: of several translations, the one that agrees most with the others.

The expected utility of a translation is the mean of its score, by chrF or BLEU, against all translations of
the line as references (Kumar and Byrne 2004; with samples, Eikema and Aziz 2020).
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import Utility
from saccade.text.scripts import bleu_tokenizer

Matrix = NDArray[np.float64]
_CHARACTERS, _BETA = 6, 2.0  # chrF2 of sacreBLEU
_WORDS = 4


def by_minimum_risk(
    hypotheses: Sequence[Hypothesis], texts: Sequence[str], *, utility: Utility, sampled: bool
) -> list[Hypothesis]:
    """The hypotheses of a line, the greatest expected utility first; equals stay in their order.

    texts: theirs. sampled: samples count alike, and equal ones several times; the hypotheses of a beam count
    by their probabilities.
    """
    distinct = list(dict.fromkeys(texts))
    place = {text: number for number, text in enumerate(distinct)}
    weights = np.zeros(len(distinct))
    most = max((one.log_prob for one in hypotheses), default=0.0)
    for one, text in zip(hypotheses, texts, strict=True):
        weights[place[text]] += 1.0 if sampled else np.exp(one.log_prob - most)
    expected = utilities(distinct, utility) @ weights
    order = sorted(range(len(texts)), key=lambda number: -expected[place[texts[number]]])
    return [hypotheses[number] for number in order]


def utilities(texts: Sequence[str], utility: Utility) -> Matrix:
    """The score of each text (rows) with each as its reference (columns), as sacreBLEU's `sentence_score`.

    BLEU has effective order, exponential smoothing and the tokeniser that fits the script.
    """
    if utility == "chrf":
        return _chrf(["".join(text.split()) for text in texts])
    split = _bleu(bleu_tokenizer(texts)).tokenizer
    return _sentence_bleu([split(text.rstrip()).split() for text in texts])


def _chrf(texts: Sequence[str]) -> Matrix:
    """chrF of texts without blanks."""
    precision, recall, orders = (np.zeros((len(texts),) * 2) for _ in range(3))
    for total, matches in _matches(texts, _CHARACTERS):
        both = (total[:, None] > 0) & (total[None] > 0)
        precision += np.where(both, matches / np.maximum(total[:, None], 1), 0.0)
        recall += np.where(both, matches / np.maximum(total[None], 1), 0.0)
        orders += both
    precision, recall = (sums / np.maximum(orders, 1) for sums in (precision, recall))
    divisor = _BETA**2 * precision + recall
    found: Matrix = 100 * (1 + _BETA**2) * precision * recall / np.where(divisor > 0, divisor, 1.0)
    return found


def _sentence_bleu(texts: Sequence[Sequence[str]]) -> Matrix:
    """BLEU of texts in words."""
    count = len(texts)
    logs, smooth, any_match = (
        np.zeros((count, count)),
        np.ones((count, count)),
        np.zeros((count, count), bool),
    )
    orders = np.zeros((count, 1))
    for total, matches in _matches(texts, _WORDS):
        exists, none = (total > 0)[:, None], matches == 0
        smooth = np.where(exists & none, 2 * smooth, smooth)
        share = np.where(none, 1 / smooth, matches) / np.maximum(total, 1)[:, None]
        logs += np.where(exists, np.log(share), 0.0)
        orders += exists
        any_match |= ~none
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    brevity = np.exp(np.minimum(0.0, 1 - lengths[None] / np.maximum(lengths, 1)[:, None]))
    found: Matrix = np.where(any_match, 100 * brevity * np.exp(logs / np.maximum(orders, 1)), 0.0)
    return found


def _matches(texts: Sequence[Sequence[str]], most: int) -> Iterator[tuple[Matrix, Matrix]]:
    """For n-grams of 1 to `most`: their number in each text, and how many each two texts have in common.

    A repeated n-gram is taken as a column for each time: the product of the two 0/1 rows is then the sum of
    the smaller counts.
    """
    for n in range(1, most + 1):
        columns: dict[tuple[Any, int], int] = {}
        rows: list[list[int]] = []
        for text in texts:
            seen: dict[Any, int] = {}
            own = []
            for at in range(len(text) - n + 1):
                gram = text[at : at + n] if isinstance(text, str) else tuple(text[at : at + n])
                seen[gram] = seen.get(gram, 0) + 1
                own.append(columns.setdefault((gram, seen[gram]), len(columns)))
            rows.append(own)
        table = np.zeros((len(texts), len(columns)), dtype=np.float32)
        for number, own in enumerate(rows):
            table[number, own] = 1.0
        yield table.sum(1, dtype=np.float64), (table @ table.T).astype(np.float64)


@functools.cache
def _bleu(tokenize: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenize, effective_order=True)
