"""The training loop, on one page: updates, validation, checkpoints, until done or asked to stop."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from saccade.checkpoint import Model
from saccade.errors import Interrupted, UserError
from saccade.models.interface import Network
from saccade.training.data import TrainingBatch, TrainingData
from saccade.training.distributed import Group
from saccade.training.evaluate import Schedule, ValidationScores
from saccade.training.interrupt import stop_requests
from saccade.training.keep import Checkpoints
from saccade.training.meter import Meter
from saccade.training.objective import Loss, Objective, Scheduled
from saccade.training.optim import OptimizerConfig, learning_rate, make_optimizer
from saccade.training.report import Report
from saccade.training.state import Counters, generator_states, restore_generators
from saccade.training.update import Updater, UpdateResult


class TrainingConfig(OptimizerConfig):
    """`[training]`: what one run does."""

    steps: PositiveInt = 20_000
    """Updates of the weights; early stopping may end sooner."""
    batch_tokens: PositiveInt = 4096
    """Tokens of one batch, padding in, counted on its longer side; shared among processes."""
    accumulate: PositiveInt = 1
    """Batches per update."""
    seed: NonNegativeInt = 1
    """Of weights, dropout and data order."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16: products in 16 bits, weights in 32; auto takes it where a GPU has it."""
    compile: bool = False
    """Let torch.compile make kernels for this model: minutes at the start, faster steps on a GPU."""
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    """Share of each target spread over the vocabulary (section 5.4). Unset: 0.1, in language models
    and non-autoregressive ones 0."""
    glancing: tuple[float, float] | None = None
    """model.decoder = "ctc" only. Of as many slots as are wrong, the share that is shown their tokens, at the
    start and at the end of training; [0.0, 0.0]: none, plain CTC. Unset: [0.5, 0.3], the paper's."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of a moving average of the weights, which is then what is validated and saved; 0: none."""
    average: PositiveInt = 1
    """At the end, average the weights of the last so many validations and keep them if they are better."""
    init_from: Path | None = None
    """A model to go on from: its weights, vocabulary and settings of [model] and [decoding]."""
    teacher: Path | None = None
    """A model whose vocabulary is taken; the student can start from its encoder and be fine-tuned by it."""
    init_encoder: bool = False
    """Start a non-autoregressive model from the teacher's encoder and source embeddings."""
    fine_tuning: float = Field(0.0, ge=0, le=1)
    """model.decoder = "fertility" only. Weight of the teacher's judgement in fine-tuning, 0.25 in the paper,
    which starts from a trained student (init_from)."""
    save_every: PositiveInt = 500
    """Updates between saves of the `last` checkpoint, besides those at each validation."""
    log_every: PositiveInt = 50
    """Updates between lines in metrics.jsonl."""
    max_skipped: PositiveInt = 10
    """Stop after this many updates in a row whose loss or gradient was not finite."""


@dataclass(frozen=True)
class Setup:
    """What a run is made of; `experiment` composes it."""

    run: Path
    model: Model
    data: TrainingData
    validate: Callable[[Model], ValidationScores] | None
    objective: Objective
    config: TrainingConfig
    validation: Schedule
    group: Group


def train(setup: Setup, *, resume: bool = False) -> Counters:
    """Train to the end, or go on with the `last` checkpoint; returns where the run ended.

    Raises Interrupted after SIGINT or SIGTERM, saved; UserError when training cannot go on.
    """
    return _Training(setup, resume=resume).run()


