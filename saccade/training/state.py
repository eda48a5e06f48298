"""The state of training besides the model, from which a run continues as if it had never stopped."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.checkpoint import names_in, read_json, read_tensors, write_json, write_tensors
from saccade.errors import DamagedFile

_DATA = "carried/"
"""Prefix of the tensors that training data save, such as memory that passes from update to update."""


@dataclass
class Window:
    """Sums over the updates since metrics were last written, without skipped updates."""

    loss: float = 0.0
    norm: float = 0.0
    tokens: int = 0
    updates: int = 0


@dataclass
class Counters:
    """The progress of a run, written to training.json in this form.

    step: updates done, including skipped ones; epoch, done: position in the data; best, best_loss: score and
    loss of the best checkpoint; stale: validations since then; skipped, skipped_in_row: updates skipped
    because they were not finite; micro_batches: number of parts each batch is split into after an
    out-of-memory error; kept: steps whose weights will be averaged; window: sums for the next metrics.
    """

    step: int = 0
    epoch: int = 0
    done: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    best_loss: float | None = None
    stale: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    micro_batches: int = 1
    finished: bool = False
    kept: list[int] = field(default_factory=list)
    window: Window = field(default_factory=Window)


def write_state(
    folder: Path,
    counters: Counters,
    *,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    generators: list[dict[str, Tensor]],
    raw_weights: dict[str, Tensor] | None,
    data: dict[str, Tensor],
) -> None:
    """Writes training.safetensors and training.json beside a model's files.

    generators: each rank's random generators. raw_weights: the weights that training continues with if the
    model's file holds their moving average instead. data: see `TrainingData.state`.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    tensors: dict[str, Tensor] = {}
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            tensors[f"optimizer/{names[id(parameter)]}/{key}"] = torch.as_tensor(value)
    for rank, states in enumerate(generators):
        tensors |= {f"generator/{rank}/{name}": state for name, state in states.items()}
    tensors |= {f"raw/{name}": tensor for name, tensor in (raw_weights or {}).items()}
    tensors |= {f"{_DATA}{name}": tensor for name, tensor in data.items()}
    write_tensors(folder / "training.safetensors", tensors)
    write_json(folder / "training.json", {"counters": asdict(counters)})


@dataclass(frozen=True)
class TrainingState:
    """The state that `read_state` returns, without the optimiser's part.

    generators: this rank's, empty if the run had fewer ranks. raw_weights: empty if the model's file has
    them. data: see `TrainingData.state`.
    """

    counters: Counters
    generators: dict[str, Tensor]
    raw_weights: dict[str, Tensor]
    data: dict[str, Tensor]


def read_state(
    folder: Path, *, network: nn.Module, optimizer: torch.optim.Optimizer, rank: int
) -> TrainingState:
    """Restores the optimiser from a checkpoint; returns the rest of the state."""
    description, tensors = read_json(folder / "training.json"), read_tensors(folder / "training.safetensors")
    try:
        saved = dict(description["counters"])
        if "pieces" in saved:  # its name in runs of Saccade 0.1
            saved["micro_batches"] = saved.pop("pieces")
        counters = Counters(**{**saved, "window": Window(**saved.get("window", {}))})
        current = names_in(folder)
        moments = {}
        for path, tensor in _under(tensors, "optimizer/").items():
            name, _, key = path.rpartition("/")
            moments[f"{current(name)}/{key}"] = tensor
        _restore_optimizer(network, optimizer, moments)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedFile(
            f"{folder}: damaged training state: {error}. Start from another checkpoint."
        ) from error
    return TrainingState(
        counters,
        generators=_under(tensors, f"generator/{rank}/"),
        raw_weights={current(name): tensor for name, tensor in _under(tensors, "raw/").items()},
        data=_under(tensors, _DATA),
    )


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states of the random generators that dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: dict[str, Tensor], device: torch.device) -> None:
    """Restores the random generators to `generator_states`."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    state: dict[int, dict[str, Any]] = {}
    for index, (name, _) in enumerate(network.named_parameters()):
        values = _under(tensors, f"{name}/")
        if values:
            state[index] = values
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
