"""One loaded model serves many threads at once, and each gets what it would get alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch

from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.engine.transformer import TransformerEngine
from saccade.model_folder.checkpoint import Model
from saccade.models import build_model, model_config
from saccade.native.library import library, why_not
from saccade.nn.positions import SinusoidalPositions, sinusoids
from saccade.use.translator import Translation, Translator
from tests.tiny import Words, padded, randomise, vocabulary

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)

THREADS = 8
SIZES: dict[str, Any] = {"width": 32, "heads": 2, "feed_forward": 32, "dropout": 0.0}
LAYERS: dict[str, Any] = {"encoder_layers": 1, "decoder_layers": 1}
KINDS: dict[str, dict[str, Any]] = {
    "Transformer": {"kind": "transformer", **LAYERS},
    "fertility": {"kind": "nonautoregressive", "decoder": "fertility", **LAYERS},
    "mask-predict": {"kind": "nonautoregressive", "decoder": "mask-predict", **LAYERS},
    "CTC": {"kind": "nonautoregressive", "decoder": "ctc", **LAYERS},
    "Transformer in torch": {"kind": "transformer", "heads": 4, "width": 24, **LAYERS},
    "rotary Transformer in torch": {"kind": "transformer", "positions": "rotary", **LAYERS},
    "relative Transformer in torch": {"kind": "transformer", "positions": "relative", **LAYERS},
    "ALiBi Transformer in torch": {"kind": "transformer", "positions": "alibi", **LAYERS},
    "recurrent": {"kind": "recurrent", "embedding": 16, **LAYERS},
    "convolutional": {"kind": "convolutional", "embedding": 16, "max_positions": 200, **LAYERS},
    "CTC in torch": {"kind": "nonautoregressive", "decoder": "ctc", "heads": 4, "width": 24, **LAYERS},
}


def lines(count: int, *, longest: int = 140) -> list[str]:
    """Mostly short ones, and some that make every table grow several times."""
    draw = random.Random(1)
    lengths = [draw.randrange(1, longest if n % 20 == 0 else 12) for n in range(count)]
    return [" ".join(str(draw.randrange(4, 90)) for _ in range(length)) for length in lengths]


def translator(name: str) -> Translator:
    """A new one, with the same weights each time: nothing in it has been used yet."""
    torch.manual_seed(0)
    table = {**SIZES, **KINDS[name]}
    if table["kind"] in ("recurrent", "convolutional"):
        table = {key: value for key, value in table.items() if key not in ("heads", "feed_forward")}
    config = model_config(table)
    network: Any = build_model(config, vocabulary(90))
    randomise(network, scale=0.2)
    return Translator.of(Model(network.eval(), config, Words(90)))


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns for each thread; all begin at the same moment."""
    start = threading.Barrier(THREADS)

    def one(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


def shares(of: Sequence[str]) -> list[list[str]]:
    """Each thread begins elsewhere: what is longest comes at different times."""
    return [[*of[n * len(of) // THREADS :], *of[: n * len(of) // THREADS]] for n in range(THREADS)]


def assert_threads_agree(name: str, count: int, *, chunk: int) -> None:
    options = {} if KINDS[name]["kind"] == "nonautoregressive" else {"max_length": 6, "beam": 2}
    text = lines(count)
    alone = translator(name)
    expected = {line: alone.translate([line], **options)[0] for line in set(text)}
    # Random weights may write the same words for many lines, but never with the same probability.
    assert len({round(found.log_prob, 4) for found in expected.values()}) > 0.9 * len(expected)
    together, parts = translator(name), shares(text)

    def work(number: int) -> list[Translation]:
        part = parts[number]
        return [
            found
            for first in range(0, len(part), chunk)
            for found in together.translate(part[first : first + chunk], **options)
        ]

    for part, found in zip(parts, at_once(work), strict=True):
        assert [one.text for one in found] == [expected[line].text for line in part]
        alone_scores = [expected[line].log_prob for line in part]
        assert [one.log_prob for one in found] == pytest.approx(alone_scores, abs=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_translations_are_those_of_one_thread(name: str) -> None:
    assert_threads_agree(name, 40, chunk=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_translations_are_those_of_one_thread_for_many_lines(name: str) -> None:
    assert_threads_agree(name, 10_000, chunk=50)


def test_engines_are_shared_from_the_first_call_on() -> None:
    network = cast(Any, translator("Transformer").decoder).network
    sources = [padded([[int(x) for x in line.split()]]) for line in lines(32, longest=600)]
    options = DecodingConfig(beam=1, max_length=12)
    alone = TransformerEngine(network)
    expected = [search(alone, *source, options=options)[0][0] for source in sources]
    for _ in range(2):
        engine = TransformerEngine(network)

        def work(number: int, engine: TransformerEngine = engine) -> list[tuple[int, Any]]:
            order = [(number * 4 + n) % 32 for n in range(32)]
            return [(n, search(engine, *sources[n], options=options)[0][0]) for n in order]

        for found in at_once(work):
            for n, hypothesis in found:
                assert hypothesis.tokens == expected[n].tokens
                assert hypothesis.score == pytest.approx(expected[n].score, abs=1e-4)


def test_tables_of_positions_never_change_under_a_reader() -> None:
    network = cast(Any, translator("Transformer").decoder).network
    stack = TransformerEngine(network)._decoder
    exact = sinusoids(5000, 32)

    def work(number: int) -> None:
        for n in range(200):
            length = 1 + (number * 611 + n * 23) % 4800
            tables = stack.position_tables(length)
            assert tables.length >= length
            assert tables.rows is not None
            assert torch.equal(tables.rows[:length], exact[:length])

    at_once(work)
    assert stack.position_tables(1).length == stack.position_tables(4800).length  # one table, the longest


def test_sinusoids_grow_for_each_thread_that_needs_them() -> None:
    exact = sinusoids(8192, 16)

    def work(number: int) -> None:
        for n in range(200):
            end = 1 + (number * 1021 + n * 37) % 8000
            assert torch.equal(positions.rows(0, end), exact[:end])

    for _ in range(5):
        positions = SinusoidalPositions(16, length=4)
        at_once(work)
