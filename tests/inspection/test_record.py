"""Records: what they hold is what the model does, whatever its family."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from saccade.decoding.options import length_penalty
from saccade.errors import InputError, TooLong, Unsupported
from tests.inspection.records import ALL, LINE, READERS, SEQ2SEQ, Words, at_once, reader, record, translator

TEXT = "5 7 4 6 8"


@pytest.mark.parametrize("kind", ALL)
def test_rows_of_every_map_sum_to_one_and_axes_have_names(kind: str) -> None:
    found = record(kind)
    assert bool(found.maps) == ("none" not in kind and "recurrent-lm" not in kind)
    assert (found.absent.get("maps") == "no-attention") == (not found.maps)
    for one, (queries, keys) in zip(found.maps, found.sides, strict=True):
        size = len(found.tokens[queries].pieces), len(found.tokens[keys].pieces)
        assert one.weights.shape == (one.heads, *size)
        torch.testing.assert_close(one.weights.sum(-1), torch.ones(one.heads, size[0]))
        assert bool((one.weights >= 0).all())


@pytest.mark.parametrize(
    "kind", [kind for kind in ALL if kind not in ("fertility", "mask-predict", "ctc", "dag")]
)
def test_decoder_maps_are_triangular_and_masked_cells_exactly_zero(kind: str) -> None:
    found = record(kind)
    for one, (_, keys) in zip(found.maps, found.sides, strict=True):
        if keys == "read":
            seen = torch.ones(one.weights.shape[1:]).tril(one.weights.size(2) - one.weights.size(1)) == 1
            assert bool((one.weights[:, ~seen] == 0).all())


def test_what_the_decoder_reads_is_the_target_one_step_later() -> None:
    tokens = translator("transformer").inspect(LINE, "a cat eats.").tokens
    assert tokens["read"].pieces == ("<s>", *tokens["target"].pieces[:-1])


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_the_recorded_run_writes_the_same_as_the_fused_one(kind: str) -> None:
    own = translator(kind)
    [expected] = own.translate([LINE], nbest=3, beam=3)
    found = own.inspect(LINE, beam=3)
    assert found.output == expected.text
    assert [one.text for one in found.hypotheses] == [one.text for one in expected.alternatives]
    assert found.log_probs is not None
    assert sum(found.log_probs) == pytest.approx(expected.log_prob, abs=1e-4)


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("kind", ["transformer", "recurrent, additive", "convolutional"])
def test_the_scores_of_the_tree_add_up_to_the_hypothesis(kind: str, beam: int) -> None:
    found = translator(kind).inspect(LINE, beam=beam)
    assert found.search is not None and found.hypotheses[0].path
    for one in found.hypotheses:
        if not one.path:
            continue
        path = [step[place] for step, place in zip(found.search.trace.steps, one.path, strict=False)]
        total = 0.0
        for candidate in path:
            total += candidate.log_prob
            assert candidate.total == pytest.approx(total, abs=1e-4)
        assert [found.search.pieces[each.token] for each in path[:-1]] == list(one.pieces)
        assert path[-1].fate == "finished" and total == pytest.approx(one.log_prob, abs=1e-4)
        penalty = length_penalty(len(path), kind="gnmt", alpha=0.6)
        assert one.score == pytest.approx(one.log_prob / penalty, abs=1e-4)
        assert all(child.parent == parent.place for parent, child in pairwise(path))


def test_a_non_autoregressive_record_has_fertilities_and_says_what_it_lacks() -> None:
    found = at_once("fertility").inspect(LINE, "a cat eats")
    assert found.fertilities is not None
    assert sum(found.fertilities) == len(found.tokens["target"].pieces)
    assert len(found.fertilities) == len(found.tokens["source"].pieces) and found.fertilities[-1] == 0
    assert {one.kind for one in found.maps} == {"encoder", "decoder", "positional", "cross"}
    assert set(found.absent) == {"search"} and found.search is None


def test_ctc_shows_its_own_slots_and_refuses_another_target() -> None:
    found = at_once("ctc").inspect(LINE)
    assert len(found.tokens["target"].pieces) > len(found.tokens["source"].pieces)
    with pytest.raises(Unsupported, match="does not depend on the target"):
        at_once("ctc").inspect(LINE, "a cat")


@pytest.mark.parametrize("kind", READERS)
def test_a_language_model_shows_its_last_segment_and_the_memory_before(kind: str) -> None:
    text = "the dog sees an apple. a cat eats."
    own = reader(kind, Words(), segment=4)
    found = own.inspect("5 7 4 6 8 9")  # seven tokens with the line end
    assert found.tokens["target"].pieces == ("8", "9", "3")
    assert found.tokens["read"].pieces[-3:] == ("6", "8", "9")
    assert found.memory == len(found.tokens["read"].pieces) - 3
    assert found.memory == (0 if not found.maps else min(own.config.model_dump().get("memory", 0), 4))
    whole = reader(kind).inspect(text)
    assert whole.log_probs is not None and whole.memory == 0
    assert -sum(whole.log_probs) == pytest.approx(reader(kind).score([text]).nats, rel=1e-4)


def test_samples_and_greedy_search_have_traces_too() -> None:
    own = translator("transformer")
    for options in ({"beam": 1}, {"sample": True, "nbest": 3}):
        found = own.inspect(LINE, **options)
        assert found.search is not None and len(found.hypotheses) == options.get("nbest", 1)
        for one in found.hypotheses:
            steps = zip(found.search.trace.steps, one.path, strict=False)
            total = sum(step[place].log_prob for step, place in steps)
            assert not one.path or total == pytest.approx(one.log_prob, abs=1e-4)


def test_a_lone_surrogate_is_no_obstacle(tmp_path: Path) -> None:
    found = translator("transformer").inspect("the \ud800 dog", "a \udcff cat", name="\udcff")
    found.save(tmp_path / "one.html")
    assert found.source == "the \ufffd dog" and found.name == "\ufffd"
    reader("transformer-xl").inspect("the \ud800 dog").save(tmp_path / "two.json")


def test_text_that_cannot_be_shown_is_refused() -> None:
    own = translator("transformer", Words())
    for blank in ("", "  \t"):
        with pytest.raises(InputError, match="the text is empty"):
            own.inspect(blank)
        with pytest.raises(InputError, match="the text is empty"):
            reader("transformer-xl").inspect(blank)
        with pytest.raises(InputError, match="the target is empty"):
            own.inspect(TEXT, blank)
    with pytest.raises(TooLong, match="the text has a length of 2,001, but at most 256"):
        own.inspect(" ".join(["5"] * 2000))
    with pytest.raises(TooLong, match="the target has a length of 2,001"):
        own.inspect(TEXT, " ".join(["5"] * 2000))
    with pytest.raises(TooLong, match="the text has a length of 2,001, but at most 256"):
        reader("transformer-xl", Words()).inspect(" ".join(["5"] * 2000))
