"""`Beam` alone: a value, advanced with probabilities that can be followed with a pencil."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from saccade.decoding.beam import Beam
from saccade.decoding.options import Penalty

END = 1


def start(sentences: int = 1, *, size: int = 2, penalty: Penalty = "power", alpha: float = 0.0) -> Beam:
    return Beam.start(sentences, size=size, end=END, penalty=penalty, alpha=alpha, device=torch.device("cpu"))


def logs(*rows: list[float]) -> Tensor:
    return torch.tensor([rows]).log()


def test_the_best_extensions_live_on_and_rows_say_what_they_continue() -> None:
    beam, rows = start().advance(logs([0.0, 0.1, 0.5, 0.4]))
    assert beam.tokens.tolist() == [[[2], [3]]]
    assert rows.tolist() == [[0, 0]]
    assert beam.last.tolist() == [2, 3]
    # Both best extensions continue the second hypothesis.
    beam, rows = beam.advance(logs([0.7, 0.1, 0.1, 0.1], [0.0, 0.0, 0.5, 0.5]))
    assert rows.tolist() == [[0, 1]]  # 0.5 * 0.7 = 0.35 before 0.4 * 0.5 = 0.2
    beam, rows = beam.advance(logs([0.1, 0.1, 0.1, 0.1], [0.0, 0.0, 0.9, 0.1]))
    assert rows.tolist() == [[1, 0]]
    assert beam.tokens.tolist()[0][0] == [3, 2, 2]
    assert math.exp(float(beam.log_probs[0, 0])) == pytest.approx(0.4 * 0.5 * 0.9)


def test_rows_count_the_hypotheses_of_all_sentences() -> None:
    beam, rows = start(sentences=3).advance(logs([0.0, 0.1, 0.5, 0.4]).expand(3, -1, -1))
    assert rows.tolist() == [[0, 0], [1, 1], [2, 2]]
    _, rows = beam.advance(torch.rand(3, 2, 4).log())
    assert [[row // 2 for row in sentence] for sentence in rows.tolist()] == [[0, 0], [1, 1], [2, 2]]


def test_an_ending_counts_only_among_the_best() -> None:
    third, _ = start().advance(logs([0.0, 0.2, 0.5, 0.3]))
    assert third.results(0) == []
    second, _ = start().advance(logs([0.0, 0.3, 0.5, 0.2]))
    assert [one.tokens for one in second.results(0)] == [()]
    assert second.tokens.tolist() == [[[2], [3]]], "its place goes to the next that lives on"


def test_advancing_changes_no_earlier_beam() -> None:
    first, _ = start().advance(logs([0.0, 0.3, 0.5, 0.2]))
    tokens, log_probs = first.tokens.clone(), first.log_probs.clone()
    first.advance(logs([0.1, 0.6, 0.1, 0.2], [0.1, 0.1, 0.4, 0.4]))
    assert torch.equal(first.tokens, tokens)
    assert torch.equal(first.log_probs, log_probs)


def test_finished_hypotheses_of_different_lengths_are_ranked_by_their_score() -> None:
    for alpha, order in ((0.0, [(), (2,)]), (3.0, [(2,), ()])):
        beam, _ = start(alpha=alpha).advance(logs([0.0, 0.4, 0.6, 0.0]))
        beam, _ = beam.advance(logs([0.0, 0.5, 0.25, 0.25], [0.0, 0.0, 0.0, 0.0]))
        found = beam.results(0)
        assert [one.tokens for one in found] == order
        lengths = {(): 1, (2,): 2}
        for one in found:
            assert one.score == pytest.approx(one.log_prob / lengths[one.tokens] ** alpha)


def test_a_sentence_is_done_when_no_live_hypothesis_beats_the_worst_finished_one() -> None:
    limit = torch.tensor([10])
    beam, _ = start().advance(logs([0.0, 0.4, 0.6, 0.0]))
    assert beam.done(limit).tolist() == [False], "one of two is finished"
    better, _ = beam.advance(logs([0.0, 0.05, 0.95, 0.0], [0.0, 0.0, 0.0, 0.0]))
    assert better.done(limit).tolist() == [False], "a live one has 0.57, a finished one 0.03"
    worse, _ = beam.advance(logs([0.0, 0.9, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0]))
    assert worse.done(limit).tolist() == [True], "the live one has 0.06, the finished ones 0.4 and 0.54"
    assert better.done(torch.tensor([2])).tolist() == [True], "the length limit"


def test_stopping_early_asks_only_whether_enough_hypotheses_have_ended() -> None:
    limit = torch.tensor([10])
    beam, _ = replace(start(), early_stopping=True).advance(logs([0.0, 0.4, 0.6, 0.0]))
    assert beam.done(limit).tolist() == [False], "one of two is finished"
    beam, _ = beam.advance(logs([0.0, 0.05, 0.95, 0.0], [0.0, 0.0, 0.0, 0.0]))
    assert beam.done(limit).tolist() == [True], "both are, though the live one is better"


def test_a_sentence_with_nothing_left_to_write_is_done() -> None:
    beam, _ = start().advance(logs([0.0, 1.0, 0.0, 0.0]))
    assert beam.done(torch.tensor([10])).tolist() == [True]
    assert [one.tokens for one in beam.results(0)] == [()]


def test_sentences_are_selected_with_all_that_belongs_to_them() -> None:
    beam, _ = start(sentences=3).advance(torch.rand(3, 1, 5).log())
    beam, _ = beam.advance(torch.rand(3, 2, 5).log())
    kept = beam.select([0, 2])
    assert torch.equal(kept.tokens, beam.tokens[[0, 2]])
    assert torch.equal(kept.log_probs, beam.log_probs[[0, 2]])
    assert [kept.results(0), kept.results(1)] == [beam.results(0), beam.results(2)]
    assert kept.last.tolist() == beam.tokens[[0, 2], :, -1].flatten().tolist()
