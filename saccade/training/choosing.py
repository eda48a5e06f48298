"""The choice of the step of a run."""

from collections.abc import Callable

import torch

from saccade.machine import computes_bfloat16
from saccade.training.compiling import WORTH, CompiledRegions, has_regions
from saccade.training.device import DeviceStep
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.objective import Loss
from saccade.training.settings import TrainingConfig, uses_bfloat16
from saccade.training.step import Step

_SLOW = (
    "Warning: this processor has no instructions for bfloat16, so that an update takes many times as long as "
    "in float32. Unless you need the rounding of bfloat16, stop and set training.precision = float32."
)


def make_step(
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    *,
    group: Group,
    config: TrainingConfig,
    micro_batches: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Step:
    """Makes the step that configuration and device ask for. Satisfies `StepFactory`."""
    autocast = uses_bfloat16(config.precision, group.device)
    if autocast and group.device.type == "cpu" and not computes_bfloat16():
        say(_SLOW)
    compiles = compiles_model(config, group.device, loss)
    if group.device.type == "cpu" and not compiles:
        return EagerStep(
            loss,
            optimizer,
            group=group,
            clip_norm=config.clip_norm,
            autocast=autocast,
            micro_batches=micro_batches,
        )
    if compiles:
        say("Compiling the model: the first update may take a minute or two.")
    return DeviceStep(
        loss,
        optimizer,
        group=group,
        clip_norm=config.clip_norm,
        autocast=autocast,
        micro_batches=micro_batches,
        regions=CompiledRegions(loss) if compiles else None,
    )


def compiles_model(config: TrainingConfig, device: torch.device, loss: Loss) -> bool:
    """Whether a run compiles its model; `auto` depends on nothing that changes when it is resumed."""
    if config.compile == "auto":
        possible = has_regions(loss.model) and not loss.objective.reads_modules
        return possible and device.type == "cuda" and config.steps >= WORTH
    return config.compile
