"""Classifiers: what they read, alone as in bulk, scores, and files that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import saccade
from saccade.errors import UserError
from saccade.model_folder.checkpoint import Model, save_model
from saccade.text.batching import PaddedColumn
from saccade.text.classification import read_texts
from saccade.use.classifier import TextLabeller
from tests.labelled import bert_classifier, classifier

TEXTS = ["the old town", "town", "", "the sea sleeps . the town sleeps", "old old"]
MODELS: dict[str, Any] = {
    "plain": classifier,
    "embeddings alone": lambda: classifier(layers=0, positions="none"),
    "rotary": lambda: classifier(positions="rotary"),
    "bert": bert_classifier,
}


@pytest.mark.parametrize("name", MODELS)
def test_alone_as_in_bulk(name: str) -> None:
    labeller = TextLabeller(MODELS[name]())
    together = labeller.predict(TEXTS)
    for text, one in zip(TEXTS, together, strict=True):
        [alone] = labeller.predict([text])
        assert (one.text, one.label) == (text, alone.label)
        assert dict(one.probabilities) == pytest.approx(dict(alone.probabilities), abs=1e-6)
        assert sum(one.probabilities.values()) == pytest.approx(1.0 if text else 0.0)
    assert together[2].label == ""


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name: str) -> None:
    labeller = TextLabeller(MODELS[name]())
    inputs = labeller._inputs(["the old town", "town"])
    length = int(inputs["source"].lengths[1])
    before = labeller.network.encode(inputs)[1]
    inputs["source"].values[1, length:] = 3
    torch.testing.assert_close(labeller.network.encode(inputs)[1], before)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_takes_part(name: str) -> None:
    labeller = TextLabeller(MODELS[name]())
    inputs = labeller._inputs(TEXTS[:2])
    labeller.network.output(labeller.network.encode(inputs)).square().sum().backward()
    assert not [key for key, one in labeller.network.named_parameters() if one.grad is None]


def test_the_record_shows_the_pooling_as_attention_of_the_label() -> None:
    labeller = TextLabeller(classifier())
    record = labeller.inspect("the old town")
    kinds = [(one.kind, sides) for one, sides in zip(record.maps, record.sides, strict=True)]
    assert kinds == [("encoder", ("source", "source")), ("cross", ("target", "source"))]
    assert record.tokens["target"].pieces == (record.output,)
    assert record.to_json()["records"][0]["maps"][1]["shape"] == [3, 1, 4]


def label_log_prob(labeller: TextLabeller, ids: Sequence[int], label: int) -> float:
    column = PaddedColumn(torch.tensor([ids]), torch.tensor([len(ids)]), 0, positions=len(ids))
    with torch.no_grad():
        logits = labeller.network.output(labeller.network.encode({"source": column}))
    return float(logits[0].log_softmax(-1)[label])


@pytest.mark.parametrize("name", MODELS)
def test_the_label_is_attributed_to_the_text_by_erasure_and_gradient(name: str) -> None:
    labeller = TextLabeller(MODELS[name]())
    record = labeller.inspect(TEXTS[0])
    [ids] = labeller.tokenizer.encode_source([TEXTS[0]])
    label = labeller.tokenizer.labels.index(record.output)
    whole = label_log_prob(labeller, ids, label)
    assert record.log_probs == pytest.approx((whole,)) and set(record.absent) == {"search"}
    gradient, erasure = (one.values[0] for one in record.attributions)
    embedding = next(one for one in labeller.network.modules() if isinstance(one, torch.nn.Embedding))
    for place in range(len(ids)):
        without = label_log_prob(labeller, [*ids[:place], *ids[place + 1 :]], label)
        assert float(erasure[place]) == pytest.approx(whole - without)
        sides = []
        for factor in (1 + 1e-5, 1 - 1e-5):
            factors = torch.ones(1, len(ids), 1, dtype=torch.float64)
            factors[0, place] = factor
            handle = embedding.register_forward_hook(lambda _, __, output, own=factors: output * own)
            sides.append(label_log_prob(labeller, ids, label))
            handle.remove()
        assert float(gradient[place]) == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-4, abs=1e-7)


def test_a_folder_is_loaded_as_what_the_model_is_for(tmp_path: Path) -> None:
    model: Model = classifier()
    save_model(tmp_path / "model", model)
    labeller = saccade.load(tmp_path / "model", device="cpu")
    assert isinstance(labeller, saccade.TextLabeller)
    assert [one.label for one in labeller.predict(TEXTS)] == [
        one.label for one in TextLabeller(model).predict(TEXTS)
    ]


def test_scores_and_what_is_refused(tmp_path: Path) -> None:
    labeller = TextLabeller(classifier())
    file = tmp_path / "a.tsv"
    guessed = [one.label for one in labeller.predict(["the old town", "town"])]
    file.write_text(f"{guessed[0]}\tthe old town\n{guessed[1]}\ttown\n")
    assert labeller.score(labeller.read(file, answers=True)).accuracy == 1.0
    file.write_text(f"{guessed[0]}\tthe old town\nother\ttown\n")
    with pytest.raises(UserError, match=r"a\.tsv:2: the label 'other' does not occur"):
        labeller.score(labeller.read(file, answers=True))
    for line in ("town", "\ttown", "a\tb\tc", "a\t "):
        file.write_text(f"x\tgood line\n{line}\n")
        with pytest.raises(UserError, match=r"a\.tsv:2: \d columns; a line must be a label, a tab"):
            list(read_texts(file, labels=True))
