"""The checkpoints of a run: the last one, the best one, and those to be averaged."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from saccade.checkpoint import (
    Model,
    average_weights,
    load_weights,
    read_weights,
    save_model,
    unique_tensors,
    write_model,
)
from saccade.errors import NotFound
from saccade.folders import replace_folder, settle_folder
from saccade.leftovers import remove_leftovers_in
from saccade.models import build_model
from saccade.training.distributed import Group
from saccade.training.state import Counters, TrainingState, read_state, write_state


class Checkpoints:
    """The folder RUN/checkpoints, whose checkpoints are model folders; `last` also has the training state."""

    def __init__(
        self,
        run: Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: AveragedModel | None,
        group: Group,
    ) -> None:
        self.folder = run / "checkpoints"
        self.network, self.optimizer, self.moving_average, self.group = network, optimizer, average, group

    def restore(self) -> TrainingState:
        """Restores network and optimiser from the `last` checkpoint; returns the rest of it."""
        last = self.folder / "last"
        if self.group.leads:
            settle_folder(last)
            remove_leftovers_in(self.folder)
        self.group.wait()
        if not last.exists():
            raise NotFound(
                f"{last}: cannot resume: the run stopped before its first checkpoint. Start a new run."
            )
        weights = read_weights(last)
        state = read_state(last, network=self.network, optimizer=self.optimizer, rank=self.group.rank)
        load_weights(self.network, state.raw_weights or weights, folder=last)
        if self.moving_average is not None:
            load_weights(self.moving_average.module, weights, folder=last)
            # Only whether this is 0 matters: the first applied update starts the average.
            self.moving_average.n_averaged.fill_(state.counters.step - state.counters.skipped)
        return state

    def save_last(
        self,
        model: Model,
        counters: Counters,
        *,
        generators: list[dict[str, Tensor]],
        data: dict[str, Tensor],
    ) -> None:
        """Saves the present model and everything that training needs to continue."""
        with replace_folder(self.folder / "last") as new:
            write_model(new, self._described(model, counters, {}))
            write_state(
                new,
                counters,
                network=self.network,
                optimizer=self.optimizer,
                generators=generators,
                raw_weights=None if self.moving_average is None else unique_tensors(self.network),
                data=data,
            )

    def save_best(self, model: Model, counters: Counters, scores: dict[str, float]) -> None:
        """Saves the best model so far."""
        save_model(self.folder / "best", self._described(model, counters, scores))

    def save_average(self, model: Model, counters: Counters, scores: dict[str, float]) -> None:
        """Saves the average of the kept models."""
        save_model(self.folder / "average", self._described(model, counters, scores))

    def keep(self, model: Model, counters: Counters, *, count: int) -> None:
        """Keeps this step's model for averaging and deletes models beyond the latest `count`."""
        if count < 2:
            return
        save_model(self._step(counters.step), self._described(model, counters, {}))
        counters.kept = [step for step in counters.kept if step != counters.step] + [counters.step]
        for step in counters.kept[:-count]:
            shutil.rmtree(self._step(step), ignore_errors=True)
        counters.kept = counters.kept[-count:]

    def average(self, model: Model, counters: Counters) -> Model | None:
        """A new model with the mean of the kept weights; None if fewer than two models were kept."""
        if len(counters.kept) < 2:
            return None
        network = build_model(model.config, model.network.vocabulary)
        weights = average_weights([self._step(step) for step in counters.kept])
        load_weights(network, weights, folder=self.folder)
        return replace(model, network=network)

    def _step(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def _described(self, model: Model, counters: Counters, scores: dict[str, float]) -> Model:
        reached: dict[str, Any] = {
            "step": counters.step,
            "epoch": counters.epoch,
            "target_tokens": counters.tokens,
        }
        if scores:
            reached["validation"] = scores
        return replace(model, provenance={**model.provenance, **reached})
