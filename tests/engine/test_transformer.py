from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.decoding.options import DecodingConfig
from saccade.decoding.scoring import target_log_probs
from saccade.decoding.search import Search, search
from saccade.engine import make_engine, unsupported_reason
from saccade.engine.transformer import EngineState, TransformerEngine
from saccade.errors import UserError
from saccade.models.interface import IncrementalDecoder
from saccade.native.library import library, why_not
from saccade.nn.rows import RowLayout
from tests import continuous
from tests.continuous import as_they_come, jobs
from tests.tiny import rows_of, transformer, vocabulary

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)

SIZES: dict[str, Any] = {"width": 64, "heads": 2, "feed_forward": 96, "dtype": torch.float32}
VARIANTS: dict[str, dict[str, Any]] = {
    "as published": {},
    "pre-norm, GELU": {"norm": "pre", "activation": "gelu"},
    "SiLU, halves, output bias, unscaled": {
        "activation": "silu",
        "sinusoid_layout": "halves",
        "output_bias": True,
        "scaled_embeddings": False,
    },
    "learned positions, nothing tied": {"positions": "learned", "tied_embeddings": "none"},
    "no positions, one decoder layer": {"positions": "none", "decoder_layers": 1, "encoder_layers": 3},
    "windows, some and different": {"window": (3, 0, 2, 5), "encoder_layers": 2, "decoder_layers": 2},
    "two vocabularies": {"words": vocabulary(90, target_size=75)},
}


def network(name: str = "as published") -> Any:
    return transformer(**{"words": vocabulary(90), **SIZES, **VARIANTS[name]})


def sentences(batch: int = 7, longest: int = 11) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    lengths = torch.randint(1, longest + 1, (batch,))
    lengths[0] = longest
    source = torch.randint(4, 75, (batch, longest))
    return source.masked_fill(torch.arange(longest) >= lengths[:, None], 0), lengths


def logits_along(model: IncrementalDecoder) -> list[Tensor]:
    """Steps in which hypotheses multiply, change places and end, more of them than the room at first."""
    source, lengths = sentences()
    found = []
    torch.manual_seed(2)
    with torch.inference_mode():
        state = model.start(model.encode(source, lengths), 80)
        kept, hypotheses, layout = 7, 1, RowLayout.even(7, 1)
        for step in range(70):
            logits, state = model.step(torch.randint(4, 75, (kept * hypotheses,)), state)
            found.append(logits)
            first = torch.arange(kept)[:, None] * hypotheses
            rows = first + torch.randint(0, hypotheses, (kept, 3))
            if step in {4, 30}:
                rows = rows[torch.randperm(kept).sort().values[::2]]
            moved = rows_of(rows, layout)
            state, layout = state.select(moved), moved.layout
            kept, hypotheses = rows.shape
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_every_step_gives_the_logits_of_the_model(name: str) -> None:
    model = network(name)
    for ours, theirs in zip(logits_along(TransformerEngine(model)), logits_along(model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"beam": 1}, {"beam": 4, "nbest": 4}, {"sample": True, "nbest": 3}, {"beam": 3, "batch_tokens": 8}],
)
def test_search_finds_the_same_with_it(options: dict[str, Any]) -> None:
    model = network()
    decoding = DecodingConfig(max_length=25, **options)
    source, lengths = sentences(batch=20)
    ours = search(make_engine(model), source, lengths, options=decoding)
    theirs = search(model, source, lengths, options=decoding)
    for mine, other in zip(ours, theirs, strict=True):
        assert [x.tokens for x in mine] == [x.tokens for x in other]
        assert [x.score for x in mine] == pytest.approx([x.score for x in other], abs=1e-3)


