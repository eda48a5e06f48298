"""The ladder ends in the Transformer, and every rung is a model for training and search."""

from __future__ import annotations

import inspect

import pytest
import torch

from saccade.lab.experiments.ladder import CONFIG
from saccade.lab.ladder import RUNGS, Bare, Mixing, Whole, from_transformer
from saccade.lab.learning import fit, translate
from saccade.lab.numerals import alignment, batches, english, german, german_of, pair, vocabulary
from saccade.lab.toys import pairs_batch
from saccade.models.transformer import Transformer
from saccade.text.numbers import words
from tests.tiny import exact_positions, randomise


def test_the_last_rung_equals_the_transformer() -> None:
    torch.manual_seed(0)
    real = Transformer(CONFIG, vocabulary()).double().eval()
    randomise(real)
    written_out = Whole(CONFIG, vocabulary()).double().eval()
    written_out.load_state_dict(from_transformer(real.state_dict()))
    for model in (real, written_out):
        exact_positions(model)
    pairs = [pair(number) for number in (100, 9_999, 423)]
    batch = pairs_batch(pairs)
    logits = [
        model(batch["target_in"].values, model.encode(batch["source"].values, batch["source"].lengths))
        for model in (real, written_out)
    ]
    torch.testing.assert_close(*(found[batch["target"].real] for found in logits), rtol=0, atol=1e-12)
    sources = [source for source, _ in pairs]
    assert translate(real, sources, beam=3) == translate(written_out, sources, beam=3)


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.__name__)
def test_a_rung_trains_and_writes(rung: type[Bare]) -> None:
    torch.manual_seed(0)
    model = rung(CONFIG, vocabulary())
    losses = fit(model, batches([423, 100], seed=1, rows=4), steps=30, peak_rate=1e-2)
    assert losses[-1] < losses[0]
    assert len(translate(model, [pair(423)[0], pair(100)[0]])) == 2


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.__name__)
def test_a_rung_is_at_most_a_screen_of_code(rung: type[Bare]) -> None:
    assert len(inspect.getsource(rung).splitlines()) <= 50


def test_only_the_third_rung_reads_the_future() -> None:
    pairs = [pair(423), pair(429)]  # vier hundert drei und zwanzig, vier hundert neun und zwanzig
    batch = pairs_batch(pairs)
    first = batch["source"].values[:1].expand(2, -1)
    for rung in RUNGS:
        torch.manual_seed(0)
        model = rung(CONFIG, vocabulary()).double().eval()
        memory = model.encode(first, batch["source"].lengths[:1].expand(2))
        hidden = model.decode(batch["target_in"].values, memory)
        changed = bool((hidden[0, :3] - hidden[1, :3]).abs().max() > 1e-9)
        assert changed == (rung is Mixing)


def test_the_parts_of_a_number_are_its_word_and_are_aligned() -> None:
    for number in range(100, 10_000, 97):
        assert "".join(german(number)) == words(number, language="de")
        assert german_of(pair(number)[1]) == list(german(number))
        links = alignment(number)
        places = [place for place, part in enumerate(german(number)) if part != "und"]
        assert sorted(place for _, place in links) == places
        assert len({place for place, _ in links}) == len(links), "no English word is aligned twice"


def test_words_of_equal_value_are_aligned() -> None:
    links = {(english(423)[a], german(423)[b]) for a, b in alignment(423)}
    assert links == {("four", "vier"), ("hundred", "hundert"), ("three", "drei"), ("twenty", "zwanzig")}
