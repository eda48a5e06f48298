"""Guided alignment in a configuration: the head that is trained, and settings that do not fit together."""

from typing import cast

from saccade.config import Section
from saccade.errors import ConfigError
from saccade.model_folder.heads import AlignmentHeads
from saccade.models.interface import Vocabulary
from saccade.models.outline import outline
from saccade.models.recording import cross_attention
from saccade.tasks.interface import Experiment
from saccade.text.corpus import DataConfig


def guided_heads(plan: Experiment) -> AlignmentHeads | None:
    """The head that guided alignment trains, or None without it. Raises UserError if the model lacks it."""
    training = plan.training
    if not training.guided_alignment:
        return None
    heads = _heads(plan.model)
    if not heads:
        raise ConfigError("training.guided_alignment: this model has no cross-attention; leave it out.")
    layer, head = training.guided_layer or max(len(heads) - 1, 1), training.guided_head or 1
    if layer > len(heads):
        raise ConfigError(
            f"training.guided_layer = {layer}: the decoder has {len(heads)} layers with cross-attention."
        )
    if head > heads[layer - 1]:
        raise ConfigError(f"training.guided_head = {head}: the layer has {heads[layer - 1]} heads.")
    return AlignmentHeads(layer, (head,))


def check_guidance(plan: Experiment) -> None:
    """Raises UserError for settings of guided alignment that lack others or do not fit the model."""
    training, data = plan.training, cast(DataConfig, plan.data)
    if not training.guided_alignment:
        given = {
            "data.alignments": bool(data.alignments),
            "training.guided_layer": training.guided_layer is not None,
            "training.guided_head": training.guided_head is not None,
        }
        for name in (name for name, is_given in given.items() if is_given):
            raise ConfigError(
                f"{name}: only used with training.guided_alignment; set that, for example to 0.05, or leave "
                f"{name} out."
            )
        return
    guided_heads(plan)
    if data.train_files and not data.alignments:
        raise ConfigError(
            "data.alignments is not set: training.guided_alignment needs the word alignments of the training "
            "text.",
            topic="alignments",
        )
    if training.r_drop:
        raise ConfigError(
            "training.r_drop: R-Drop reads each pair twice, and guided alignment has a loss for one reading; "
            "leave one of them out."
        )
    if training.compile:
        raise ConfigError(
            "training.compile: guided alignment reads the attention of the running model, which a compiled "
            "one does not show; leave one of them out."
        )


def refuse_guidance(plan: Experiment, what: str) -> None:
    """Raises UserError for any setting of guided alignment, because `what` cannot be trained with it."""
    training = plan.training
    given = {
        "training.guided_alignment": bool(training.guided_alignment),
        "training.guided_layer": training.guided_layer is not None,
        "training.guided_head": training.guided_head is not None,
        "data.alignments": bool(getattr(plan.data, "alignments", ())),
    }
    for name in (name for name, is_given in given.items() if is_given):
        raise ConfigError(
            f"{name}: guided alignment is for models that write token by token, not for {what}; leave it out."
        )


def _heads(model: Section) -> list[int]:
    """The number of heads of each layer with cross-attention."""
    some = Vocabulary(8, 8, pad=0, start=2, end=3, shared=True)  # its sizes do not matter
    return [module.heads for module in cross_attention(outline(model, some))]