class _Training:
    def __init__(self, setup: Setup, *, resume: bool) -> None:
        self.setup, self.config, self.group = setup, setup.config, setup.group
        self.network = setup.model.module.to(self.group.device)
        self.optimizer = make_optimizer(self.network, self.config)
        self.average = None
        if self.config.ema:
            self.average = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(self.config.ema))
        self.checkpoints = Checkpoints(setup.run, self.network, self.optimizer, self.average, self.group)
        torch.manual_seed(self.config.seed + 1_000_003 * self.group.rank)
        self.counters = Counters()
        if resume:
            state = self.checkpoints.restore()
            self.counters = state.counters
            setup.data.restore(state.carried)
            if state.generators:
                restore_generators(state.generators, self.group.device)
        self.updater = Updater(
            Loss(self.network, setup.objective),
            self.optimizer,
            group=self.group,
            clip_norm=self.config.clip_norm,
            autocast=uses_bfloat16(self.config.precision, self.group.device),
            compiled=self.config.compile,
            pieces=self.counters.pieces,
        )
        self.report = Report(
            setup.run, step=self.counters.step, steps=self.config.steps, quiet=not self.group.leads
        )
        self.meter = Meter(self.counters.window)

    def run(self) -> Counters:
        with self.report, stop_requests() as stop:
            for batches in self.meter.waiting(self._updates()):
                self._update(batches)
                if self.counters.step % self.setup.validation.every == 0:
                    with self.meter.paused():
                        self._validate()
                    self._save()
                elif self.counters.step % self.config.save_every == 0:
                    self._save()
                if self._agreed(stop.asked):
                    self._save()
                    raise Interrupted(f"Stopped at step {self.counters.step} and saved.")
            self._finish()
        return self.counters

    def _updates(self) -> Iterator[Sequence[TrainingBatch]]:
        """Batches of each update until the run ends, from where it stands."""
        while not self._ended():
            for batches in self.setup.data.epoch(self.counters.epoch, done=self.counters.done):
                self.counters.done += 1
                yield batches
                if self._ended():
                    return
            self.counters.epoch, self.counters.done = self.counters.epoch + 1, 0

    def _ended(self) -> bool:
        patience = self.setup.validation.patience
        return self.counters.step >= self.config.steps or (
            patience is not None and self.counters.stale >= patience
        )

    def _update(self, batches: Sequence[TrainingBatch]) -> None:
        step = self.counters.step + 1
        rate = learning_rate(step, config=self.config, steps=self.config.steps)
        self.network.train()
        if isinstance(self.setup.objective, Scheduled):
            self.setup.objective.at(self.counters.step / self.config.steps)
        result = self.updater.update(batches, rate=rate)
        if result.applied and self.average is not None:
            self.average.update_parameters(self.network)
        self._count(result)
        self.meter.add(result)
        self.report.progress(step, self.meter.line(rate))
        if step % self.config.log_every == 0 or step == self.config.steps:
            self.report.record(
                "train",
                step,
                {
                    "epoch": self.counters.epoch,
                    "rate": rate,
                    "skipped": self.counters.skipped,
                    **self.meter.take(),
                },
            )

    def _count(self, result: UpdateResult) -> None:
        counters = self.counters
        counters.step += 1
        counters.finished = False  # a finished run whose configuration now asks for more
        counters.tokens += result.tokens
        if self.updater.pieces > counters.pieces:
            self.report.say(
                f"Out of memory: from here on each batch is computed in {self.updater.pieces} parts."
            )
        counters.pieces = self.updater.pieces
        if result.applied:
            counters.skipped_in_row = 0
            return
        counters.skipped += 1
        counters.skipped_in_row += 1
        self.report.record(
            "skipped", counters.step, {"loss": str(result.loss), "norm": str(result.gradient_norm)}
        )
        if counters.skipped_in_row >= self.config.max_skipped:
            raise UserError(
                f"step {counters.step}: {counters.skipped_in_row} updates in a row had loss {result.loss}, "
                f"a gradient norm of {result.gradient_norm}, and were skipped: the weights have diverged "
                "or the precision overflows. Lower training.peak_rate, lengthen training.warmup, set "
                "training.clip_norm = 1, or training.precision = 'float32'. The last checkpoint is kept."
            )

    def _validate(self) -> None:
        """The leader validates, the others wait for the verdict: it decides when to stop."""
        validate, config, counters = self.setup.validate, self.setup.validation, self.counters
        if self.group.leads:
            self.checkpoints.keep(self._averaged(), counters, count=self.config.average)
        if validate is None:
            return
        if self.group.leads:
            started = time.perf_counter()
            scores = validate(self._averaged())
            found = asdict(scores)
            seconds = time.perf_counter() - started
            value = scores.value(config.metric)
            improved = counters.best is None or value > counters.best
            counters.stale = 0 if improved else counters.stale + 1
            # Of equals the later one: on an easy task a score is perfect long before the model is done.
            better = improved or value == counters.best
            if better:
                counters.best, counters.best_step = value, counters.step
                self.checkpoints.save_best(self._averaged(), counters, found)
            self.report.record("valid", counters.step, {**found, "seconds": seconds})
            where = f"step {counters.step:,}  epoch {counters.epoch}"
            self.report.say(f"{where}  {scores.line()}  {seconds:.0f} s{'  best' if better else ''}")
        counters.best, counters.best_step, counters.stale = self.group.broadcast(
            (counters.best, counters.best_step, counters.stale)
        )

    def _save(self) -> None:
        generators = self.group.gather(generator_states(self.group.device))
        carried = self.setup.data.carried()
        self.counters.seconds += self.meter.lap()
        if self.group.leads:
            self.checkpoints.save_last(
                self._averaged(), self.counters, generators=generators, carried=carried
            )
        self.group.wait()

    def _finish(self) -> None:
        """Average the kept checkpoints, and see that `best` exists even without validation."""
        if self.counters.finished:
            return
        if self.counters.step % self.setup.validation.every:
            self._validate()
        self.counters.finished = True
        if self.group.leads:
            self._try_average()
            if self.setup.validate is None:
                self.checkpoints.save_best(self._averaged(), self.counters, {})
        self._save()

    def _try_average(self) -> None:
        model = self.checkpoints.average(self._averaged(), self.counters)
        if model is None:
            return
        scores: dict[str, float] = {}
        if self.setup.validate is not None:
            validation = self.setup.validate(model)
            scores, value = asdict(validation), validation.value(self.setup.validation.metric)
            self.report.record("average", self.counters.step, scores)
            self.report.say(f"average of {len(self.counters.kept)}  {validation.line()}")
            if self.counters.best is None or value > self.counters.best:
                self.counters.best, self.counters.best_step = value, self.counters.step
                self.checkpoints.save_best(model, self.counters, scores)
        self.checkpoints.save_average(model, self.counters, scores)

    def _averaged(self) -> Model:
        """The model that is validated and saved: the moving average where there is one."""
        if self.average is None:
            return self.setup.model
        return replace(self.setup.model, network=cast(Network, self.average.module))

    def _agreed(self, asked: bool) -> bool:
        """Whether any rank was asked to stop: all of them do at the same step."""
        if self.group.size == 1:
            return asked
        return bool(self.group.sum(torch.tensor(float(asked), device=self.group.device)) > 0)


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether products run in bfloat16; `auto` means on GPUs that have it."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"
