"""The checkpoints of a run: the last one, the best one, and those to be averaged."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import DamagedFile, NotFound
from saccade.model_folder.checkpoint import (
    Model,
    average_weights,
    load_weights,
    read_weights,
    save_model,
    unique_tensors,
    write_model,
)
from saccade.models.outline import blank
from saccade.storage.folders import replace_folder, settle_folder
from saccade.storage.leftovers import remove_leftovers_in
from saccade.training.counters import Counters, damaged_state
from saccade.training.distributed import Group
from saccade.training.moving_average import MovingAverage
from saccade.training.state import TrainingState, read_state, write_state
from saccade.training.state_checks import all_finite


class Checkpoints:
    """The folder RUN/checkpoints, whose checkpoints are model folders; `last` also has the training state.

    settings: the run's configuration as tables, which `last` keeps.
    """

    def __init__(
        self,
        run: Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: MovingAverage | None,
        group: Group,
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = run / "checkpoints"
        self.network, self.optimizer, self.moving_average, self.group = network, optimizer, average, group
        self.settings = settings

    def restore(self) -> TrainingState:
        """Restores network and optimiser from the `last` checkpoint; returns the rest of it.

        Raises UserError if it is missing or damaged.
        """
        last = self._own("last")
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
        if bool(state.raw_weights) != (self.moving_average is not None):
            reason = "raw/ weights are there" if state.raw_weights else "raw/ weights are missing"
            raise damaged_state(last / "training.safetensors", reason)
        if not all_finite(weights.values()):
            raise damaged_state(last / "model.safetensors", "it holds numbers that are not finite")
        load_weights(self.network, state.raw_weights or weights, folder=last)
        if self.moving_average is not None:
            load_weights(self.moving_average.network, weights, folder=last)
            self.moving_average.begun = state.counters.step > state.counters.skipped
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
        with replace_folder(self._own("last")) as new:
            write_model(new, self._described(model, counters, {}))
            write_state(
                new,
                counters,
                network=self.network,
                optimizer=self.optimizer,
                generators=generators,
                raw_weights=None if self.moving_average is None else unique_tensors(self.network),
                data=data,
                settings=self.settings,
            )

    def save_best(self, model: Model, counters: Counters, scores: dict[str, float]) -> None:
        """Saves the best model so far."""
        save_model(self._own("best"), self._described(model, counters, scores))

    def save_average(self, model: Model, counters: Counters, scores: dict[str, float]) -> None:
        """Saves the average of the kept models."""
        save_model(self._own("average"), self._described(model, counters, scores))

    def keep(self, model: Model, counters: Counters, *, count: int) -> None:
        """Keeps this step's model for averaging and deletes models beyond the latest `count`."""
        if count < 2:
            return
        save_model(self._step(counters.step), self._described(model, counters, {}))
        counters.kept = [step for step in counters.kept if step != counters.step] + [counters.step]
        for step in counters.kept[:-count]:
            self._delete(step)
        counters.kept = counters.kept[-count:]

    def average(self, model: Model, counters: Counters) -> Model | None:
        """A new model with the mean of the kept weights; None if fewer than two models were kept.

        Checkpoints that somebody has deleted are left out. Raises UserError if one is damaged.
        """
        kept = [step for step in counters.kept if (self._step(step) / "model.json").is_file()]
        if len(kept) < 2:
            return None
        network = blank(model.config, model.network.vocabulary)
        weights = average_weights([self._step(step) for step in kept])
        if not all_finite(weights.values()):
            raise DamagedFile(
                f"{self.folder}: a kept checkpoint holds numbers that are not finite; delete it."
            )
        load_weights(network, weights, folder=self.folder)
        return replace(model, network=network)

    def _step(self, step: int) -> Path:
        return self._own(f"step-{step}")

    def _delete(self, step: int) -> None:
        """Deletes a kept checkpoint, and nothing that is not one."""
        folder = self._step(step)
        if (folder / "model.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)

    def _own(self, name: str) -> Path:
        """The folder of a checkpoint. Raises UserError for a link: what is replaced must lie in the run."""
        folder = self.folder / name
        require_no_link(self.folder)
        require_no_link(folder)
        return folder

    def _described(self, model: Model, counters: Counters, scores: dict[str, float]) -> Model:
        reached: dict[str, Any] = {
            "step": counters.step,
            "epoch": counters.epoch,
            "target_tokens": counters.tokens,
        }
        if scores:
            reached["validation"] = scores
        return replace(model, provenance={**model.provenance, **reached})


def require_no_link(path: Path) -> None:
    """Raises UserError if `path`, in which a run deletes and replaces, is a symbolic link."""
    if path.is_symlink():
        raise DamagedFile(
            f"{path}: a symbolic link. A run writes and deletes only inside its own folder: put the folder "
            "itself in the place of the link, or link the run folder as a whole."
        )
