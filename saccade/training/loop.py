"""The training loop: updates, validation and checkpoints until the run ends or is asked to stop."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from saccade.errors import Interrupted, UserError
from saccade.model_folder.checkpoint import Model, unique_tensors
from saccade.training.batch import Share
from saccade.training.checkpoints import Checkpoints
from saccade.training.choosing import make_step
from saccade.training.counters import Counters, damaged_state
from saccade.training.data import TrainingData
from saccade.training.distributed import Group
from saccade.training.interrupt import stop_requests
from saccade.training.loader import Loader
from saccade.training.meter import Meter
from saccade.training.metrics_log import MetricsLog
from saccade.training.moving_average import MovingAverage
from saccade.training.objective import Loss, Objective
from saccade.training.optim import learning_rate, make_optimizer
from saccade.training.settings import TrainingConfig
from saccade.training.state import TrainingState, generator_states, restore_generators
from saccade.training.state_checks import all_finite
from saccade.training.step import Outcome, StepFactory, UpdateResult
from saccade.training.validation import Schedule, ValidationScores, says_nothing

_DIVERGED = (
    "training diverged or the precision overflows. Lower training.peak_rate, raise training.warmup, or set "
    "training.clip_norm = 1 or training.precision = 'float32'. The last checkpoint is kept."
)
_MOST_UNSCORED = 3
"""Number of consecutive validations with a loss that is not finite after which training stops."""


@dataclass(frozen=True)
class Setup:
    """The parts of a run, which `experiment` composes. settings: its configuration as tables."""

    run: Path
    model: Model
    data: TrainingData
    validate: Callable[[Model], ValidationScores] | None
    objective: Objective
    config: TrainingConfig
    validation: Schedule
    group: Group
    make_step: StepFactory = make_step
    settings: Mapping[str, Any] = field(default_factory=dict)


def train(setup: Setup, *, resume: bool = False) -> Counters:
    """Trains to the end, from the start or from the `last` checkpoint; returns the final counters.

    Raises Interrupted after SIGINT or SIGTERM, once the run is saved; UserError if training cannot continue.
    """
    return _Training(setup, resume=resume).run()


class _Training:
    def __init__(self, setup: Setup, *, resume: bool) -> None:
        self.setup, self.config, self.group = setup, setup.config, setup.group
        self.network = setup.model.network.to(self.group.device)
        self.optimizer = make_optimizer(self.network, self.config)
        self.average = MovingAverage(self.network, self.config.ema) if self.config.ema else None
        self.checkpoints = Checkpoints(
            setup.run, self.network, self.optimizer, self.average, self.group, settings=setup.settings
        )
        torch.manual_seed(self.config.seed + 1_000_003 * self.group.rank)
        self.counters = Counters()
        if resume:
            self._restore(self.checkpoints.restore())
        self.log = MetricsLog(
            setup.run, step=self.counters.step, steps=self.config.steps, quiet=not self.group.leads
        )
        self.step = setup.make_step(
            Loss(self.network, setup.objective),
            self.optimizer,
            group=self.group,
            config=self.config,
            micro_batches=self.counters.micro_batches,
            say=self.log.say,
        )
        self.unread: list[Outcome] = []
        """Results that the device is still computing, of the latest updates."""
        self.loader = Loader(setup.data, self.group)
        self.meter = Meter(self.counters.window)

    def _restore(self, state: TrainingState) -> None:
        self.counters = state.counters
        try:
            self.setup.data.restore(state.data)
            if state.generators:
                restore_generators(state.generators, self.group.device)
        except (ValueError, RuntimeError) as error:
            raise damaged_state(self.setup.run / "checkpoints" / "last", str(error)) from error

    def run(self) -> Counters:
        with self.log, stop_requests() as stop, self.loader:
            for shares in self.meter.waiting(self._updates()):
                self._update(shares)
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

    def _updates(self) -> Iterator[Sequence[Share[Any]]]:
        """Yields the shares of each remaining update."""
        while not self._ended():
            counters = self.counters
            if counters.done == 0:  # an epoch ends with the plan of batches that it began with
                counters.fixed_shapes = self.step.fixed_shapes
            for shares in self.loader.epoch(counters.epoch, done=counters.done, fixed=counters.fixed_shapes):
                self.counters.done += 1
                yield shares
                if self._ended():
                    return
            self.counters.epoch, self.counters.done = self.counters.epoch + 1, 0

    def _ended(self) -> bool:
        patience = self.setup.validation.patience
        return self.counters.step >= self.config.steps or (
            patience is not None and self.counters.stale >= patience
        )

    def _update(self, shares: Sequence[Share[Any]]) -> None:
        step = self.counters.step + 1
        rate = learning_rate(step, config=self.config, steps=self.config.steps)
        self.network.train()
        self.setup.objective.at(self.counters.step / self.config.steps)
        outcome = self.step(shares, rate=rate)
        if self.average is not None:
            self.average.update(outcome.applied)
        self._count_update(outcome)
        self.log.progress(step, self.meter.line(rate))
        if step % self.config.log_every == 0 or step == self.config.steps:
            self._read()
            self.log.record(
                "train",
                step,
                {
                    "epoch": self.counters.epoch,
                    "rate": rate,
                    "skipped": self.counters.skipped,
                    **self.meter.take(),
                },
            )

    def _count_update(self, outcome: Outcome) -> None:
        """Counts an update, and reads the result of the one before if the device is still at work on it."""
        counters = self.counters
        counters.step += 1
        counters.finished = False  # a finished run may be resumed with more steps
        counters.tokens += outcome.tokens
        if self.step.micro_batches > counters.micro_batches:
            self.log.say(
                f"Out of memory: from now on each batch is computed in {self.step.micro_batches} parts."
            )
        counters.micro_batches = self.step.micro_batches
        self.unread.append(outcome)
        self._read(but=0 if outcome.ready else 1)

    def _read(self, *, but: int = 0) -> None:
        """Counts the results of all updates, without the latest ones (`but`)."""
        while len(self.unread) > but:
            result = self.unread.pop(0).read()
            self._count_result(result, step=self.counters.step - len(self.unread))
            self.meter.add(result)

    def _count_result(self, result: UpdateResult, *, step: int) -> None:
        counters = self.counters
        if result.applied:
            counters.skipped_in_row = 0
            return
        counters.skipped += 1
        counters.skipped_in_row += 1
        self.log.record("skipped", step, {"loss": str(result.loss), "norm": str(result.gradient_norm)})
        if counters.skipped_in_row >= self.config.max_skipped:
            raise UserError(
                f"step {step}: {counters.skipped_in_row} updates in a row were skipped, the last "
                f"one with loss {result.loss} and gradient norm {result.gradient_norm}: {_DIVERGED}"
            )

    def _validate(self) -> None:
        """Validates in the leading process; the others wait for the result, which decides when to stop."""
        self._read()
        counters = self.counters
        self.group.lead(self._score)
        shared = ("best", "best_step", "best_loss", "stale", "unscored")
        found = self.group.broadcast(tuple(getattr(counters, name) for name in shared))
        for name, value in zip(shared, found, strict=True):
            setattr(counters, name, value)
        if counters.unscored >= _MOST_UNSCORED:
            raise UserError(
                f"step {counters.step}: the validation loss was not finite {counters.unscored} times in a "
                f"row: {_DIVERGED}"
            )

    def _score(self) -> None:
        validate, config, counters = self.setup.validate, self.setup.validation, self.counters
        self._require_finite()
        self.checkpoints.keep(self._averaged(), counters, count=self.config.average)
        if validate is None:
            return
        started = time.perf_counter()
        scores = validate(self._averaged())
        found = asdict(scores)
        seconds = time.perf_counter() - started
        first, sound = counters.best is None, self._sound(scores)
        counters.unscored = 0 if sound else counters.unscored + 1
        improved, better = scores.compared(config.metric, counters.best, counters.best_loss)
        counters.stale = 0 if sound and improved else counters.stale + 1
        if sound and better:
            self._save_best(self._averaged(), scores)
        self.log.record("valid", counters.step, {**found, "seconds": seconds})
        blind = says_nothing(scores.value(config.metric), config.metric)
        mark = "" if not (sound and better) else "  best by loss" if blind else "  best"
        where = f"step {counters.step:,}  epoch {counters.epoch}"
        self.log.say(f"{where}  {scores.line()}  {seconds:.0f} s{mark}")
        if first and blind:
            self.log.say(
                f"{config.metric} is 0.00 and cannot rank checkpoints yet. Until it can, the loss "
                "decides which checkpoint is the best and when validation.patience ends the run."
            )

    def _sound(self, scores: ValidationScores) -> bool:
        """Whether loss and score are finite."""
        return math.isfinite(scores.loss) and math.isfinite(scores.value(self.setup.validation.metric))

    def _require_finite(self) -> None:
        """Raises UserError for weights that no update can repair, before they replace better ones."""
        networks = {self.network, self._averaged().network}
        if not all(all_finite(unique_tensors(network).values()) for network in networks):
            raise UserError(f"step {self.counters.step}: some weights are not finite: {_DIVERGED}")

    def _save_best(self, model: Model, scores: ValidationScores) -> None:
        counters, metric = self.counters, self.setup.validation.metric
        counters.best, counters.best_step = scores.value(metric), counters.step
        counters.best_loss = scores.loss
        self.checkpoints.save_best(model, counters, asdict(scores))

    def _save(self) -> None:
        self._read()
        generators = self.group.gather(generator_states(self.group.device))
        data = self.setup.data.state()
        self.counters.seconds += self.meter.lap()

        def save() -> None:
            self._require_finite()
            self.checkpoints.save_last(self._averaged(), self.counters, generators=generators, data=data)

        self.group.lead(save)

    def _finish(self) -> None:
        """Averages the kept checkpoints, and makes sure that `best` exists even without validation."""
        if self.counters.finished:
            return
        if self.counters.step % self.setup.validation.every:
            self._validate()
        self.counters.finished = True
        self.group.lead(self._choose_best)
        self._save()

    def _choose_best(self) -> None:
        self._require_finite()
        model = self.checkpoints.average(self._averaged(), self.counters)
        if model is not None:
            self._score_average(model)
        if self.setup.validate is None:
            self.checkpoints.save_best(self._averaged(), self.counters, {})

    def _score_average(self, model: Model) -> None:
        scores: dict[str, float] = {}
        if self.setup.validate is not None:
            validation = self.setup.validate(model)
            scores = asdict(validation)
            self.log.record("average", self.counters.step, scores)
            self.log.say(f"average of {len(self.counters.kept)}  {validation.line()}")
            best = self.counters.best, self.counters.best_loss
            if self._sound(validation) and validation.compared(self.setup.validation.metric, *best)[0]:
                self._save_best(model, validation)
        self.checkpoints.save_average(model, self.counters, scores)

    def _averaged(self) -> Model:
        """The model to validate and save: the moving average if the run has one."""
        if self.average is None:
            return self.setup.model
        return replace(self.setup.model, network=self.average.network)

    def _agreed(self, asked: bool) -> bool:
        """Whether any rank was asked to stop, in which case all of them stop at the same step."""
        if self.group.size == 1:
            return asked
        return bool(self.group.sum(torch.tensor(float(asked), device=self.group.device)) > 0)
