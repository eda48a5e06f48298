"""Target tokens/s, memory and share of products in training with 4,096-token batches, beside other loops.

The peers are plain loops around the Transformers of PyTorch and of Hugging Face, given the very batches that
we make, with the same dropout places as far as they can have them, the same label smoothing and optimiser.
Each run is a process of its own, so that its peak memory is its own; they take turns.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import torch

from benchmarks.common import arguments, prepare_corpus, show, spread
from benchmarks.training_peers import MarianTransformer, TorchTransformer, plain_update
from benchmarks.training_speed import Update, our_update, share_in_products, update_speed, updates_of
from saccade.model_folder.checkpoint import vocabulary_of
from saccade.models import model_config
from saccade.models.interface import Vocabulary
from saccade.models.transformer import TransformerConfig
from saccade.text.batching import padding_share, plan_batches
from saccade.text.prepare import open_prepared
from saccade.training.distributed import Group

BATCH_TOKENS = 4096

PEERS = {"saccade": "Saccade", "torch": "torch.nn.Transformer", "transformers": "transformers, Marian"}

PRECISIONS = ("float32", "bfloat16")


def update_of(peer: str, preset: str, vocabulary: Vocabulary, group: Group, precision: str) -> Update:
    """The way to train that `peer` names."""
    config = model_config({"preset": preset})
    assert isinstance(config, TransformerConfig)
    if peer == "saccade":
        return our_update(config, vocabulary, group, precision)
    kind = MarianTransformer if peer == "transformers" else TorchTransformer
    return plain_update(kind(config, vocabulary), group, precision, pad=vocabulary.pad)


def measure(data: Path, peer: str, precision: str, options: argparse.Namespace) -> dict[str, float]:
    """What one process finds."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    group = Group(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    prepared = open_prepared(data)
    update = update_of(peer, options.preset, vocabulary_of(prepared.tokenizer), group, precision)
    lengths = prepared.train["source"].lengths, prepared.train["target"].lengths
    plan = plan_batches(*lengths, batch_tokens=BATCH_TOKENS, seed=1, epoch=0)
    speed = update_speed(
        update, data, batch_tokens=BATCH_TOKENS, updates=options.updates, warmup=options.warmup
    )
    found = {**speed, "padding": padding_share(plan, *lengths)}
    if group.device.type == "cpu":
        found["products"] = share_in_products(update, islice(updates_of(data, batch_tokens=BATCH_TOKENS), 3))
    return found


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument(
        "--precisions", nargs="*", default=list(PRECISIONS), choices=PRECISIONS, help="which to measure"
    )
    parser.add_argument("--only", nargs=3, metavar=("DATA", "PEER", "PRECISION"), help=argparse.SUPPRESS)
    return parser.parse_args()


def in_turn(data: Path, options: argparse.Namespace) -> dict[tuple[str, str], list[dict[str, float]]]:
    """Results of every peer and precision, `runs` times, one after the other."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {
        (peer, precision): [] for precision in options.precisions for peer in options.peers
    }
    for _ in range(options.runs):
        for (peer, precision), results in found.items():
            command = [sys.executable, "-m", "benchmarks.training", "--only", str(data), peer, precision]
            for name in ("preset", "updates", "warmup", "threads"):
                command += [f"--{name}", str(getattr(options, name))]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
    return found


def main() -> None:
    """Measure each precision `--runs` times in turn."""
    options = parsed()
    if options.only:
        data, peer, precision = options.only
        print(json.dumps(measure(Path(data), peer, precision, options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        text = prepare_corpus(options.data, Path(scratch))
        found = in_turn(Path(scratch) / "data", options)
    rows: list[dict[str, object]] = [
        {
            "precision": precision,
            "loop": PEERS[peer],
            "target tokens/s": spread([result["tokens_per_second"] for result in results]),
            "target tokens/update": f"{statistics.median(r['tokens_per_update'] for r in results):,.0f}",
            "waiting for data": f"{statistics.median(r['waiting'] for r in results):.2%}",
            "padding, both sides": f"{results[0]['padding']:.1%}",
            "in products": f"{statistics.median(r.get('products', math.nan) for r in results):.0%}",
            "peak memory MB": f"{max(result['peak_mb'] for result in results):,.0f}",
        }
        for (peer, precision), results in found.items()
    ]
    show(
        f"training, {options.preset} preset, {text.name}, {BATCH_TOKENS} tokens, {options.threads} threads",
        rows,
        options.out,
    )


if __name__ == "__main__":
    main()
