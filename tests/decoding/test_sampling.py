from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import DecodingConfig
from saccade.decoding.sampling import Draw, uniform_draws
from saccade.decoding.search import search
from saccade.models.interface import Vocabulary
from tests.reference.search import TableModel, penalised, random_table
from tests.tiny import padded

CHANCES = [0.05, 0.4, 0.1, 0.25, 0.2]
WORDS = Vocabulary(source_size=9, target_size=5, pad=0, start=0, end=1, shared=False)


def frequencies(draw: Draw, chances: list[float], *, count: int = 10_000) -> list[float]:
    """Share of each token when the random numbers are an even grid: exact up to 1 / count a token."""
    grid = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    log_probs = torch.tensor(chances).log().expand(count, -1)
    tokens = draw.tokens(log_probs, grid)
    return [int((tokens == token).sum()) / count for token in range(len(chances))]


def expected(
    chances: list[float], *, temperature: float = 1, top_k: int | None = None, top_p: float = 1
) -> list[float]:
    """Written from the definitions, one token after the other."""
    order = sorted(range(len(chances)), key=lambda token: -chances[token])[:top_k]
    heat = {token: chances[token] ** (1 / temperature) for token in order}
    total = math.fsum(heat.values())
    kept: dict[int, float] = {}
    for token in order:
        if math.fsum(kept.values()) < top_p * total - 1e-9:
            kept[token] = heat[token]
    return [kept.get(token, 0.0) / math.fsum(kept.values()) for token in range(len(chances))]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0},
        {"top_k": 1},
        {"top_k": 3},
        {"top_k": 99},
        {"top_p": 0.3},
        {"top_p": 0.66},
        {"top_p": 0.86},
        {"temperature": 0.7, "top_k": 4, "top_p": 0.8},
    ],
)
def test_tokens_come_with_the_frequencies_of_the_definition(settings: dict[str, Any]) -> None:
    found = frequencies(Draw(**settings), CHANCES)
    wanted = expected(CHANCES, **settings)
    assert found == pytest.approx(wanted, abs=3e-4)
    assert [share == 0 for share in found] == [share == 0 for share in wanted], "exactly the support"


@given(
    st.lists(st.floats(-20, 0), min_size=1, max_size=8), st.floats(0, 1, exclude_max=True), st.floats(0.01, 1)
)
def test_a_token_that_is_impossible_is_never_drawn(logits: list[float], uniform: float, top_p: float) -> None:
    impossible = [*logits, -math.inf, -math.inf]
    log_probs = torch.tensor(impossible).log_softmax(-1)
    token = int(Draw(top_p=top_p).tokens(log_probs, torch.tensor(uniform, dtype=torch.float64)))
    assert token < len(logits)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_give_the_first_and_the_last_token(uniform: float) -> None:
    log_probs = torch.tensor([0.2, 0.7, 0.1, 0.0]).log()
    token = int(Draw().tokens(log_probs, torch.tensor(uniform, dtype=torch.float64)))
    assert token == (1 if uniform == 0 else 2)


def sample(
    sources: list[list[int]], *, lines: list[int] | None = None, **options: Any
) -> list[list[Hypothesis]]:
    ids, lengths = padded(sources)
    model = TableModel(random_table(5, seed=2), WORDS)
    return search(model, ids, lengths, options=DecodingConfig(sample=True, **options), lines=lines)


def test_whole_sentences_come_with_the_probability_that_the_model_gives_them() -> None:
    """Chi-squared over the most frequent ones; 20,000 samples."""
    count = 20_000
    (found,) = sample([[4]], nbest=count, max_length=3)
    assert len(found) == count
    seen = Counter(one.tokens for one in found)
    table = random_table(5, seed=2)
    # Padding is banned and the third token must be the end: what is left is drawn in proportion.
    chances: dict[tuple[int, ...], float] = {}
    first = [math.exp(x) for x in table((4,), ())]
    first[0] = 0
    for a in range(1, 5):
        chance = first[a] / sum(first)
        if a == 1:
            chances[()] = chance
            continue
        second = [math.exp(x) for x in table((4,), (a,))]
        second[0] = 0
        for b in range(1, 5):
            chances[(a,) if b == 1 else (a, b)] = chance * second[b] / sum(second)
    assert math.fsum(chances.values()) == pytest.approx(1)
    assert set(seen) <= set(chances)
    chi_squared = sum((seen[tokens] - count * p) ** 2 / (count * p) for tokens, p in chances.items())
    degrees = len(chances) - 1
    assert chi_squared < degrees + 5 * math.sqrt(2 * degrees)


def test_more_samples_include_those_of_fewer() -> None:
    """The first of n samples is the sample of n = 1, whatever n is."""
    for line in range(20):
        found = [Counter(sample([[4, 5]], nbest=count, lines=[line])[0]) for count in (1, 2, 5, 9)]
        assert all(few <= many for few, many in itertools.pairwise(found))


