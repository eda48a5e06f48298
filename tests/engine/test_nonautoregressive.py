"""Non-autoregressive models in C give what they give in torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.decoding.strategy import decoder_of
from saccade.engine import make_engine, unsupported_reason
from saccade.errors import UserError
from saccade.models import build_model, model_config
from saccade.native.library import library, why_not
from tests.tiny import padded, randomise, scheme, sentences, vocabulary

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)

DECODERS = ("fertility", "mask-predict", "ctc", "dag")
VARIANTS: dict[str, dict[str, Any]] = {
    "as published": {},
    "pre-norm, GELU, other depths": {
        "norm": "pre",
        "activation": "gelu",
        "encoder_layers": 3,
        "decoder_layers": 1,
    },
    "SiLU, the other positional attention": {"activation": "silu", "positional_attention": None},
    "nothing tied": {"tied_embeddings": "none"},
}


def network(decoder: str, name: str = "as published", **sizes: Any) -> Any:
    torch.manual_seed(0)
    changes = dict(VARIANTS[name])
    if "positional_attention" in changes:
        changes["positional_attention"] = decoder != "fertility"
    table = {"width": 64, "heads": 2, "feed_forward": 96, "encoder_layers": 2, "decoder_layers": 2}
    table |= {"kind": "nonautoregressive", "decoder": decoder, "dropout": 0.0, **changes, **sizes}
    built = build_model(model_config(table), vocabulary(90))
    randomise(built, scale=0.1)
    return built.eval()


def hidden(model: Any, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states of every output position, with several candidates a sentence, and which are real."""
    memory = model.encode(source, lengths).select(torch.arange(len(source)).repeat_interleave(2))
    torch.manual_seed(3)
    if model.config.decoder == "fertility":
        real = scheme(model).has_fertility(memory)
        states, found = scheme(model).write(torch.randint(0, 4, real.shape) * real, memory)
    elif model.config.decoder == "mask-predict":
        found = torch.randint(1, 12, (len(memory.source_lengths),))
        tokens = torch.randint(4, 75, (len(found), int(found.max())))
        states = scheme(model).write(tokens, found, memory)
    else:
        states, found = scheme(model).write(memory)
    return states, torch.arange(states.size(1)) < found[:, None]


def assert_equal(ours: Any, theirs: Any, source: Tensor, lengths: Tensor) -> None:
    with torch.inference_mode():
        (mine, real), (other, _) = hidden(ours, source, lengths), hidden(theirs, source, lengths)
    torch.testing.assert_close(mine[real], other[real], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_hidden_states_are_those_of_the_model(decoder: str, name: str) -> None:
    model = network(decoder, name)
    ours = make_engine(model)
    assert ours is not model
    assert_equal(ours, model, *padded(sentences([9, 1, 4, 14, 14, 2], size=80)))


@pytest.mark.parametrize("decoder", DECODERS)
def test_sequences_of_several_blocks_of_queries_too(decoder: str) -> None:
    model = network(decoder)
    assert_equal(make_engine(model), model, *padded(sentences([60, 1, 110, 48, 49], size=80)))


@pytest.mark.parametrize("decoder", DECODERS)
def test_threads_change_nothing(decoder: str) -> None:
    """One long sentence is computed by all threads together, many sentences are shared out."""
    model = network(decoder, feed_forward=1024)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert_equal(make_engine(model), model, *padded(sentences([60], size=80)))
            assert_equal(make_engine(model), model, *padded(sentences([7] * 50, size=80)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("decoder", DECODERS)
def test_translations_and_their_scores_are_those_of_the_model(decoder: str) -> None:
    model = network(decoder)
    source, lengths = padded(sentences([9, 1, 4, 14, 14, 2], size=80))
    found = []
    for drive in (lambda: make_engine(model), lambda: model):
        asked = decoder_of(model, drive)
        options = asked.options(candidates=1)  # type: ignore[call-arg]
        lines, prefixes = list(range(len(lengths))), [[] for _ in lengths]  # type: ignore[var-annotated]
        found.append(asked.decode(source, lengths, options=options, lines=lines, prefixes=prefixes))
    for [mine], [other] in zip(*found, strict=True):
        assert mine.tokens == other.tokens
        assert mine.log_prob == pytest.approx(other.log_prob, abs=1e-3)


@pytest.mark.parametrize("decoder", DECODERS)
def test_int8_stays_near(decoder: str) -> None:
    model = network(decoder)
    source, lengths = padded(sentences([9, 4, 14], size=80))
    with torch.inference_mode():
        exact, real = hidden(model, source, lengths)
        rough, _ = hidden(make_engine(model, precision="int8"), source, lengths)
    assert 1e-4 < float((rough - exact)[real].norm() / exact[real].norm()) < 0.2


def test_the_model_itself_stays_as_it_was() -> None:
    model = network("ctc")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    in_c = make_engine(model)
    assert set(model.state_dict()) == set(before)
    assert model.output.weight is model.encoder.embedding.tokens.weight
    with torch.no_grad():
        for value in model.decoder.parameters():
            value.zero_()
    source, lengths = padded(sentences([5], size=80))
    with torch.inference_mode():
        assert not torch.equal(hidden(in_c, source, lengths)[0], hidden(model, source, lengths)[0])


def test_what_it_cannot_do_stays_with_the_model() -> None:
    model = network("ctc", width=24)
    assert "multiples of 16" in str(unsupported_reason(model))
    assert make_engine(model) is model
    with pytest.raises(UserError, match=r"int8 is not possible.*multiples of 16"):
        make_engine(model, precision="int8")
