"""Time and memory of training and decoding against length, 64 to 8,192, with full and with local attention.

The small preset with random weights, 8,000 pieces. Training: an update on sentences of one length on either
side, as many as make 8,192 tokens. Decoding: greedy search for as many tokens as one sentence has.
Cross-attention is full in both. Each measurement has a process of its own, so that its peak memory, above
what the process has before the model is built, is its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.common import arguments, show
from benchmarks.training_speed import our_update, peak_mb
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.engine import make_engine
from saccade.models import build_model, model_config
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.text.batching import Batch, PaddedColumn
from saccade.text.translation import translation_batch
from saccade.training.distributed import Group

LENGTHS = (64, 256, 1024, 2048, 4096, 8192)
TOKENS = 8192
VOCABULARY = Vocabulary(source_size=8000, target_size=8000, pad=0, start=2, end=3, shared=True)

Work = Callable[[], object]


def batch_of(length: int) -> Batch:
    """Random pieces, TOKENS of them on either side."""
    source, gold = (torch.randint(4, 8000, (TOKENS // length, length)) for _ in range(2))
    source[:, -1] = gold[:, -1] = VOCABULARY.end
    lengths = torch.full((len(source),), length)
    columns = {
        name: PaddedColumn(ids, lengths, VOCABULARY.pad, positions=TOKENS)
        for name, ids in (("source", source), ("target", gold))
    }
    return translation_batch(columns, start=VOCABULARY.start)


def training(config: TransformerConfig, length: int) -> Work:
    """One update."""
    update, batch = (
        our_update(config, VOCABULARY, Group(device=torch.device("cpu")), "float32"),
        batch_of(length),
    )
    return lambda: update([batch])


def decoding(config: TransformerConfig, length: int) -> Work:
    """One sentence."""
    network = build_model(config, VOCABULARY)
    assert isinstance(network, Transformer)
    engine = make_engine(network.eval())
    options = DecodingConfig(beam=1, min_length=length - 1, max_length=length)
    source, lengths = batch_of(length)["source"].values[:1], torch.tensor([length])
    return lambda: search(engine, source, lengths, options=options)


WORKS = {"training": training, "decoding": decoding}


def measure(work: str, length: int, *, window: int, threads: int, runs: int) -> dict[str, float]:
    """Median seconds, after one unmeasured run, and MB."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    before = peak_mb(torch.device("cpu"))
    config = model_config({"preset": "small", **({"window": window} if window else {})})
    assert isinstance(config, TransformerConfig)
    run, took = WORKS[work](config, length), []
    with torch.inference_mode(work == "decoding"):
        for _ in range(runs + 1):
            started = time.perf_counter()
            run()
            took.append(time.perf_counter() - started)
    return {"seconds": statistics.median(took[1:]), "mb": peak_mb(torch.device("cpu")) - before}


def main() -> None:
    """A row a length: each work with each attention."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--window", type=int, default=64, help="positions to either side in local attention")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--only", nargs=3, metavar=("WORK", "LENGTH", "WINDOW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = {"threads": options.threads, "runs": options.runs}
    if options.only:
        work, length, window = options.only
        print(json.dumps(measure(work, int(length), window=int(window), **settings)))
        return
    rows: list[dict[str, object]] = []
    for length in options.lengths:
        row: dict[str, object] = {"length": length}
        for work in WORKS:
            for name, window in (("full", 0), ("local", options.window)):
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.long_inputs",
                    "--only",
                    work,
                    str(length),
                    str(window),
                ]
                for option, value in settings.items():
                    command += [f"--{option}", str(value)]
                found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
                per_token = 1e6 * found["seconds"] / (TOKENS if work == "training" else length)
                row[f"{work}, {name}: us a token"] = f"{per_token:,.0f}"
                row[f"{work}, {name}: MB"] = f"{found['mb']:,.0f}"
        rows.append(row)
    title = f"long inputs, small preset, local: {options.window} a side, float32, {options.threads} threads"
    show(title, rows, options.out)


if __name__ == "__main__":
    main()
