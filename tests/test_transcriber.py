"""Recognisers and classifiers of files in use: alone as in bulk, attention, scores, and what is refused."""

from __future__ import annotations

import base64
from functools import cache
from itertools import groupby, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import saccade
from saccade.errors import UserError
from saccade.frames.reading import View
from saccade.inspection.overlay import heat
from saccade.model_folder.checkpoint import save_model
from saccade.models.families import Seq2Seq, expect
from saccade.use.frame_labeller import FrameLabeller
from saccade.use.transcriber import Transcriber
from saccade.use.transcript_scores import TranscriptScores, edit_distance
from tests.framed import frame_classifier, recogniser, write_arrays

LENGTHS = [7, 12, 3, 20, 1]


def test_texts_are_the_same_alone_and_in_bulk(tmp_path: Path) -> None:
    files = write_arrays(tmp_path, LENGTHS)
    use = Transcriber(recogniser())
    together = use.predict(files, max_length=9)
    for file, one in zip(files, together, strict=True):
        [alone] = use.predict([file], max_length=9)
        assert (one.file, one.text, one.problem) == (file, alone.text, None)
        assert one.log_prob == pytest.approx(alone.log_prob, abs=1e-9)


def test_labels_are_the_same_alone_and_in_bulk(tmp_path: Path) -> None:
    files = write_arrays(tmp_path, LENGTHS)
    use = FrameLabeller(frame_classifier())
    for file, one in zip(files, use.predict(files), strict=True):
        [alone] = use.predict([file])
        assert one.label == alone.label
        assert dict(one.probabilities) == pytest.approx(dict(alone.probabilities), abs=1e-6)
        assert sum(one.probabilities.values()) == pytest.approx(1.0)


def test_the_search_is_the_one_of_translation(tmp_path: Path) -> None:
    [file] = write_arrays(tmp_path, [9])
    use = Transcriber(recogniser())
    with pytest.raises(UserError, match="beam"):
        use.predict([file], beam=0)
    scores = [use.predict([file], beam=beam, max_length=6, alpha=0.0)[0].log_prob for beam in (1, 40)]
    assert scores[1] >= scores[0] - 1e-9


