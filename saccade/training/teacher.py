"""A trained model that a student starts from, or that judges it."""

from pathlib import Path
from typing import Any

import torch

from saccade.checkpoint import Model, load_model
from saccade.errors import ConfigError
from saccade.models.interface import Parallel
from saccade.text.tokenizer import same_pieces
from saccade.training.loop import TrainingConfig


def load_teacher(
    training: TrainingConfig, student: Model, *, resumes: bool, device: torch.device
) -> Model | None:
    """The teacher where it has something to do, None elsewhere: a run that only began with its encoder is
    resumed without it. Raises UserError where it can't read what the student writes."""
    if training.teacher is None or not (training.fine_tuning or (training.init_encoder and not resumes)):
        return None
    teacher = load_model(training.teacher)
    _require_teacher(student, teacher, folder=training.teacher)
    teacher.module.to(device)
    return teacher


def _require_teacher(model: Model, teacher: Model, *, folder: Path) -> None:
    """UserError where the teacher can't read what the model writes."""
    if isinstance(teacher.network, Parallel):
        raise ConfigError(
            f"training.teacher = {folder}: non-autoregressive; give one that writes word by word."
        )
    if not same_pieces(model.tokenizer, teacher.tokenizer):
        raise ConfigError(
            f"training.teacher = {folder}: its pieces are not those of training.init_from. Train the student "
            "with training.teacher from the beginning."
        )


_ENCODER = ("source_embedding.", "encoder.", "encoder_norm.")


def take_encoder(model: Model, teacher: Model) -> None:
    """Copy a Transformer's source embeddings and encoder into a non-autoregressive model (Gu et al. 2018,
    section 5.1). Raises UserError where the two differ."""
    own, theirs = model.config.model_dump(), teacher.config.model_dump()
    usual: dict[str, Any] = {
        "kind": "transformer",
        "positions": "sinusoidal",
        "sinusoid_layout": "interleaved",
    }
    usual |= {"scaled_embeddings": True, "window": None}
    same = ("width", "heads", "feed_forward", "encoder_layers", "activation", "norm")
    wanted = {**usual, **{name: own[name] for name in same}}
    for name, value in wanted.items():
        if theirs.get(name) != value:
            raise ConfigError(
                f"training.init_encoder: the teacher's model.{name} is {theirs.get(name)}, this model needs "
                f"{value}. Make them equal, or leave init_encoder out."
            )
    weights = teacher.module.state_dict()
    with torch.no_grad():
        for name, tensor in model.module.state_dict().items():
            if name.startswith(_ENCODER):
                tensor.copy_(weights[name])
