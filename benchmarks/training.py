"""Target tokens/s, padding and peak memory of training the small preset with 4,096-token batches.

Each precision runs in a process of its own, so that its peak memory is its own; they take turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from common import arguments, corpus, show, spread
from training_speed import training_speed

from saccade.models import model_config
from saccade.text.batching import padding_share, plan_batches
from saccade.text.corpus import DataConfig
from saccade.text.prepare import open_prepared, prepare
from saccade.text.tokenizer import TokenizerConfig

BATCH_TOKENS = 4096


def measure(
    data: Path, precision: str, *, preset: str, updates: int, warmup: int, threads: int
) -> dict[str, float]:
    """One precision, and the share of padding."""
    torch.set_num_threads(threads)
    speed = training_speed(
        data,
        model_config({"preset": preset}),
        precision=precision,
        batch_tokens=BATCH_TOKENS,
        updates=updates,
        warmup=warmup,
    )
    pairs = open_prepared(data).train
    lengths = pairs.source_lengths, pairs.target_lengths
    plan = plan_batches(*lengths, batch_tokens=BATCH_TOKENS, seed=1, epoch=0)
    return {**speed, "padding": padding_share(plan, *lengths)}


def main() -> None:
    """Measure each precision `--runs` times in turn."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--only", nargs=2, metavar=("DATA", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = {"preset": options.preset, "updates": options.updates, "warmup": options.warmup}
    if options.only:
        print(
            json.dumps(measure(Path(options.only[0]), options.only[1], threads=options.threads, **settings))
        )
        return
    with tempfile.TemporaryDirectory() as scratch:
        text = corpus(options.data, Path(scratch) / "text")
        data = Path(scratch) / "data"
        prepare(
            DataConfig(source=text.train[0], target=text.train[1], holdout=0),
            TokenizerConfig(vocab_size=8000 if "multi30k" in text.name else None),
            out=data,
        )
        found: dict[str, list[dict[str, float]]] = {"float32": [], "bfloat16": []}
        for _ in range(options.runs):
            for precision, results in found.items():
                command = [sys.executable, __file__, "--only", str(data), precision]
                for name in ("preset", "updates", "warmup", "threads"):
                    command += [f"--{name}", str(getattr(options, name))]
                output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                results.append(json.loads(output.splitlines()[-1]))
    rows: list[dict[str, object]] = [
        {
            "precision": precision,
            "target tokens/s": spread([result["tokens_per_second"] for result in results]),
            "target tokens/update": f"{statistics.median(r['tokens_per_update'] for r in results):,.0f}",
            "waiting for data": f"{statistics.median(r['waiting'] for r in results):.2%}",
            "padding, both sides": f"{results[0]['padding']:.1%}",
            "peak memory MB": f"{max(result['peak_mb'] for result in results):,.0f}",
        }
        for precision, results in found.items()
    ]
    title = (
        f"training, {options.preset} preset, {text.name}, {BATCH_TOKENS} tokens, {options.threads} threads"
    )
    show(title, rows, options.out)


if __name__ == "__main__":
    main()
