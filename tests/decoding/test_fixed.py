"""Search with fixed sizes gives what search gives, and never looks at the device within a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saccade.decoding import fixed
from saccade.decoding.beam import Beam
from saccade.decoding.fixed import Workspaces, places_for
from saccade.decoding.fixed_beam import FixedBeam
from saccade.decoding.group import Group, Sentence
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.limits import Limits
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import Search, search
from saccade.engine.fixed import FixedTransformer, unsupported_reason
from tests.tiny import END, START, padded, sentences, transformer
from tests.training.test_device import no_look

VOCABULARY = 7

options = st.builds(
    DecodingConfig,
    beam=st.integers(1, 4),
    length_penalty=st.sampled_from(["gnmt", "power"]),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    early_stopping=st.booleans(),
    rules=st.sampled_from(["plain", "free", "renormalized"]),
    min_length=st.integers(0, 3),
    max_length=st.integers(4, 8),
    banned=st.sampled_from([(), (5,)]),
)


def same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.cut for one in found] == [one.cut for one in expected]
    assert [one.log_prob for one in found] == pytest.approx([one.log_prob for one in expected], abs=1e-4)
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-4)


def limits(config: DecodingConfig, max_length: list[int], prefix: list[list[int]]) -> Limits:
    return Limits(
        max_length=torch.tensor(max_length),
        min_length=torch.full((len(max_length),), config.min_length),
        prefix=torch.tensor(prefix, dtype=torch.int64).view(len(max_length), -1),
        end=END,
        banned=torch.tensor(sorted({0, START, *config.banned})),
        rules=config.rules,
    )


@given(config=options, seed=st.integers(0, 1 << 30), forced=st.booleans(), sharp=st.sampled_from([0.5, 3.0]))
def test_a_fixed_beam_is_the_beam(config: DecodingConfig, seed: int, forced: bool, sharp: float) -> None:
    """Random probabilities, which depend on the history of a hypothesis, for two sentences."""
    torch.manual_seed(seed)
    most = [config.max_length or 0, max((config.max_length or 0) - 2, config.min_length + 1, 2)]
    known = limits(config, most, [[4], [-1]] if forced else [[], []])
    table = sharp * torch.randn(11, 13, VOCABULARY)

    def log_probs(tokens: Tensor, step: int) -> Tensor:
        """(sentences, hypotheses, vocabulary) from tokens (sentences, hypotheses, step)."""
        key = (tokens * torch.arange(1, step + 1)).sum(-1) % 13
        return table[step][key].log_softmax(-1)

    fixed_beam = FixedBeam.empty(3, 12, options=config, limits=known, vocabulary=VOCABULARY)
    fixed_beam.fill(known, start=START)
    start = Beam.start(
        2,
        size=config.beam,
        end=END,
        penalty=config.length_penalty,
        alpha=config.alpha,
        device=torch.device("cpu"),
        early_stopping=config.early_stopping,
    )
    group = Group((), [Sentence(number, config.beam) for number in range(2)], start, known)
    expected: dict[int, list[Hypothesis]] = {}
    for step in range(max(most)):
        fixed_beam.advance(log_probs(fixed_beam.tokens[:, :, :step], step).flatten(0, 1))
        if group.sentences:
            _, done = group.advance(log_probs(group.candidates.tokens, step).flatten(0, 1))
            over = done or [False] * len(group.sentences)
            expected.update(group.result(place) for place, one in enumerate(over) if one)
            kept = [place for place, one in enumerate(over) if not one]
            if len(kept) < len(over) and kept:
                group.sentences = [group.sentences[place] for place in kept]
                group.candidates = group.candidates.select(kept)
                group.limits = group.limits.select(torch.tensor(kept))
            elif not kept:
                group.sentences = []
        assert fixed_beam.done[:2].tolist() == [number in expected for number in range(2)]
    for number, found in expected.items():
        same(fixed_beam.results(number), found)


@given(
    seed=st.integers(0, 40),
    config=options,
    positions=st.sampled_from(["sinusoidal", "learned", "rotary", "none"]),
    window=st.sampled_from([None, 2]),
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=7),
    every=st.integers(1, 5),
)
@settings(max_examples=40)
def test_search_with_fixed_sizes_is_search(
    seed: int, config: DecodingConfig, positions: Any, window: int | None, lengths: list[int], every: int
) -> None:
    model = transformer(seed=seed, positions=positions, window=window)  # float64, so that ties stay ties
    source = padded(sentences(lengths, seed=seed))
    prefixes = [[5 + number % 3] * (number % 2) for number in range(len(lengths))]
    config = config.model_copy(update={"nbest": config.beam, "max_length": None, "max_extra": 3})
    expected = search(model, *source, options=config, prefixes=prefixes)
    workspaces, engine = Workspaces(), FixedTransformer(model)
    for _ in range(2):  # the second time in the same workspaces
        running = Search(engine, workspaces=workspaces)
        handles = running.add(*source, options=config, prefixes=prefixes)
        running._fixed[0].every = every
        while not running.done:
            running.step()
        found = dict(running.take_finished())
        for handle, one in zip(handles, expected, strict=True):
            same(found[handle], one)
    assert len({one.sizes for one in workspaces._idle.values()}) == len(workspaces._idle)


def test_sentences_can_be_given_up_and_looked_at() -> None:
    model = transformer()
    source = padded(sentences([5, 7, 4, 8], seed=1))
    config = DecodingConfig(beam=3)
    expected = search(model, *source, options=config)
    running = Search(FixedTransformer(model), workspaces=Workspaces())
    handles = running.add(*source, options=config)
    running.step()
    assert running.present == handles
    assert len(running.best(handles[2]).tokens) <= 1
    for gone in handles[:3]:
        running.cancel(gone)
    running.cancel(99)
    while not running.done:
        running.step()
    [(handle, found)] = running.take_finished()
    assert handle == handles[3]
    same(found, expected[3])
    with pytest.raises(KeyError):
        running.best(handles[0])


def test_samples_traces_and_mixed_options_are_searched_as_before() -> None:
    model = transformer()
    source = padded(sentences([5, 7], seed=1))
    for choice in (
        DecodingConfig(sample=True, nbest=2),
        [DecodingConfig(beam=2), DecodingConfig(beam=3)],
    ):
        running = Search(FixedTransformer(model), workspaces=Workspaces())
        running.add(*source, options=choice)
        assert not running._fixed
        found = search(FixedTransformer(model), *source, options=choice, workspaces=Workspaces())
        for one, other in zip(found, search(model, *source, options=choice), strict=True):
            same(one, other)


def test_a_step_never_looks_at_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixed, "log_softmax_", lambda logits: logits.log_softmax(-1))
    model = transformer(dtype=torch.float32, positions="rotary", window=2)
    running = Search(FixedTransformer(model), workspaces=Workspaces())
    running.add(*padded(sentences([5, 7, 4], seed=1)), options=DecodingConfig(beam=3, rules="renormalized"))
    running._fixed[0].every = 100
    with no_look(monkeypatch):
        for _ in range(5):
            running.step()
    assert running._fixed[0].workspace.beam.step.item() == 5


def test_places_are_few_sizes_and_always_enough() -> None:
    sizes = [places_for(count) for count in range(1, 300)]
    assert all(count <= places for count, places in enumerate(sizes, start=1))
    assert all(places < 2 * count for count, places in enumerate(sizes, start=1))
    assert len(set(sizes)) == 17


def test_positions_that_are_a_bias_have_no_fixed_step() -> None:
    for positions in ("alibi", "relative"):
        assert unsupported_reason(transformer(positions=positions))
    assert unsupported_reason(transformer(positions="rotary")) is None


@pytest.mark.gpu
@pytest.mark.parametrize("beam", [1, 4])
def test_a_replayed_step_on_a_gpu_gives_what_search_on_a_cpu_gives(beam: int) -> None:
    model, config = transformer(seed=3), DecodingConfig(beam=beam, nbest=beam, max_extra=20)
    batches = [padded(sentences([7, 5, 9, 4, 8], seed=seed)) for seed in range(3)]
    expected = [search(model, *source, options=config) for source in batches]
    engine, workspaces = FixedTransformer(model.cuda()), Workspaces()
    for source, texts in zip(batches, expected, strict=True):
        placed = tuple(tensor.cuda() for tensor in source)
        found = search(engine, *placed, options=config, workspaces=workspaces)
        for one, other in zip(found, texts, strict=True):
            same(one, other)
