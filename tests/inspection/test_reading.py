"""Attributions of models that label, fill gaps or point: erasure against a run without the token, gradients
against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from saccade.inspection.record import Inspection
from saccade.text.positions import END
from saccade.use.mask_filler import MaskFiller
from saccade.use.pointer import InputPointer
from saccade.use.tagger import WordLabeller
from tests.labelled import LABELS, bert, bert_tagger, pointer, tagger

SENTENCE = "the old town sleeps the town"
TEXT = "the [MASK] town , sleeping [MASK]"
POINTS = "0.5,0.1 0.2,0.9 0.7,0.7 0.6,0.2"


def values(record: Inspection, method: str) -> torch.Tensor:
    [found] = [one.values for one in record.attributions if one.method == method]
    return found


def label_log_probs(labeller: Any, words: Sequence[str]) -> torch.Tensor:
    """The log-probability (words, labels) of every label of every word, without a random field."""
    with torch.no_grad():
        emissions = labeller.network.output(labeller.network.encode(labeller._inputs([words])))
    found: torch.Tensor = emissions[0].log_softmax(-1)
    return found


@pytest.mark.parametrize("changes", [{}, {"encoder": "lstm"}, {"spelling": 0, "kernel": 1}])
def test_a_label_without_a_word_is_that_of_the_shorter_sentence(changes: dict[str, Any]) -> None:
    labeller = WordLabeller(tagger(**changes))
    record, words = labeller.inspect(SENTENCE), SENTENCE.split()
    labels = [LABELS.index(one) for one in record.tokens["target"].pieces]
    whole, found = label_log_probs(labeller, words), values(record, "erasure")
    assert record.log_probs == pytest.approx([float(whole[n, label]) for n, label in enumerate(labels)])
    for place in range(len(words)):
        shorter = label_log_probs(labeller, words[:place] + words[place + 1 :])
        for number, label in enumerate(labels):
            if number == place:
                assert math.isnan(found[number, place])
            else:
                expected = whole[number, label] - shorter[number - (number > place), label]
                assert float(found[number, place]) == pytest.approx(float(expected), abs=1e-6)


def test_with_a_random_field_labels_are_marginal() -> None:
    labeller = WordLabeller(tagger(crf=True))
    record = labeller.inspect("the old town")
    network: Any = labeller.network
    with torch.no_grad():
        emissions = network.output(network.encode(labeller._inputs([["the", "old", "town"]])))
        marginals = network.crf.log_marginals(emissions, torch.tensor([3]))[0]
    labels = [LABELS.index(one) for one in record.tokens["target"].pieces]
    assert record.log_probs == pytest.approx([float(marginals[n, label]) for n, label in enumerate(labels)])
    assert bool(values(record, "erasure").isnan().eq(torch.eye(3, dtype=torch.bool)).all())


def test_a_tagger_of_pieces_has_no_label_without_the_first_piece_of_the_word() -> None:
    labeller = WordLabeller(bert_tagger())
    record = labeller.inspect("the sleeping towns")
    found = values(record, "erasure")
    assert record.tokens["source"].pieces == ("[CLS]", "the", "sleep", "##ing", "town", "##s", "[SEP]")
    assert record.places == (1, 2, 4)
    undefined = torch.zeros(3, 7, dtype=torch.bool)
    undefined[[0, 1, 2], [1, 2, 4]] = True
    assert bool(found.isnan().eq(undefined).all())
    # Without "##ing" the sentence reads "the sleep towns".
    label = LABELS.index(record.tokens["target"].pieces[2])
    shorter = label_log_probs(labeller, ["the", "sleep", "towns"])[2, label]
    whole = label_log_probs(labeller, ["the", "sleeping", "towns"])[2, label]
    assert float(found[2, 3]) == pytest.approx(float(whole - shorter), abs=1e-6)


def test_a_gap_without_a_piece_is_that_of_the_shorter_text() -> None:
    filler = MaskFiller(bert())
    record, network = filler.inspect(TEXT), filler.network
    [ids] = filler.tokenizer.encode_source([TEXT])
    gaps = [place for place, number in enumerate(ids) if number == filler.tokenizer.mask]
    assert record.places == tuple(gaps)

    def log_probs(own: list[int], place: int) -> torch.Tensor:
        with torch.no_grad():
            states = network.encode(filler._column([own]))[0, place]
            logits: torch.Tensor = network.output(network.hidden(states))
        return logits.log_softmax(-1)

    found = values(record, "erasure")
    for row, gap in enumerate(gaps):
        whole = log_probs(ids, gap)
        piece = int(whole.argmax())
        assert record.log_probs is not None and record.log_probs[row] == pytest.approx(float(whole[piece]))
        for place in range(len(ids)):
            if place == gap:
                assert math.isnan(found[row, place])
                continue
            shorter = log_probs(ids[:place] + ids[place + 1 :], gap - (gap > place))
            assert float(found[row, place]) == pytest.approx(float(whole[piece] - shorter[piece]), abs=1e-6)
    for one in record.attributions:
        assert [len(row.values) for row in one.correlations] == [3, 3]


def test_a_text_without_a_gap_has_nothing_to_attribute() -> None:
    record = MaskFiller(bert()).inspect("the town")
    assert not record.attributions and record.absent["attributions"] == "labels"


def test_without_an_input_a_pointer_answers_with_the_others() -> None:
    made = InputPointer(pointer(), distinct=True)
    record, network = made.inspect(POINTS), made.network
    answer = [int(one) for one in record.output.split()]
    points = made._inputs(POINTS, place="")

    @torch.no_grad()
    def log_probs(kept: list[int], positions: list[int]) -> list[float]:
        source, lengths = made._batch([points[kept]])
        state = network.start(network.encode(source, lengths), len(positions) + 1)
        token, found = END, []
        for position in [*positions, END]:
            logits, state = network.step(torch.tensor([token]), state)
            found.append(float(logits[0].double().log_softmax(-1)[position]))
            token = position
        return found

    whole = log_probs(list(range(4)), answer)
    assert record.log_probs == pytest.approx(whole, abs=1e-5)
    found = values(record, "erasure")
    assert bool(found[:, 0].isnan().all())
    for place in range(1, 5):
        rest = [one - (one > place) for one in answer if one != place]
        shorter = iter(log_probs([one - 1 for one in range(1, 5) if one != place], rest))
        for row, position in enumerate([*answer, END]):
            if position == place:
                assert math.isnan(found[row, place])
            else:
                assert float(found[row, place]) == pytest.approx(whole[row] - next(shorter), abs=1e-5)


def test_the_gradient_of_a_pointer_is_the_derivative_when_an_input_grows() -> None:
    made = InputPointer(pointer())
    record, step = made.inspect(POINTS), 1e-3
    answer, found = [int(one) for one in record.output.split()], values(record, "gradient")
    network: Any = made.network
    source, lengths = made._batch([made._inputs(POINTS, place="")])
    source = source.double()

    def log_probs(place: int, factor: float) -> torch.Tensor:
        grown = source.clone()
        grown[:, place] *= factor
        with torch.no_grad():
            logits = network.decode(torch.tensor([[END, *answer]]), network.encode(grown, lengths))[0]
        rows: torch.Tensor = logits.log_softmax(-1)
        return rows[torch.arange(len(answer) + 1), torch.tensor([*answer, END])]

    for place in range(4):
        expected = (log_probs(place, 1 + step) - log_probs(place, 1 - step)) / (2 * step)
        torch.testing.assert_close(found[:, place + 1], expected, rtol=1e-3, atol=1e-5)


def grown(module: torch.nn.Module, place: int, factor: float) -> Any:
    """A hook that scales the vector at one place of the module's output."""

    def hook(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[:, place] *= factor
        return changed

    return module.register_forward_hook(hook)


@pytest.mark.parametrize("made", [tagger, lambda: tagger(encoder="lstm"), bert_tagger])
def test_the_gradient_of_a_label_is_the_derivative_when_the_vector_grows(made: Callable[[], Any]) -> None:
    labeller, step = WordLabeller(made()), 1e-5
    sentence = "the town sleeping ,"
    record, words = labeller.inspect(sentence), sentence.split()
    labels = torch.tensor([LABELS.index(one) for one in record.tokens["target"].pieces])
    found = values(record, "gradient")
    for place in range(found.size(1)):
        sides = []
        for factor in (1 + step, 1 - step):
            hook = grown(labeller.network.vectors, place, factor)
            sides.append(label_log_probs(labeller, words)[torch.arange(len(words)), labels])
            hook.remove()
        torch.testing.assert_close(found[:, place], (sides[0] - sides[1]) / (2 * step), rtol=1e-4, atol=1e-6)
