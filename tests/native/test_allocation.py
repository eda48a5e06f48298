"""Lack of memory is an error that can be caught, wherever it strikes, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from saccade.engine import make_engine
from saccade.engine.transformer import TransformerEngine
from saccade.models import build_model, model_config
from saccade.native.attention import short_attention
from saccade.native.library import library, why_not
from saccade.native.linear import pack
from saccade.native.prefixes import prefix_beam_search
from saccade.native.softmax import r_drop_gradient_, softmax_, softmax_gradient_
from tests.native.builds import Faulty, in_place
from tests.tiny import padded, scheme, sentences, transformer, vocabulary

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    return Faulty(tmp_path_factory.mktemp("faulty"))


def linear_forward() -> None:
    pack(torch.ones(70, 32), None, precision="int8")(torch.ones(200, 32))


def linear_argmax() -> None:
    pack(torch.ones(70, 32), None, precision="float32").argmax(torch.ones(200, 32))


def gradient() -> None:
    softmax_gradient_(torch.zeros(9, 40), torch.zeros(9, dtype=torch.int64), smoothing=0.1)


def r_drop() -> None:
    r_drop_gradient_(torch.zeros(8, 40), torch.zeros(4, dtype=torch.int64), smoothing=0.1, strength=1.0)


def softmax() -> None:
    softmax_(torch.zeros(9, 40))


def attention() -> None:
    query, key, value = (torch.randn(2, 2, 5, 16, requires_grad=True) for _ in range(3))
    short_attention(query, key, value, visible=None, causal=False, dropout=0.0).sum().backward()


def prefixes() -> None:
    blank, tokens = torch.zeros(2, 4), torch.ones(2, 4, 3, dtype=torch.int64)
    prefix_beam_search(blank, tokens, torch.zeros(2, 4, 3), torch.tensor([4, 2]), kept=2)


def few_rows_at_a_time() -> None:
    engine = TransformerEngine(
        transformer(words=vocabulary(90), width=64, heads=2, feed_forward=96, dtype=torch.float32)
    )
    state = engine.start(engine.encode(*padded(sentences([9, 1, 4], size=80))), 9)
    engine.step(torch.full((3,), 5), state)


def rows_shared_and_sentences_shared() -> None:
    engine = TransformerEngine(
        transformer(words=vocabulary(90), width=64, heads=2, feed_forward=96, dtype=torch.float32)
    )
    state = engine.start(engine.encode(*padded(sentences([9] * 10, size=80))), 9)
    engine.step(torch.full((10,), 5), state)


def products_shared() -> None:
    """Large enough for threads to compute each product together, in sequences and in a step."""
    sizes = {"width": 64, "heads": 2, "feed_forward": 17_024, "encoder_layers": 1, "decoder_layers": 1}
    engine = TransformerEngine(transformer(words=vocabulary(90), dtype=torch.float32, **sizes))
    state = engine.start(engine.encode(*padded(sentences([9], size=80))), 9)
    engine.step(torch.full((1,), 5), state)


def all_positions_at_once() -> None:
    table = {"kind": "nonautoregressive", "decoder": "ctc", "width": 64, "heads": 2, "feed_forward": 96}
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0}
    network = build_model(model_config(table | sizes), vocabulary(90))
    ours = make_engine(network.eval())
    scheme(ours).write(ours.encode(*padded(sentences([9, 4], size=80))))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "call",
    [
        linear_forward,
        linear_argmax,
        gradient,
        r_drop,
        softmax,
        attention,
        prefixes,
        few_rows_at_a_time,
        rows_shared_and_sentences_shared,
        products_shared,
        all_positions_at_once,
    ],
)
def test_whichever_allocation_fails_it_is_a_memory_error_and_nothing_is_lost(
    call: Callable[[], None], threads: int, faulty: Faulty
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with in_place(faulty.library):
            faulty.fail_at(0)
            call()
            needed = faulty.allocations
            assert needed > 0
            assert faulty.held == 0
            for number in range(1, needed + 1):
                faulty.fail_at(number)
                with pytest.raises(MemoryError, match="no memory for the kernel"):
                    call()
                assert faulty.held == 0
            faulty.fail_at(0)
            call()
    finally:
        torch.set_num_threads(before)
