"""Rules against repetition and for coverage, against searches with lists and loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.decoding.coverage import ranked_by_coverage
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import DecodingConfig
from saccade.decoding.repeats import Repeats
from saccade.decoding.search import Search, search
from saccade.errors import ConfigError, UserError
from saccade.models.recording import AttentionMap
from saccade.use.translator import Translator
from tests import kinds
from tests.decoding.test_search import WORDS, assert_same, run, table_model
from tests.reference import search as reference
from tests.reference.search import LogProbs, Rules, random_table
from tests.tiny import LINES, model, padded, sentences

END, START = WORDS.end, WORDS.start


def ruled(table: LogProbs, *, ngram: int = 0, penalty: float = 1.0) -> LogProbs:
    """The table under the rules, a token at a time."""

    def log_probs(source: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        found = list(table(source, tokens))
        written = {START, *tokens}
        grams = [tokens[at : at + ngram] for at in range(len(tokens) - ngram + 1)] if ngram else []
        for token in range(len(found)):
            if token in written:
                found[token] *= penalty
            following = (*tokens, token)
            if ngram and token != END and following[len(following) - ngram :] in grams:
                found[token] = -math.inf
        return found

    return log_probs


@given(
    ngram=st.integers(0, 3),
    penalty=st.sampled_from([1.0, 1.3, 2.0, 0.7]),
    beam=st.integers(1, 4),
    seed=st.integers(0, 50),
)
@settings(max_examples=30, deadline=None)
def test_search_under_the_rules_is_that_of_lists(ngram: int, penalty: float, beam: int, seed: int) -> None:
    table = random_table(5, seed=seed, sharpness=2.0)
    rules = Rules(end=END, max_length=8, banned=(WORDS.pad,))
    expected = reference.beam_search(
        ruled(table, ngram=ngram, penalty=penalty), (4, 6), rules, beam=beam, kind="gnmt", alpha=0.6
    )
    options = {"no_repeat_ngram_size": ngram, "repetition_penalty": penalty}
    (found,) = run(table_model(table), [[4, 6]], beam=beam, nbest=beam, max_length=8, **options)
    assert_same(found, expected)


def test_a_sentence_that_joins_later_is_ruled_by_its_own_tokens_alone() -> None:
    network = kinds.ending("transformer")
    options = DecodingConfig(beam=3, nbest=3, max_length=12, no_repeat_ngram_size=2, repetition_penalty=1.5)
    ids, lengths = padded(sentences([5, 7, 4]))
    alone = [
        search(network, ids[n : n + 1, : lengths[n]], lengths[n : n + 1], options=options)[0]
        for n in range(3)
    ]
    running = Search(network)
    handles = running.add(ids[:1], lengths[:1], options=options)
    for _ in range(3):
        running.step()
    handles += running.add(ids[1:], lengths[1:], options=options)
    while not running.done:
        running.step()
    found = dict(running.take_finished())
    for handle, expected in zip(handles, alone, strict=True):
        assert [one.tokens for one in found[handle]] == [one.tokens for one in expected]


@pytest.mark.parametrize("way", [{"beam": 1}, {"beam": 4}, {"sample": True, "nbest": 3}])
def test_no_ngram_stands_twice(way: dict[str, Any]) -> None:
    for n in (1, 2, 3):
        found = run(
            kinds.network("transformer"),
            sentences([6, 4]),
            max_length=11,
            no_repeat_ngram_size=n,
            **way,
        )
        for hypotheses in found:
            for one in hypotheses:
                grams = [one.tokens[at : at + n] for at in range(len(one.tokens) - n + 1)]
                assert len(grams) == len(set(grams))


def test_a_forced_prefix_may_repeat_itself() -> None:
    table = random_table(5, seed=3)
    (found,) = run(
        table_model(table),
        [[4]],
        beam=2,
        max_length=9,
        prefixes=[[2, 3, 2, 3]],
        no_repeat_ngram_size=2,
        repetition_penalty=2.0,
    )
    assert found[0].tokens[:4] == (2, 3, 2, 3)
    own = sum(table((4,), (2, 3, 2, 3)[:at])[token] for at, token in enumerate((2, 3, 2, 3)))
    assert found[0].log_prob < own


def test_the_engine_keeps_to_the_rules_as_torch_does() -> None:
    options: Any = {"beam": 3, "max_length": 12, "no_repeat_ngram_size": 2, "repetition_penalty": 1.4}
    one = model(dtype=torch.float32)
    fast, plain = (
        Translator.of(one, engine=engine).translate(LINES[:5], **options) for engine in ("saccade", "torch")
    )
    assert [a.score for a in fast] == pytest.approx([a.score for a in plain], abs=1e-3)


def test_nothing_is_computed_without_rules_and_the_end_is_never_blocked() -> None:
    repeats = Repeats(1, 1.0, end=END, start=START)
    tokens = torch.tensor([[[2, 3]]])
    free = torch.tensor([True])
    out = repeats.apply(torch.zeros(1, 1, 5), tokens, begun=(0,), free=free)
    assert out[0, 0].tolist() == [0.0, 0.0, -math.inf, -math.inf, 0.0]
    given_ends = torch.tensor([[[END, 2]]])
    assert repeats.apply(torch.zeros(1, 1, 5), given_ends, begun=(0,), free=free)[0, 0, END] == 0


def coverage(weights: list[list[float]], pieces: int) -> float:
    """Equation 14's sum for attention (target, source), by a loop."""
    return sum(math.log(min(sum(row[i] for row in weights), 1.0)) for i in range(pieces))


