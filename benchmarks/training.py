"""Target tokens/s, padding and peak memory of training with 4,096-token batches, beside other ways to do it.

The peers are plain loops around the Transformers of PyTorch and of Hugging Face, given the very batches that
we make, with the same dropout places as far as they can have them, the same label smoothing and optimiser.
Each run is a process of its own, so that its peak memory is its own; they take turns.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

import torch
from common import arguments, corpus, show, spread
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saccade.checkpoint import vocabulary_of
from saccade.models import build_model, model_config
from saccade.models.interface import Vocabulary
from saccade.models.transformer import TransformerConfig
from saccade.native.memory import keep_freed_memory
from saccade.nn.positions import sinusoids
from saccade.text.batching import Batch, padding_share, plan_batches
from saccade.text.corpus import DataConfig
from saccade.text.prepare import open_prepared, prepare
from saccade.text.tokenizer import TokenizerConfig
from saccade.training.data import TrainingPairs
from saccade.training.distributed import Group
from saccade.training.loop import uses_bfloat16
from saccade.training.objective import CrossEntropy, Loss
from saccade.training.optim import OptimizerConfig, make_optimizer
from saccade.training.update import Updater

BATCH_TOKENS, SMOOTHING = 4096, 0.1

Update = Callable[[Sequence[Batch]], int]
"""Trains on the batches; returns their target tokens."""


def saccade_update(config: TransformerConfig, vocabulary: Vocabulary, group: Group, precision: str) -> Update:
    """Ours."""
    module = build_model(config, vocabulary).to(group.device).train()  # type: ignore[attr-defined]
    updater = Updater(
        Loss(module, CrossEntropy(SMOOTHING)),
        make_optimizer(module, OptimizerConfig()),
        group=group,
        clip_norm=0.0,
        autocast=uses_bfloat16(precision, group.device),
        compiled=False,
    )
    return lambda batches: updater.update(batches, rate=1e-4).tokens


class TorchTransformer(nn.Module):
    """torch.nn.Transformer with scaled, tied embeddings and sinusoids."""

    def __init__(self, config: TransformerConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary.target_size, config.width)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        self.register_buffer("positions", sinusoids(512, config.width))
        self.dropout, self.pad = nn.Dropout(config.dropout), vocabulary.pad
        self.layers = nn.Transformer(
            config.width,
            config.heads,
            config.encoder_layers,
            config.decoder_layers,
            config.feed_forward,
            dropout=config.dropout,
            batch_first=True,
        )

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch."""
        future = nn.Transformer.generate_square_subsequent_mask(batch.target_in.size(1), dtype=torch.bool)
        padding = batch.source == self.pad
        hidden = self.layers(
            self._embedded(batch.source),
            self._embedded(batch.target_in),
            tgt_mask=future.to(padding.device),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return hidden @ self.embedding.weight.T

    def _embedded(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) * self.embedding.embedding_dim**0.5 + self.positions[: ids.size(1)]
        out: Tensor = self.dropout(x)
        return out


class MarianTransformer(nn.Module):
    """Hugging Face's MarianMTModel."""

    def __init__(self, config: TransformerConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        from transformers import MarianConfig, MarianMTModel

        self.pad = vocabulary.pad
        self.layers = MarianMTModel(
            MarianConfig(
                vocab_size=vocabulary.target_size,
                d_model=config.width,
                encoder_layers=config.encoder_layers,
                decoder_layers=config.decoder_layers,
                encoder_attention_heads=config.heads,
                decoder_attention_heads=config.heads,
                encoder_ffn_dim=config.feed_forward,
                decoder_ffn_dim=config.feed_forward,
                dropout=config.dropout,
                attention_dropout=0.0,
                activation_dropout=0.0,
                activation_function=config.activation,
                scale_embedding=True,
                pad_token_id=vocabulary.pad,
                decoder_start_token_id=vocabulary.start,
                eos_token_id=vocabulary.end,
                max_position_embeddings=512,
            )
        )

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch."""
        mask = (batch.source != self.pad).long()
        logits: Tensor = self.layers(
            input_ids=batch.source, attention_mask=mask, decoder_input_ids=batch.target_in, use_cache=False
        ).logits
        return logits


def plain_update(module: nn.Module, group: Group, precision: str, *, pad: int) -> Update:
    """The usual loop: logits, smoothed cross-entropy over real tokens, fused Adam."""
    module = module.to(group.device).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)
    low = uses_bfloat16(precision, group.device)

    def update(batches: Sequence[Batch]) -> int:
        tokens = sum(batch.target_tokens for batch in batches)
        for batch in (batch.to(group.device) for batch in batches):
            with torch.autocast(group.device.type, torch.bfloat16, enabled=low):
                logits = module(batch).flatten(0, 1)
                loss = cross_entropy(
                    logits.float(),
                    batch.gold.flatten(),
                    ignore_index=pad,
                    label_smoothing=SMOOTHING,
                    reduction="sum",
                )
            (loss / tokens).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return tokens

    return update


def update_of(peer: str, preset: str, vocabulary: Vocabulary, group: Group, precision: str) -> Update:
    """The way to train that `peer` names."""
    config = model_config({"preset": preset})
    assert isinstance(config, TransformerConfig)
    if peer == "saccade":
        keep_freed_memory()
        return saccade_update(config, vocabulary, group, precision)
    kind = MarianTransformer if peer == "transformers" else TorchTransformer
    return plain_update(kind(config, vocabulary), group, precision, pad=vocabulary.pad)


PEERS = {"saccade": "Saccade", "torch": "torch.nn.Transformer", "transformers": "transformers, Marian"}


def measure(data: Path, peer: str, precision: str, options: argparse.Namespace) -> dict[str, float]:
    """Train for `updates` updates after `warmup` ones; data loading is inside the timer."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prepared, group = open_prepared(data), Group(device=device)
    vocabulary = vocabulary_of(prepared.tokenizer)
    update = update_of(peer, options.preset, vocabulary, group, precision)
    pairs = TrainingPairs(lambda _: prepared.train, vocabulary, BATCH_TOKENS, accumulate=1, seed=1)
    source = (batches for epoch in cycle(range(1000)) for batches in pairs.epoch(epoch, done=0))
    for batches in islice(source, options.warmup):
        update(batches)
    started, waited, tokens = time.perf_counter(), 0.0, 0
    for _ in range(options.updates):
        asked = time.perf_counter()
        batches = next(source)
        waited += time.perf_counter() - asked
        tokens += update(batches)
    seconds = time.perf_counter() - started
    lengths = prepared.train.source_lengths, prepared.train.target_lengths
    plan = plan_batches(*lengths, batch_tokens=BATCH_TOKENS, seed=1, epoch=0)
    return {
        "tokens_per_second": tokens / seconds,
        "tokens_per_update": tokens / options.updates,
        "waiting": waited / seconds,
        "padding": padding_share(plan, *lengths),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--only", nargs=3, metavar=("DATA", "PEER", "PRECISION"), help=argparse.SUPPRESS)
    return parser.parse_args()


def in_turn(data: Path, options: argparse.Namespace) -> dict[tuple[str, str], list[dict[str, float]]]:
    """Results of every peer and precision, `runs` times, one after the other."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {
        (peer, precision): [] for precision in ("float32", "bfloat16") for peer in options.peers
    }
    for _ in range(options.runs):
        for (peer, precision), results in found.items():
            command = [sys.executable, __file__, "--only", str(data), peer, precision]
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
        text = corpus(options.data, Path(scratch) / "text")
        data = Path(scratch) / "data"
        prepare(
            DataConfig(source=text.train[0], target=text.train[1], holdout=0),
            TokenizerConfig(vocab_size=8000 if "multi30k" in text.name else None),
            out=data,
        )
        found = in_turn(data, options)
    rows: list[dict[str, object]] = [
        {
            "precision": precision,
            "loop": PEERS[peer],
            "target tokens/s": spread([result["tokens_per_second"] for result in results]),
            "target tokens/update": f"{statistics.median(r['tokens_per_update'] for r in results):,.0f}",
            "waiting for data": f"{statistics.median(r['waiting'] for r in results):.2%}",
            "padding, both sides": f"{results[0]['padding']:.1%}",
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
