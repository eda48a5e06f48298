"""The state of training besides the model, from which a run continues as if it had never stopped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.model_folder.checkpoint import names_in, read_tensors, write_json, write_tensors
from saccade.training.counters import STATE_FILE, Counters, damaged_state, read_counters
from saccade.training.state_checks import require_finite, require_generators, require_moments

_OPTIMIZER, _GENERATOR, _RAW = "optimizer/", "generator/", "raw/"
_DATA = "carried/"
"""Prefix of the tensors that training data save, such as memory that passes from update to update."""


def write_state(
    folder: Path,
    counters: Counters,
    *,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    generators: list[dict[str, Tensor]],
    raw_weights: dict[str, Tensor] | None,
    data: dict[str, Tensor],
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Writes training.safetensors and training.json beside a model's files.

    generators: each rank's random generators. raw_weights: the weights that training continues with if the
    model's file holds their moving average instead. data: see `TrainingData.state`. settings: the run's
    configuration as tables, with which a resumed run is compared.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    tensors: dict[str, Tensor] = {}
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            tensors[f"{_OPTIMIZER}{names[id(parameter)]}/{key}"] = torch.as_tensor(value)
    for rank, states in enumerate(generators):
        tensors |= {f"{_GENERATOR}{rank}/{name}": state for name, state in states.items()}
    tensors |= {f"{_RAW}{name}": tensor for name, tensor in (raw_weights or {}).items()}
    tensors |= {f"{_DATA}{name}": tensor for name, tensor in data.items()}
    write_tensors(folder / "training.safetensors", tensors)
    content: dict[str, Any] = {"counters": asdict(counters)}
    if settings is not None:
        content["settings"] = settings
    write_json(folder / STATE_FILE, content)


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
    """Restores the optimiser from a checkpoint; returns the rest of the state.

    Raises UserError for a state that this network and optimiser cannot have written: counters, shapes, types,
    names, and numbers that are not finite.
    """
    counters = read_counters(folder / STATE_FILE)
    tensors, current = read_tensors(folder / "training.safetensors"), names_in(folder)
    try:
        _require_known(tensors)
        moments: dict[str, dict[str, Tensor]] = {}
        for path, tensor in _under(tensors, _OPTIMIZER).items():
            name, _, key = path.rpartition("/")
            moments.setdefault(current(name), {})[key] = tensor
        require_moments(moments, network, updates=counters.step - counters.skipped)
        state = dict(enumerate(moments.get(name, {}) for name, _ in network.named_parameters()))
        optimizer.load_state_dict(
            {
                "state": {index: values for index, values in state.items() if values},
                "param_groups": optimizer.state_dict()["param_groups"],
            }
        )
        generators = _under(tensors, f"{_GENERATOR}{rank}/")
        require_generators(generators, first=rank == 0)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged_state(folder / "training.safetensors", str(error)) from error
    return TrainingState(
        counters,
        generators=generators,
        raw_weights={current(name): tensor for name, tensor in _under(tensors, _RAW).items()},
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


def _require_known(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not name.startswith((_OPTIMIZER, _GENERATOR, _RAW, _DATA)):
            raise ValueError(f"it holds the unknown tensor {name}")
        require_finite(name, tensor)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
