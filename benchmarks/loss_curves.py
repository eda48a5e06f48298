"""Whether what is fast here still learns the same: training loss beside Hugging Face's MarianMTModel.

Both begin with the same weights and see the same batches at the same rates; only the random bits of dropout
differ. They train in turn, one update each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from itertools import count, islice
from pathlib import Path

import torch

from benchmarks.common import arguments, prepare_corpus, show
from benchmarks.training import BATCH_TOKENS
from benchmarks.training_peers import MarianTransformer, plain_update
from benchmarks.training_speed import Update, our_update_of, training_lines
from saccade.interop.weights import load_published
from saccade.model_folder.checkpoint import vocabulary_of
from saccade.models import model_config
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.text.prepare import open_prepared
from saccade.training.distributed import Group
from saccade.training.optim import inverse_sqrt


def updates_of(preset: str, vocabulary: Vocabulary, precision: str) -> dict[str, Update]:
    """Ours and theirs, from the same weights."""
    config = model_config({"preset": preset, "sinusoid_layout": "halves"})
    assert isinstance(config, TransformerConfig)
    group = Group(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    theirs, ours = MarianTransformer(config, vocabulary), Transformer(config, vocabulary)
    load_published(ours, theirs.layers.state_dict(), file=Path("MarianMTModel"))
    return {
        "Saccade": our_update_of(ours, group, precision),
        "transformers, Marian": plain_update(theirs, group, precision, pad=vocabulary.pad),
    }


def losses(data: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Nats a target token, smoothed, before each update."""
    torch.manual_seed(options.seed)
    prepared = open_prepared(data)
    vocabulary = vocabulary_of(prepared.tokenizer)
    updates = updates_of(options.preset, vocabulary, options.precision)
    pairs = training_lines(prepared, batch_tokens=BATCH_TOKENS, seed=options.seed)
    source = (batches for epoch in count() for batches in pairs.epoch(epoch, done=0))
    found: dict[str, list[float]] = {name: [] for name in updates}
    for step, batches in enumerate(islice(source, options.updates), start=1):
        rate = options.peak_rate * inverse_sqrt(step, warmup=options.warmup)
        for name, update in updates.items():
            found[name].append(update(batches, rate=rate)[1])
    return found


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--each", type=int, default=20, help="updates in a mean")
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--peak-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Print the mean losses side by side."""
    options = parsed()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        text = prepare_corpus(options.data, Path(scratch))
        found = losses(Path(scratch) / "data", options)
    parts = range(0, options.updates, options.each)
    rows: list[dict[str, object]] = [
        {
            "updates": f"{first + 1}-{first + options.each}",
            **{name: f"{statistics.mean(x[first : first + options.each]):.3f}" for name, x in found.items()},
        }
        for first in parts
    ]
    show(f"training loss, {options.preset} preset, {text.name}, {options.precision}", rows, options.out)


if __name__ == "__main__":
    main()