@pytest.mark.parametrize("settings", [{}, {"top_k": 50_000}, {"top_k": 60_000}, {"temperature": 3.0}])
def test_a_nucleus_of_one_and_a_top_k_of_the_vocabulary_cut_nothing(settings: dict[str, Any]) -> None:
    """Rounded sums of many small probabilities reach 1 early; the rarest token must still be drawn."""
    logits = torch.linspace(0, -12, 50_000)
    draw = Draw(top_p=1.0, **settings)
    token = draw.tokens(logits.log_softmax(-1), torch.tensor(1 - 2**-53, dtype=torch.float64))
    assert int(token) == 49_999


def test_samples_are_sorted_by_score() -> None:
    (found,) = sample([[4]], nbest=50, max_length=6)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    for one in found:
        wanted = penalised(one.log_prob, len(one.tokens) + 1, kind="gnmt", alpha=0.6)
        assert one.score == pytest.approx(wanted)


def test_seed_and_line_number_alone_determine_a_sentence_draws() -> None:
    sources, lines = [[4, 5], [6], [4, 5], [7, 8, 2]], [10, 3, 4, 0]
    together = sample(sources, lines=lines, nbest=3, seed=5)
    for source, line, results in zip(sources, lines, together, strict=True):
        assert sample([source], lines=[line], nbest=3, seed=5) == [results]
    shuffled = sample(sources[::-1], lines=lines[::-1], nbest=3, seed=5)
    assert shuffled[::-1] == together
    assert together[0] != together[2], "the same sentence on another line is drawn anew"
    assert sample(sources, lines=lines, nbest=3, seed=6) != together


def test_the_global_generator_is_neither_used_nor_moved() -> None:
    torch.manual_seed(1)
    first = sample([[4, 5]], nbest=4)
    state = torch.get_rng_state()
    assert sample([[4, 5]], nbest=4) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_a_temperature_near_zero_is_greedy() -> None:
    ids, lengths = padded([[4], [5, 6]])
    model = TableModel(random_table(5, seed=2), WORDS)
    greedy = search(model, ids, lengths, options=DecodingConfig(beam=1))
    cold = sample([[4], [5, 6]], temperature=1e-3)
    assert [results[0].tokens for results in cold] == [results[0].tokens for results in greedy]
    assert sample([[4], [5, 6]], top_k=1) == greedy


def uniform(lines: list[int], **settings: int) -> Tensor:
    return uniform_draws(lines, **{"samples": 3, "length": 8, "seed": 1, **settings})


def test_random_numbers_do_not_depend_on_how_many_are_drawn_or_for_whom() -> None:
    table = uniform([7, 2])
    assert table.shape == (2, 3, 8)
    assert torch.equal(uniform([2])[0], table[1])
    assert torch.equal(uniform([7], length=30)[0, :, :8], table[0])
    assert not torch.equal(table[0], table[1])
    assert not torch.equal(uniform([7], seed=2)[0], table[0])


def test_random_numbers_are_uniform_and_independent_between_lines_samples_and_positions() -> None:
    table = uniform_draws(range(200), samples=5, length=40, seed=3)
    assert bool(((table >= 0) & (table < 1)).all())
    count = table.numel()
    assert abs(float(table.mean()) - 0.5) < 5 * math.sqrt(1 / 12 / count)
    centred = (table - 0.5) * math.sqrt(12)
    for axis in range(3):
        a, b = centred.narrow(axis, 0, table.size(axis) - 1), centred.narrow(axis, 1, table.size(axis) - 1)
        assert abs(float((a * b).mean())) < 5 / math.sqrt(a.numel())


def test_a_sample_is_the_same_however_many_others_there_are() -> None:
    assert torch.equal(uniform([7, 2], samples=5)[:, :2], uniform([7, 2], samples=2))
    sources = [[4, 5], [6], [7, 8, 2]]
    many, few, one = (sample(sources, nbest=count, max_length=6) for count in (6, 3, 1))
    for several, some, single in zip(many, few, one, strict=True):
        assert single[0] in some
        counted, available = (
            Counter(found.tokens for found in some),
            Counter(found.tokens for found in several),
        )
        assert counted <= available


def test_a_p_of_one_cuts_nothing_though_probabilities_are_rounded() -> None:
    generator = torch.Generator().manual_seed(1)
    log_probs = (4 * torch.randn(50, 3000, generator=generator)).log_softmax(-1)
    ordered, ids = log_probs.sort(dim=-1, descending=True)
    rounded = ordered.softmax(-1).double().sum(-1)
    assert bool((rounded > 1).any()), "rounding brings some above 1 before their last token"
    last = torch.full((50,), 1 - 2**-53, dtype=torch.float64)
    assert torch.equal(Draw(top_p=1.0).tokens(log_probs, last), ids[:, -1])