def test_rows_of_recorded_attention_sum_to_1(tmp_path: Path) -> None:
    [file] = write_arrays(tmp_path, [9])
    use = Transcriber(recogniser())
    use.settings = {"max_length": 5}
    text, maps = use.attention(file)
    kinds = [one.kind for one in maps]
    assert kinds.count("cross") == kinds.count("decoder") == kinds.count("encoder") == 2
    for one in maps:
        torch.testing.assert_close(one.weights.sum(-1), torch.ones(one.weights.shape[:2]), atol=1e-5, rtol=0)
    cross = next(one for one in maps if one.kind == "cross")
    assert cross.weights.shape == (3, len(text) + 1, 5)  # nine frames, a stride of two
    record = use.inspect(file, name="a")
    assert record.output == text and len(record.tokens["source"].pieces) == 5
    assert record.search is not None and record.source == Path(file).name
    picture = record.to_json()["records"][0]["picture"]
    assert picture["shape"] == [6, 9] and not picture["square"]
    assert picture["boxes"] == [
        [[x, 0, 1, 6] for x in (first, first + 1) if x < 9] for first in range(0, 9, 2)
    ]
    values = np.frombuffer(base64.b64decode(picture["values"]), np.uint8).reshape(6, 9)
    frames = np.load(file).T[::-1]
    expected = (frames - frames.min()) / (frames.max() - frames.min()) * 255
    assert np.abs(values - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("use", [Transcriber(recogniser()), FrameLabeller(frame_classifier(strides=[2]))])
def test_a_long_file_is_drawn_but_makes_no_page(use: Transcriber | FrameLabeller, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    [file] = write_arrays(tmp_path, [600])
    with pytest.raises(UserError, match=r"the file has a length of 300, but at most 256 can be shown"):
        use.inspect(file)
    use.draw(file, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


def test_the_label_attends_to_the_frames(tmp_path: Path) -> None:
    [file] = write_arrays(tmp_path, [9])
    record = FrameLabeller(frame_classifier(strides=[2])).inspect(file)
    assert [one.kind for one in record.maps] == ["encoder", "cross"]
    assert len(record.tokens["source"].pieces) == 5
    assert record.picture is not None and len(record.picture.boxes) == 5
    for one in record.maps:
        torch.testing.assert_close(one.weights.sum(-1), torch.ones(one.weights.shape[:2]), atol=1e-5, rtol=0)


def test_attention_is_drawn_over_what_was_read(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    [file] = write_arrays(tmp_path, [9])
    use = Transcriber(recogniser())
    use.settings = {"max_length": 4}
    use.draw(file, tmp_path / "a.png")
    FrameLabeller(frame_classifier()).draw(file, tmp_path / "b.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))


def test_the_heat_of_a_position_lies_over_its_frames() -> None:
    view = View(np.zeros((4, 5), np.float32), (2, 2), 2)  # three columns of two boxes
    found = heat(view, np.array([1, 2, 3], np.float32), stride=2)
    assert found.shape == (4, 5)
    np.testing.assert_array_equal(found, [[1, 1, 2, 2, 3]] * 4)
    found = heat(view, np.array([1, 2, 3, 4, 5, 6], np.float32), stride=1)
    np.testing.assert_array_equal(found, [[1, 1, 3, 3, 5]] * 2 + [[2, 2, 4, 4, 6]] * 2)


def test_a_folder_is_loaded_as_what_the_model_is_for(tmp_path: Path) -> None:
    files = write_arrays(tmp_path, [9, 4])
    for name, model, use in (
        ("recogniser", recogniser(), saccade.Transcriber),
        ("labeller", frame_classifier(), saccade.FrameLabeller),
    ):
        save_model(tmp_path / name, model)
        loaded = saccade.load(tmp_path / name, device="cpu")
        assert type(loaded) is use
        before = [one.as_dict() for one in use(model).predict(files)]
        after = [one.as_dict() for one in loaded.predict(files)]
        assert [one.get("text", one.get("label")) for one in before] == [
            one.get("text", one.get("label")) for one in after
        ]
    with pytest.raises(UserError, match="a recogniser, which writes the text of pictures or sounds"):
        expect(recogniser().network, Seq2Seq)
    with pytest.raises(UserError, match="this needs a recogniser"):
        Transcriber(frame_classifier())


def test_what_cannot_be_read_is_a_problem_of_its_file(tmp_path: Path) -> None:
    files = [*write_arrays(tmp_path, [9, 30, 0]), str(tmp_path / "none.npy"), f"{'x' * 5000}.npy"]
    use = Transcriber(recogniser(positions="learned", max_positions=10))
    good, long, empty, none, nameless = use.predict(files, max_length=5)
    assert good.problem is None
    assert long.problem == f"{files[1]}: 30 positions, but the model reads at most 20."
    assert empty.problem == f"{files[2]}: it has no positions."
    assert none.problem == f"{files[3]}: no such file." and none.text == ""
    assert nameless.problem is not None and nameless.problem.startswith("xxx")
    assert FrameLabeller(frame_classifier()).predict(files[2:3])[0].problem == empty.problem
    with pytest.raises(UserError, match="it has no positions"):
        use.inspect(files[2])
    with pytest.raises(UserError, match="no such file"):
        use.inspect(files[3])
    (tmp_path / "a.tsv").write_text("0.npy\ta\nnone.npy\tb\n")
    with pytest.raises(UserError, match=r"a\.tsv:2: .*none\.npy: no such file"):
        use.score(use.read(tmp_path / "a.tsv", answers=True))


def test_scores_of_a_manifest(tmp_path: Path) -> None:
    files = write_arrays(tmp_path, [9, 4])
    use, labeller = Transcriber(recogniser()), FrameLabeller(frame_classifier())
    use.settings = {"max_length": 4}
    texts = [one.text or "a" for one in use.predict(files)]
    (tmp_path / "a.tsv").write_text("".join(f"{n}.npy\t{text}b\n" for n, text in enumerate(texts)))
    scores = use.score(use.read(tmp_path / "a.tsv", answers=True))
    assert scores.count == 2 and scores.exact == 0 and 0 < scores.cer <= 1
    assert scores.as_dict()["cer"] == scores.cer and scores.lines()[0].startswith("CER")
    with pytest.raises(UserError, match="no confusion matrix"):
        scores.draw(tmp_path / "a.png")
    labels = [one.label for one in labeller.predict(files)]
    (tmp_path / "b.tsv").write_text("".join(f"{n}.npy\t{label}\n" for n, label in enumerate(labels)))
    assert labeller.score(labeller.read(tmp_path / "b.tsv", answers=True)).accuracy == 1.0
    with pytest.raises(UserError, match=r"a\.tsv:1: the label"):
        labeller.score(labeller.read(tmp_path / "a.tsv", answers=True))
    with pytest.raises(UserError, match="nothing to score"):
        TranscriptScores.of([])


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_edit_distance_is_that_of_its_definition(one: str, other: str) -> None:
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        differs = one[i - 1] != other[j - 1]
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + differs)

    assert edit_distance(one, other) == distance(len(one), len(other))


def test_the_ctc_head_writes_the_likeliest_text_of_all_paths(tmp_path: Path) -> None:
    files = write_arrays(tmp_path, [4, 6, 5])
    model = recogniser(ctc=0.5, strides=[2])
    use = Transcriber(model, head="ctc")
    greedy, searched = use.predict(files, beam=1), use.predict(files, beam=200)
    network, pad = use.network, model.network.vocabulary.pad
    assert network.ctc is not None
    network.requires_grad_(False)
    for file, one, other in zip(files, greedy, searched, strict=True):
        source = torch.from_numpy(np.load(file))[None]
        states = network.body.encode(source, torch.tensor([source.size(1)])).states
        allowed = [pad, *range(4, 8)]
        log_probs = network.ctc(states)[0].log_softmax(-1)
        totals: dict[str, float] = {}
        best = (-np.inf, "")
        for path in product(allowed, repeat=log_probs.size(0)):
            value = float(sum(log_probs[place, token] for place, token in enumerate(path)))
            ids = [token for token, _ in groupby(path) if token != pad]
            text = use.tokenizer.decode(ids)
            totals[text] = float(np.logaddexp(totals.get(text, -np.inf), value))
            best = max(best, (value, text))
        assert (one.text, one.log_prob) == (best[1], pytest.approx(best[0], abs=1e-5))
        assert other.text == max(totals, key=totals.__getitem__)
        assert other.log_prob == pytest.approx(totals[other.text], abs=1e-4)
    assert [one.text for one in greedy] == [use.predict([file], beam=1)[0].text for file in files]


def test_a_head_that_a_model_lacks_is_refused() -> None:
    with pytest.raises(UserError, match=r"train one with model\.ctc above 0"):
        Transcriber(recogniser(), head="ctc")
    with pytest.raises(UserError, match="allowed are attention, ctc"):
        Transcriber(recogniser(), head="other")  # type: ignore[arg-type]
