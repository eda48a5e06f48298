"""Tasks built so that one knows what a non-autoregressive model can and cannot do."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.models import build_model, model_config
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.text.batching import Batch
from saccade.training.fertility import FertilityCrossEntropy
from saccade.training.objective import CrossEntropy, Objective
from tests.tiny import END, batch, padded, scheme, vocabulary

SIZES = {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1}


def fit(
    model: Any, objective: Objective, batches: Iterator[Batch], *, steps: int, rate: float = 3e-3
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    model.train()
    for given in itertools.islice(batches, steps):
        optimizer.zero_grad()
        (objective(model, given) / given.target_tokens).backward()
        optimizer.step()
    model.eval()


def student(**changes: Any) -> Any:
    torch.manual_seed(1)
    table = {"kind": "nonautoregressive", "dropout": 0.0, **SIZES, **changes}
    return build_model(model_config(table), vocabulary())


# --- digit d becomes d copies of itself ----------------------------------------------------------


def digits(seed: int, rows: int = 48) -> Iterator[Batch]:
    """Digit d, 1 to 5, is id 4 + d; its fertility is d."""
    generator = random.Random(seed)
    while True:
        source = [[generator.randint(1, 5) for _ in range(generator.randint(2, 6))] for _ in range(rows)]
        target = [[4 + d for d in row for _ in range(d)] for row in source]
        yield batch(
            [[*(4 + d for d in row), END] for row in source],
            [[*row, END] for row in target],
            [[*row, 0] for row in source],
        )


def exact(model: Any, given: Batch) -> float:
    """Share of rows that are right everywhere, with the true fertilities."""
    source, fertilities = given["source"], given["fertilities"].values
    with torch.no_grad():
        hidden, _ = scheme(model).write(fertilities, model.encode(source.values, source.lengths))
        said = model.output(hidden).argmax(-1)
    pieces, real = given["target"].without_end()
    return float(((said == pieces) | ~real).all(1).float().mean())


@pytest.mark.slow
def test_with_true_fertilities_digits_are_copied_without_a_mistake_and_evenly_they_are_not() -> None:
    test = next(digits(seed=99, rows=200))
    source, fertilities = test["source"], test["fertilities"].values
    share = {}
    for copies in ("fertility", "uniform"):
        model = student(copies=copies, max_fertility=6)
        fit(model, FertilityCrossEntropy(), digits(seed=1), steps=120)
        share[copies] = exact(model, test)
        with torch.no_grad():
            logits = scheme(model).logits(model.encode(source.values, source.lengths))
        counted = source.values >= 5
        assert bool((logits.argmax(-1) == fertilities)[counted].all()), "a digit says its own fertility"
    assert share["fertility"] == 1.0
    assert share["uniform"] < 0.5


# --- one source, three translations --------------------------------------------------------------

THANK, YOU, DANKE, SCHOEN, VIELEN, DANK = range(4, 10)
RAW = [
    ([DANKE], [1, 0]),
    ([DANKE, SCHOEN], [1, 1]),
    ([VIELEN, DANK], [1, 1]),
]
SOURCE = [THANK, YOU, END]


def thanks(choices: list[tuple[list[int], list[int]]]) -> Iterator[Batch]:
    rows = batch(
        [SOURCE] * len(choices), [[*words, END] for words, _ in choices], [[*f, 0] for _, f in choices]
    )
    return itertools.repeat(rows)


def marginals(model: Any) -> torch.Tensor:
    """(2 positions, vocabulary), of two words for two."""
    with torch.no_grad():
        memory = model.encode(*padded([SOURCE]))
        hidden, _ = scheme(model).write(torch.tensor([[1, 1, 0]]), memory)
        probabilities: torch.Tensor = model.output(hidden)[0].softmax(-1)
    return probabilities


def mixed(model: Any) -> float:
    """How likely a word of one translation stands beside a word of the other, drawn independently."""
    first, second = marginals(model)
    return float(first[DANKE] * second[DANK] + first[VIELEN] * second[SCHOEN])


def teacher() -> Transformer:
    torch.manual_seed(2)
    model = Transformer(TransformerConfig(dropout=0.0, **SIZES), vocabulary())
    fit(model, CrossEntropy(), thanks(RAW), steps=100)
    return model


@pytest.mark.slow
def test_independent_words_mix_translations_and_a_teachers_choice_cures_it() -> None:
    raw = student(max_fertility=3)
    fit(raw, FertilityCrossEntropy(), thanks(RAW), steps=150)
    first, second = marginals(raw)
    assert first[[DANKE, VIELEN]].tolist() == pytest.approx([0.5, 0.5], abs=0.03)
    assert second[[SCHOEN, DANK]].tolist() == pytest.approx([0.5, 0.5], abs=0.03)
    assert mixed(raw) == pytest.approx(0.5, abs=0.03)

    # The teacher, word by word, has three translations too, and never mixes them.
    [[found]] = search(teacher(), *padded([SOURCE]), options=DecodingConfig(beam=1))
    chosen = [(words, f) for words, f in RAW if tuple(words) == found.tokens]
    assert chosen
    distilled = student(max_fertility=3)
    fit(distilled, FertilityCrossEntropy(), thanks(chosen), steps=150)
    words, counts = chosen[0]
    with torch.no_grad():
        memory = distilled.encode(*padded([SOURCE]))
        assert scheme(distilled).logits(memory).argmax(-1)[0, :2].tolist() == counts
        hidden, _ = scheme(distilled).write(torch.tensor([[*counts, 0]]), memory)
        sure = distilled.output(hidden)[0].softmax(-1).max(-1)
    assert sure.indices.tolist() == words
    assert bool((sure.values > 0.99).all())
