"""Taggers in use: words in, labels out, in order, alone as in bulk."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import saccade
from saccade.errors import UserError
from saccade.model_folder.checkpoint import save_model
from saccade.text.inputs import padded_columns
from saccade.use.tagger import WordLabeller
from tests import tiny
from tests.labelled import LABELS, SENTENCES, tagger

CONLLU = """\
# text = the old town
1\tthe\tthe\tDET\t_\t_\t0\t_\t_\t_
2\told\told\tADJ\t_\t_\t0\t_\t_\t_
3\ttown\ttown\tNOUN\t_\t_\t0\t_\t_\t_

1\tsleeps\tsleep\tVERB\t_\t_\t0\t_\t_\t_

"""


@pytest.mark.parametrize("crf", [False, True])
def test_labels_and_their_probability_are_those_of_an_enumeration(crf: bool) -> None:
    labeller = WordLabeller(tagger(crf=crf))
    network: Any = labeller.network.requires_grad_(requires_grad=False)
    for words, found in zip(SENTENCES, labeller.predict(SENTENCES), strict=True):
        inputs = padded_columns(labeller.reader.columns, labeller.reader.as_lines([words]))
        [emissions] = network.output(network.encode(inputs))
        scores = {}
        for labels in itertools.product(range(len(LABELS)), repeat=len(words)):
            total = sum(float(emissions[place, label]) for place, label in enumerate(labels))
            if crf:
                total += float(network.crf.starts[labels[0]] + network.crf.ends[labels[-1]])
                total += sum(float(network.crf.transitions[pair]) for pair in itertools.pairwise(labels))
            scores[labels] = total
        best = max(scores, key=scores.__getitem__)
        assert found.labels == tuple(LABELS[label] for label in best)
        normal = torch.tensor(list(scores.values())).logsumexp(0)
        assert found.log_prob == pytest.approx(float(scores[best] - normal), abs=1e-4)


@pytest.mark.parametrize("changes", [{}, {"crf": True, "kernel": 1}, {"encoder": "lstm"}])
def test_alone_as_in_bulk(changes: dict[str, Any]) -> None:
    labeller = WordLabeller(tagger(**changes))
    together = labeller.predict([*SENTENCES, []])
    alone = [labeller.predict([words])[0] for words in [*SENTENCES, []]]
    assert [one.labels for one in together] == [one.labels for one in alone]
    assert [one.log_prob for one in together] == pytest.approx([one.log_prob for one in alone], abs=1e-6)
    assert together[-1].labels == ()


def test_a_sentence_is_a_list_of_words_or_words_between_blanks() -> None:
    labeller = WordLabeller(tagger())
    first, second = labeller.predict(["the old  town", ["the", "old", "town"]])
    assert first == second
    with pytest.raises(TypeError, match="sentences is a single str"):
        labeller.predict("the old town")
    with pytest.raises(TypeError, match=r"sentences\[0\]\[1\] is int"):
        labeller.predict([["the", 3]])  # type: ignore[list-item]


def test_a_sentence_beyond_the_learned_positions_is_a_problem_of_its_own() -> None:
    labeller = WordLabeller(tagger(positions="learned", max_positions=3))
    long, short = labeller.predict([SENTENCES[2], SENTENCES[0]])
    assert long.problem == "4 pieces, but the model reads at most 3; split the sentence."
    assert (long.labels, len(short.labels), short.problem) == ((), 3, None)


def test_a_folder_is_loaded_as_what_the_model_is_for_and_pickled(tmp_path: Path) -> None:
    save_model(tmp_path / "model", tagger())
    labeller = saccade.load(tmp_path / "model", device="cpu")
    assert isinstance(labeller, saccade.WordLabeller)
    expected = [one.labels for one in labeller.predict(SENTENCES)]
    again = pickle.loads(pickle.dumps(labeller))
    assert [one.labels for one in again.predict(SENTENCES)] == expected
    loaded = saccade.WordLabeller.load(tmp_path / "model", device="cpu")
    assert [one.labels for one in loaded.predict(SENTENCES)] == expected


def test_another_model_is_refused_and_says_what_it_is() -> None:
    with pytest.raises(UserError, match="a translation model .*, but this needs a tagger"):
        WordLabeller(tiny.model())


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "a.conllu").write_text(text)
    return tmp_path / "a.conllu"


def test_scores_are_counts_of_labels(tmp_path: Path) -> None:
    labeller = WordLabeller(tagger())
    file = written(tmp_path, CONLLU)
    guessed = [one.labels for one in labeller.run(list(labeller.read(file, answers=True)))]
    scores = labeller.score(labeller.read(file, answers=True))
    right = sum(
        a == b for a, b in zip(itertools.chain(*guessed), ["DET", "ADJ", "NOUN", "VERB"], strict=True)
    )
    assert (scores.accuracy, scores.count, int(scores.confusion.sum())) == (right / 4, 4, 4)
    assert scores.unknown_accuracy is None  # the vocabulary has all of these words
    assert scores.as_dict()["labels"]["DET"]["count"] == 1


def test_an_unknown_label_is_refused_with_its_place(tmp_path: Path) -> None:
    labeller = WordLabeller(tagger())
    file = written(tmp_path, CONLLU.replace("VERB", "VRB"))
    with pytest.raises(UserError, match=r"a\.conllu:6: the label 'VRB' does not occur"):
        labeller.score(labeller.read(file, answers=True))


def test_the_record_of_a_sentence_has_its_words_and_labels() -> None:
    labeller = WordLabeller(tagger())
    record = labeller.inspect("the old town", name="tagger")
    assert record.output == " ".join(labeller.predict(["the old town"])[0].labels)
    assert record.tokens["source"].pieces == ("the", "old", "town")
    assert [(one.kind, tuple(one.weights.shape)) for one in record.maps] == [("encoder", (3, 3, 3))] * 2
    for one in record.maps:
        torch.testing.assert_close(one.weights.sum(-1), torch.ones(3, 3), check_dtype=False)
    assert record.to_json()["records"][0]["absent"] == {"search": "labels"}
    assert record.to_json()["records"][0]["places"] == [0, 1, 2]
    with pytest.raises(UserError, match="the text is empty"):
        labeller.inspect("  ")
    with pytest.raises(UserError, match="the text has a length of 257, but at most 256 can be shown"):
        labeller.inspect("the " * 257)
    assert WordLabeller(tagger(encoder="lstm")).inspect("the old town").absent["maps"] == "no-attention"
