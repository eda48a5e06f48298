from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.decoding.limits import Limits
from saccade.decoding.options import Rules
from tests.reference import search as reference
from tests.reference.search import allowed

VOCABULARY, END = 6, 1


@given(st.data())
def test_what_may_follow_is_what_the_rules_say_one_by_one(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 4))
    rules = [
        reference.Rules(
            end=END,
            max_length=data.draw(st.integers(length + 1, 6)),
            banned=(0, 2),
            min_length=data.draw(st.integers(0, 3)),
            prefix=tuple(data.draw(st.lists(st.integers(3, 5), max_size=3))),
        )
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    longest = max(len(rule.prefix) for rule in rules)
    prefix = [[*rule.prefix, *[-1] * (longest - len(rule.prefix))] for rule in rules]
    limits = Limits(
        max_length=torch.tensor([rule.max_length for rule in rules]),
        prefix=torch.tensor(prefix, dtype=torch.int64).view(len(rules), longest),
        end=END,
        banned=torch.tensor([0, 2]),
        min_length=torch.tensor([rule.min_length for rule in rules]),
    )
    log_probs = torch.randn(len(rules), 2, VOCABULARY, dtype=torch.float64)
    values = log_probs.tolist()
    applied = limits.apply(log_probs, length=length)
    for sentence, rule in enumerate(rules):
        for hypothesis in range(2):
            row = values[sentence][hypothesis]
            expected = allowed(lambda *_, row=row: row, (), (9,) * length, rule)
            assert applied[sentence, hypothesis].tolist() == expected


def test_rules_stay_with_their_sentences_when_others_leave() -> None:
    limits = Limits(
        max_length=torch.tensor([1, 2, 3]),
        min_length=torch.tensor([0, 1, 2]),
        prefix=torch.tensor([[3, -1], [-1, -1], [4, 5]]),
        end=END,
        banned=torch.tensor([0]),
    ).select(torch.tensor([0, 2]))
    assert limits.max_length.tolist() == [1, 3]
    assert limits.min_length.tolist() == [0, 2]
    assert limits.prefix.tolist() == [[3, -1], [4, 5]]


def test_what_is_allowed_keeps_its_own_log_probability() -> None:
    """A score is the model's score of the whole target: nothing is normalised anew."""
    limits = Limits(
        max_length=torch.tensor([9]),
        min_length=torch.tensor([0]),
        prefix=torch.tensor([[4]]),
        end=END,
        banned=torch.tensor([0]),
    )
    log_probs = torch.randn(1, 1, VOCABULARY).log_softmax(-1)
    forced = float(log_probs[0, 0, 4])
    applied = limits.apply(log_probs, length=0)[0, 0]
    assert float(applied[4]) == forced < 0
    assert applied.tolist().count(-math.inf) == VOCABULARY - 1


def limits(rules: Rules, **changes: Any) -> Limits:
    settings = {
        "max_length": torch.tensor([9]),
        "min_length": torch.tensor([0]),
        "prefix": torch.zeros(1, 0, dtype=torch.int64),
        "end": END,
        "banned": torch.tensor([0, 2]),
        "rules": rules,
    }
    return Limits(**{**settings, **changes})


@pytest.mark.parametrize("rules", ["free", "renormalized"])
def test_forced_tokens_can_count_nothing(rules: Rules) -> None:
    log_probs = torch.randn(1, 2, VOCABULARY).log_softmax(-1)
    forced = limits(rules, prefix=torch.tensor([[4]])).apply(log_probs.clone(), length=0)
    at_the_end = limits(rules, max_length=torch.tensor([1])).apply(log_probs.clone(), length=0)
    for applied, token in ((forced, 4), (at_the_end, END)):
        assert applied[..., token].tolist() == [[0.0, 0.0]]
        assert torch.isneginf(applied).sum() == 2 * (VOCABULARY - 1)


def test_renormalized_is_the_softmax_of_what_may_be_written() -> None:
    logits = torch.randn(1, 2, VOCABULARY, dtype=torch.float64)
    applied = limits("renormalized").apply(logits.log_softmax(-1), length=0)
    expected = logits.clone()
    expected[..., [0, 2]] = -math.inf
    torch.testing.assert_close(applied, expected.log_softmax(-1))


def test_free_leaves_what_is_not_forced_as_it_is() -> None:
    log_probs = torch.randn(1, 2, VOCABULARY).log_softmax(-1)
    plain, free = (limits(rules).apply(log_probs.clone(), length=0) for rules in ("plain", "free"))
    assert torch.equal(plain, free)
