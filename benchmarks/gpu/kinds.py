"""Every kind of model: whether GPU and CPU agree, and tokens a second on both."""

import copy
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.decoding import decode, decoder, sources
from benchmarks.gpu.setting import Run, shaped_batches
from benchmarks.gpu.training import step_of
from saccade.decoding.scoring import target_log_probs
from saccade.decoding.strategy import decoder_of
from saccade.engine import make_engine
from saccade.models import build_model, model_config
from saccade.tasks.nonautoregressive import OBJECTIVES
from saccade.text.batching import Batch, PaddedColumn
from saccade.training.batch import Share
from saccade.training.distributed import Group
from saccade.training.objective import CrossEntropy, NextToken, Objective
from saccade.training.settings import TrainingConfig
from saccade.training.streams import TextStreams
from saccade.training.throughput import synchronise

_SIZES = {"width": 64, "heads": 4, "feed_forward": 128, "encoder_layers": 2, "decoder_layers": 2}
KINDS: dict[str, dict[str, Any]] = {
    **{f"transformer, {name}": {"positions": name} for name in ("sinusoidal", "learned", "relative")},
    **{f"transformer, {name}": {"positions": name} for name in ("rotary", "alibi", "none")},
    "transformer, window": {"window": 8},
    "recurrent": {"kind": "recurrent"},
    "convolutional": {"kind": "convolutional"},
    **{
        f"non-autoregressive, {name}": {"kind": "nonautoregressive", "decoder": name}
        for name in ("mask-predict", "ctc", "fertility")
    },
}
LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "transformer-xl": {"memory": 32, "segment": 32},
    "transformer-lm": {"memory": 32, "segment": 32},
    "recurrent-lm": {"segment": 32},
}


def network_of(run: Run, table: dict[str, Any], *, device: torch.device) -> Any:
    """A small model of a kind; the same weights on every device."""
    torch.manual_seed(1)
    takes_sizes = table.get("kind", "transformer") in {"transformer", "nonautoregressive"}
    sizes = _SIZES if takes_sizes else {"width": 64, "embedding": 64}
    model = build_model(model_config({**sizes, "dropout": 0.0, **table}), run.vocabulary)
    return model.to(device).eval()


def objective_of(table: dict[str, Any]) -> Objective:
    """The objective of a kind."""
    scheme = table.get("decoder")
    return CrossEntropy(0.1) if scheme is None else OBJECTIVES[scheme](TrainingConfig(glancing=(0, 0)), None)


def with_fertilities(batch: Batch) -> Batch:
    """The batch with fertilities that fit: all target pieces belong to the first source piece."""
    source, target = batch["source"], batch["target"]
    counts = torch.zeros_like(source.values)
    counts[:, 0] = target.lengths - 1
    column = PaddedColumn(counts, source.lengths, 0, source.positions)
    return Batch({**batch.columns, "fertilities": column}, batch.counted, fixed=batch.fixed)


def whole(batch: Batch) -> Batch:
    """The batch without rows that only fill a shape."""
    rows = [row for row, length in enumerate(batch["target"].lengths.tolist()) if length > 1]
    return with_fertilities(replace(batch, fixed=False).take(rows))


def agreement(run: Run) -> None:
    """Loss, gradient norm and translations of each kind, on the CPU and here."""
    cpu = torch.device("cpu")
    batch = whole(shaped_batches(run, batch_tokens=256, most=1)[0])
    for name, table in KINDS.items():
        what = f"agreement: {name}"
        if run.over(what):
            return
        with run.part(what):
            found = []
            for device in (cpu, run.device):
                there = Run(device, run.tiny, run.budget, None, began=run.began)
                network = network_of(run, table, device=device)
                step = step_of(
                    there, network, compiled=False, objective=objective_of(table), precision="float32"
                )
                torch.manual_seed(3)
                result = step([Share(batch, 1.0, batch.target_tokens)], rate=0.0).read()
                own = decoder(network.eval(), torch.float32)
                texts = decode(own, sources(there, 20, 12), _short_options(own))
                found.append((result, [one[0].tokens for one in texts]))
            (mine, here), (theirs, there_texts) = found
            equal = sum(one == other for one, other in zip(here, there_texts, strict=True))
            run.note(
                what,
                loss_difference=abs(mine.loss - theirs.loss),
                norm_difference=abs(mine.gradient_norm - theirs.gradient_norm),
                equal_translations=f"{equal} of 20",
                agrees=abs(mine.loss - theirs.loss) < 1e-3 and equal >= 18,
            )


