"""Sentences/s of search beside CTranslate2 at its best settings: same weights, same pieces, turn by turn.

Greedy and beam 5, one sentence at a time and in bulk, float32 and int8. Piece ids in, piece ids out: the
tokeniser is outside the timer, for all alike. Without --model the weights are random, and every
translation has the length that --tokens says.
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import sacrebleu
import torch

from benchmarks.common import arguments, corpus, show
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.engine import make_engine
from saccade.interop.ctranslate2 import vocabularies, write_ctranslate2
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models import build_model, model_config
from saccade.models.interface import IncrementalDecoder, Vocabulary
from saccade.models.transformer import Transformer
from saccade.quantisation import Precision
from saccade.text.batching import plan_for_inference

Ids = list[list[int]]

PRECISIONS: tuple[Precision, ...] = ("float32", "int8")

SIZES: dict[str, tuple[dict[str, Any], int]] = {
    "small": ({"preset": "small"}, 8000),
    "opus-mt": ({"preset": "base", "activation": "silu"}, 32_000),
}
"""Sizes with random weights: configuration and vocabulary. opus-mt is what OPUS-MT models have."""


class NamedIds:
    """What an export needs of a tokeniser, for random weights."""

    pad, unknown, start, end, shared = 0, 1, 2, 3, True

    def __init__(self, size: int) -> None:
        self.source_vocab_size = self.target_vocab_size = size

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """A name for each id."""
        return [f"t{number}" for number in ids]

    target_pieces = source_pieces


@dataclass(frozen=True)
class Way:
    """One engine with its settings: ids of several sentences to ids."""

    name: str
    one: Callable[[Ids, int], Ids]
    bulk: Callable[[Ids, int], Ids]


def ours(network: IncrementalDecoder, name: str, lengths: dict[str, Any]) -> Way:
    """Our search over an engine or a plain network."""

    def decode(ids: Ids, beam: int) -> Ids:
        options = DecodingConfig(beam=beam, **lengths)
        found: Ids = [[] for _ in ids]
        for batch in plan_for_inference([len(x) for x in ids], batch_tokens=4096 // beam):
            rows = [ids[int(i)] for i in batch]
            longest = max(map(len, rows))
            source = torch.tensor([[*x, *[0] * (longest - len(x))] for x in rows])
            results = search(network, source, torch.tensor([len(x) for x in rows]), options=options)
            for i, hypotheses in zip(batch, results, strict=True):
                found[int(i)] = list(hypotheses[0].tokens)
        return found

    return Way(name, decode, decode)


def theirs(model: Model, folder: Path, precision: str, lengths: dict[str, Any], *, threads: int) -> Way:
    """CTranslate2: one sentence on as many threads as serve it best, bulk on one worker a thread."""
    sources, targets = vocabularies(model.tokenizer)
    numbers = {name: number for number, name in enumerate(targets)}
    # int8 on two threads was 6 times slower than on one where this was measured.
    load = functools.partial(ctranslate2.Translator, str(folder), compute_type=precision)
    single = load(intra_threads=1 if precision == "int8" else threads)
    workers = load(inter_threads=threads, intra_threads=1)
    limits = {}
    if lengths:
        limits = {
            "min_decoding_length": lengths["min_length"],
            "max_decoding_length": lengths["max_length"],
        }

    def decode(engine: Any, ids: Ids, beam: int, **batching: Any) -> Ids:
        pieces = [[sources[i] for i in x] for x in ids]
        options = {"length_penalty": 0.6, **limits, **batching}
        results = engine.translate_batch(pieces, beam_size=beam, **options)
        return [[numbers[name] for name in result.hypotheses[0]] for result in results]

    def bulk(ids: Ids, beam: int) -> Ids:
        return decode(workers, ids, beam, max_batch_size=1024, batch_type="tokens")

    return Way(f"CTranslate2 {precision}", functools.partial(decode, single), bulk)


def rates(work: Sequence[Callable[[], int]], runs: int) -> list[list[float]]:
    """Sentences/s of each, `runs` times in turn, after one round unmeasured."""
    found: list[list[float]] = [[] for _ in work]
    for turn in range(runs + 1):
        for way, values in zip(work, found, strict=True):
            started = time.perf_counter()
            sentences = way()
            if turn:
                values.append(sentences / (time.perf_counter() - started))
    return found


def spread(values: Sequence[float]) -> str:
    """Median [lowest-highest]."""
    digits = 0 if statistics.median(values) >= 20 else 1
    return " ".join(
        (f"{statistics.median(values):,.{digits}f}", f"[{min(values):,.{digits}f}-{max(values):,.{digits}f}]")
    )


def random_model(size: str) -> Model:
    """An untrained model, whose ids have names instead of pieces."""
    table, vocabulary_size = SIZES[size]
    torch.manual_seed(1)
    config = model_config(table)
    vocabulary = Vocabulary(vocabulary_size, vocabulary_size, pad=0, start=2, end=3, shared=True)
    network = build_model(config, vocabulary)
    assert isinstance(network, Transformer)
    names: Any = NamedIds(vocabulary_size)
    return Model(network.eval(), config, names)


def options_of(arguments_: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line."""
    arguments_.add_argument("--model", type=Path, help="a trained model; without it, random weights")
    arguments_.add_argument("--size", default="small", choices=SIZES, help="of random weights")
    arguments_.add_argument("--tokens", type=int, default=15, help="of each translation with random weights")
    arguments_.add_argument("--single", type=int, default=100, help="sentences translated one at a time")
    arguments_.add_argument("--sentences", type=int, default=1000, help="sentences in bulk")
    arguments_.add_argument("--plain", action="store_true", help="the model in plain torch as well")
    return arguments_.parse_args()