def test_coverage_is_the_sum_of_a_loop_and_ranks_hypotheses() -> None:
    torch.manual_seed(0)
    weights = torch.rand(3, 2, 4, 5).softmax(-1)
    found = [[Hypothesis((5, 6, 7), -2.0, -1.0), Hypothesis((5,), -2.0, -1.1)], [Hypothesis((), -1.0, -1.0)]]
    source, lengths = torch.ones(2, 5, dtype=torch.int64), torch.tensor([5, 3])

    def align(rows: Any, sizes: Any, targets: Any) -> list[AttentionMap]:
        assert rows.shape == (3, 5)
        assert sizes.tolist() == [5, 5, 3]
        assert [len(target) for target in targets] == [4, 2, 1]
        return [AttentionMap("cross", 1, weights)]

    ranked = ranked_by_coverage(align, source, lengths, found, strength=0.3, end=END)
    mean = weights.double().mean(1).tolist()
    wanted = {
        (5, 6, 7): -1.0 + 0.3 * coverage(mean[0], 4),
        (5,): -1.1 + 0.3 * coverage(mean[1][:2], 4),
        (): -1.0 + 0.3 * coverage(mean[2][:1], 2),
    }
    for own in ranked:
        assert [one.score for one in own] == sorted((one.score for one in own), reverse=True)
        for one in own:
            assert one.score == pytest.approx(wanted[one.tokens], rel=1e-6)


def test_a_translator_ranks_its_beam_by_coverage() -> None:
    translator = Translator.of(model(dtype=torch.float32))
    options: Any = {"beam": 4, "nbest": 4, "max_length": 9}
    [plain] = translator.translate(LINES[:1], **options)
    [ranked] = translator.translate(LINES[:1], coverage_penalty=0.5, **options)
    assert {one.text for one in ranked.alternatives} == {one.text for one in plain.alternatives}
    scores = [one.score for one in ranked.alternatives]
    assert scores == sorted(scores, reverse=True)
    before = {one.tokens: one.score for one in plain.alternatives}
    assert all(one.score < before[one.tokens] for one in ranked.alternatives)


def test_what_cannot_be_ranked_by_coverage_is_refused() -> None:
    with pytest.raises(ConfigError, match="coverage_penalty"):
        Translator.of(model()).options(beam=1, coverage_penalty=0.2)
    with pytest.raises(UserError, match="no attention to the source"):
        Translator.of(kinds.model("recurrent, none")).translate(LINES[:1], beam=2, coverage_penalty=0.2)
    two = Translator.ensemble([model(), model(seed=1)])
    with pytest.raises(UserError, match="an exported model and an ensemble"):
        two.translate(LINES[:1], beam=2, coverage_penalty=0.2)


def test_what_a_log_probability_sums_over_is_named() -> None:
    decoder = Translator.of(model()).decoder
    assert decoder.sums_over(DecodingConfig(), given=False) == ""
    ruled_by = decoder.sums_over(DecodingConfig(repetition_penalty=1.2), given=False)
    assert "rules against repetition" in ruled_by
    assert decoder.sums_over(DecodingConfig(repetition_penalty=1.2), given=True) == ""