def _short_options(own: Any) -> Any:
    names = own.options.model_fields
    return own.options(**({"max_extra": 5, "beam": 3} if "beam" in names else {}))


def table(run: Run) -> None:
    """Target tokens a second of training and of decoding, for each kind, on the CPU and here."""
    places = [run.device] if run.device.type == "cpu" else [run.device, torch.device("cpu")]
    for name, settings in KINDS.items():
        if run.over(f"kinds: {name}"):
            return
        with run.part(f"kinds: {name}"):
            row: dict[str, float] = {}
            for device in places:
                there = Run(device, run.tiny, run.budget, None, began=run.began)
                budget = 256 if run.tiny else 4096
                batches = [whole(one) for one in shaped_batches(there, batch_tokens=budget, most=3)]
                network = network_of(run, settings, device=device)
                objective = objective_of(settings)
                step = step_of(there, network, compiled=False, objective=objective)
                row[f"train_{device.type}"] = _trained(there, step, batches)
                decoded = copy.deepcopy(network).eval()
                own = decoder_of(decoded, partial(make_engine, decoded))
                source = sources(there, 4 if run.tiny else 64, 20)
                seconds = there.timed(partial(decode, own, source, _short_options(own)), times=1)
                row[f"decode_{device.type}_sentences"] = source[0].size(0) / seconds
            run.note(f"kinds: {name}", **row)


def _trained(run: Run, step: Any, batches: list[Batch]) -> float:
    for batch in batches:
        step([Share(batch, 1.0, batch.target_tokens)], rate=1e-4)
    synchronise(run.device)
    started, tokens = time.perf_counter(), 0
    while time.perf_counter() - started < (0.05 if run.tiny else 1.0):
        for batch in batches:
            step([Share(batch, 1.0, batch.target_tokens)], rate=1e-4)
            tokens += batch.target_tokens
        synchronise(run.device)
    return tokens / (time.perf_counter() - started)


def language_models(run: Run) -> None:
    """Tokens a second of training and of evaluation, for each language model."""
    words = run.vocabulary
    ids = np.random.default_rng(1).integers(4, words.target_size, 20_000 if run.tiny else 400_000)
    for name, settings in LANGUAGE_MODELS.items():
        if run.over(f"kinds: {name}"):
            return
        with run.part(f"kinds: {name}"):
            torch.manual_seed(1)
            sizes = {} if name == "recurrent-lm" else {"heads": 4, "feed_forward": 128, "layers": 2}
            config = model_config({"kind": name, "width": 64, **sizes, **settings})
            network: Any = build_model(config, words).to(run.device)
            data = TextStreams(
                ids=ids.astype(np.uint16),
                start=network.start,
                segment=32,
                rows=8 if run.tiny else 128,
                accumulate=1,
                seed=1,
                pad=words.pad,
                group=Group(device=run.device),
            )
            step, tokens, evaluated = step_of(run, network, compiled=False, objective=NextToken()), 0, 0
            started = time.perf_counter()
            for number, batches in enumerate(data.epoch(0, done=0)):
                if number == 3:
                    synchronise(run.device)
                    started = time.perf_counter()
                step(data.attach([Share(one, 1.0, one.target_tokens) for one in batches]), rate=1e-4)
                tokens += batches[0].target_tokens * (number >= 3)
                if number == 40:
                    break
            synchronise(run.device)
            train = tokens / (time.perf_counter() - started)
            network.eval()
            memory, started = network.start(data.rows), time.perf_counter()
            with torch.inference_mode():
                for number, batches in enumerate(data.epoch(0, done=0)):
                    hidden, memory = network.read(batches[0].tokens.to(run.device), memory)
                    network.output(hidden).log_softmax(-1)
                    evaluated += batches[0].target_tokens
                    if number == 40:
                        break
            synchronise(run.device)
            run.note(f"kinds: {name}", train=train, evaluate=evaluated / (time.perf_counter() - started))


def scoring(run: Run) -> None:
    """Target tokens a second when given translations are scored, base preset."""
    if run.over("scoring"):
        return
    with run.part("scoring"):
        network, count, length = run.network("base"), 4 if run.tiny else 256, 8 if run.tiny else 30
        source = sources(run, count, length)
        targets = [row.tolist() for row in source[0].cpu()]

        def score() -> Any:
            with torch.inference_mode():
                return target_log_probs(network, *source, targets)

        run.note("scoring base float32", tokens_per_second=count * length / run.timed(score))