@dataclass(frozen=True)
class Question:
    """A model and what it is to translate; references are those of a trained one."""

    model: Model
    ids: Ids
    lengths: dict[str, Any]
    references: list[str] | None = None


def trained(folder: Path, lines: list[str], references: list[str]) -> Question:
    """A model folder and text."""
    model = load_model(folder)
    return Question(model, model.tokenizer.encode_source(lines), {}, references)


def untrained(size: str, lines: list[str], tokens: int) -> Question:
    """Random ids, as many as the text's words and a few."""
    generator, top = torch.Generator().manual_seed(1), SIZES[size][1]
    lengths = [len(line.split()) + 2 for line in lines]
    ids = [[*torch.randint(4, top, (length,), generator=generator).tolist(), 3] for length in lengths]
    return Question(random_model(size), ids, {"min_length": tokens - 1, "max_length": tokens})


def ways_of(question: Question, folder: Path, *, threads: int, plain: bool) -> list[Way]:
    """The engines, ours first; `folder` takes the exported model."""
    folder.mkdir()
    write_ctranslate2(question.model, folder)
    network, lengths = question.model.network, question.lengths
    assert isinstance(network, Transformer)  # the others can't be exported
    ways = [
        *(ours(make_engine(network, precision=name), f"Saccade {name}", lengths) for name in PRECISIONS),
        *(theirs(question.model, folder, name, lengths, threads=threads) for name in PRECISIONS),
    ]
    return [*ways, ours(network, "Saccade in plain torch", lengths)] if plain else ways


def measure(
    question: Question, ways: Sequence[Way], *, beam: int, single: int, runs: int
) -> list[dict[str, object]]:
    """One row of columns for each way."""
    name = "greedy" if beam == 1 else f"beam {beam}"
    some = question.ids[:single]

    def one_by_one(way: Way) -> int:
        for ids in some:
            way.one([ids], beam)
        return len(some)

    def at_once(way: Way) -> int:
        return len(way.bulk(question.ids, beam))

    rows: list[dict[str, object]] = [{} for _ in ways]
    for label, work in ((f"{name}, one at a time", one_by_one), (f"{name}, bulk", at_once)):
        for row, values in zip(
            rows, rates([functools.partial(work, way) for way in ways], runs), strict=True
        ):
            row[label] = spread(values)
    if question.references is not None:
        for row, way in zip(rows, ways, strict=True):
            texts = [question.model.tokenizer.decode(ids) for ids in way.bulk(question.ids, beam)]
            row[f"{name}, BLEU"] = f"{sacrebleu.corpus_bleu(texts, [question.references]).score:.2f}"
    return rows


def main() -> None:
    """Time each way of decoding."""
    options = options_of(arguments(__doc__ or ""))
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        text = corpus(options.data, Path(scratch))
        lines, references = text.test_lines()[: options.sentences], text.references()[: options.sentences]
        if options.model:
            question, what = trained(options.model, lines, references), str(options.model)
        else:
            question = untrained(options.size, lines, options.tokens)
            what = f"{options.size}, random weights, {options.tokens} tokens"
        ways = ways_of(question, Path(scratch) / "exported", threads=options.threads, plain=options.plain)
        rows: list[dict[str, object]] = [{"engine": way.name} for way in ways]
        for beam in (1, 5):
            for row, columns in zip(
                rows,
                measure(question, ways, beam=beam, single=options.single, runs=options.runs),
                strict=True,
            ):
                row.update(columns)
    title = f"sentences/s, {what}, {len(lines)} sentences of {text.name}, {options.threads} threads, "
    show(title + f"CTranslate2 {ctranslate2.__version__}", rows, options.out)


if __name__ == "__main__":
    main()