@pytest.mark.parametrize("longest", [11, 120])
@pytest.mark.parametrize("name", VARIANTS)
def test_given_targets_have_the_hidden_states_and_scores_of_the_model(name: str, longest: int) -> None:
    model = network(name)
    engine = TransformerEngine(model)
    source, lengths = sentences(longest=longest)
    torch.manual_seed(5)
    target = torch.randint(4, 75, (7, longest + 2))
    with torch.inference_mode():
        ours = engine.decode(target, engine.encode(source, lengths))
        theirs = model.decode(target, model.encode(source, lengths))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        rows = [row[: 1 + number].tolist() for number, row in enumerate(target)]
        mine, other = (target_log_probs(one, source, lengths, rows) for one in (engine, model))
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("feed_forward", [96, 17_024])
def test_threads_change_nothing(feed_forward: int) -> None:
    """With few weights threads share out rows; with many and few rows they share each product."""
    sizes = {**SIZES, "feed_forward": feed_forward, "norm": "pre", "activation": "gelu"}
    engine = TransformerEngine(transformer(words=vocabulary(90), **sizes))
    source, lengths = sentences()
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            state = engine.start(engine.encode(source, lengths), 9)
            found += [
                logits := engine.step(torch.full((7,), 5), state)[0],
                engine.step(logits.argmax(1), state)[0],
            ]
    finally:
        torch.set_num_threads(before)
    for alone, together in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_int8_stays_near(name: str) -> None:
    model = network(name)
    rough, exact = logits_along(TransformerEngine(model, precision="int8"))[0], logits_along(model)[0]
    assert 1e-4 < float((rough - exact).norm() / exact.norm()) < 0.2


def test_a_sentence_has_the_same_logits_alone_and_among_longer_ones() -> None:
    engine = TransformerEngine(network())
    source, lengths = sentences()
    token = torch.full((7,), 5)
    with torch.inference_mode():
        together, _ = engine.step(token, engine.start(engine.encode(source, lengths), 9))
        for row in range(7):
            short = source[row : row + 1, : lengths[row]]
            alone, _ = engine.step(token[:1], engine.start(engine.encode(short, lengths[row : row + 1]), 9))
            torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"positions": "rotary"}, "positions"),
        ({"width": 24}, "multiples of 16"),
        ({"dtype": torch.float64}, "float32"),
    ],
)
def test_what_it_cannot_do_stays_with_the_model_and_int8_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    model = transformer(words=vocabulary(90), **{**SIZES, **changes})
    assert reason in str(unsupported_reason(model))
    assert make_engine(model) is model
    with pytest.raises(UserError, match=f"int8 is not possible.*{reason}"):
        make_engine(model, precision="int8")


@pytest.mark.parametrize("name", VARIANTS)
def test_sentences_that_come_and_go_are_decoded_as_by_themselves(name: str) -> None:
    engine, work = TransformerEngine(ending(name)), jobs(12, seed=6, size=75)
    assert engine.joins
    found = as_they_come(engine, work, seed=6, cancelled={3})
    assert found.keys() >= set(range(12)) - {3}
    for number, hypotheses in found.items():
        expected = continuous.alone(engine, work[number])
        assert [one.tokens for one in hypotheses] == [one.tokens for one in expected]
        assert [one.score for one in hypotheses] == pytest.approx([one.score for one in expected], abs=1e-4)


def ending(name: str) -> Any:
    """A network that ends some sentences by itself."""
    built = network(name)
    bias = torch.zeros(built.vocabulary.target_size)
    bias[built.vocabulary.end] = 3.0
    built.output.bias = torch.nn.Parameter(bias if built.output.bias is None else built.output.bias + bias)
    return built


def test_an_engine_that_is_always_fed_keeps_no_past_and_no_memory_of_who_has_left() -> None:
    engine = TransformerEngine(network())
    running, (source, lengths) = Search(engine), sentences(batch=1, longest=4)
    for _ in range(40):
        running.add(source, lengths, options=DecodingConfig(beam=2, max_length=5))
        running.step()
    (batch,) = running._batches
    state = batch.state
    assert isinstance(state, EngineState)
    assert len(state.past.rows) <= 6
    assert state.memory.states.size(1) <= 6
    assert state.ancestors.size(1) == 64


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_threads_share_count_from_their_own_beginning(threads: int) -> None:
    """More rows than one thread takes alone, of sentences that began at different times."""
    model, before = network("windows, some and different"), torch.get_num_threads()
    source, lengths = sentences(batch=12)
    found: list[list[Tensor]] = []
    try:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            for one in (TransformerEngine(model), model):
                state, logits = None, []
                for first in (0, 5, 9):
                    part = slice(first, {0: 5, 5: 9, 9: 12}[first])
                    fresh = one.start(one.encode(source[part], lengths[part]), 9)
                    state = fresh if state is None else state.join(fresh)
                    for token in (5, 6, 7):
                        out, state = one.step(torch.full((part.stop,), token), state)
                        logits.append(out)
                found.append(logits)
    finally:
        torch.set_num_threads(before)
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
