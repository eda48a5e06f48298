"""A teacher: a trained model that a student starts from, or that scores it in training."""

from typing import Any

import torch

from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models.families import Seq2Seq, expect
from saccade.text.tokenizer import same_pieces
from saccade.training.settings import TrainingConfig


def load_teacher(
    training: TrainingConfig, student: Model, *, resumes: bool, device: torch.device
) -> Model | None:
    """Loads the teacher, or returns None if the run does not need it.

    A run that only started from its encoder resumes without it. Raises UserError if the teacher's pieces are
    not the student's.
    """
    if training.teacher is None or not (training.fine_tuning or (training.init_encoder and not resumes)):
        return None
    teacher = load_model(training.teacher)
    expect(teacher.network, Seq2Seq, what=f"training.teacher = {training.teacher}")
    if not same_pieces(student.tokenizer, teacher.tokenizer):
        raise ConfigError(
            f"training.teacher = {training.teacher}: its pieces are not those of training.init_from. Train "
            "the student with training.teacher from the beginning."
        )
    teacher.network.to(device)
    return teacher


def take_encoder(model: Model, teacher: Model) -> None:
    """Copies a Transformer's encoder, embeddings included, into a non-autoregressive model (Gu et al. 2018,
    section 5.1). Raises UserError if their configurations differ."""
    own, theirs = model.config.model_dump(), teacher.config.model_dump()
    usual: dict[str, Any] = {
        "kind": "transformer",
        "positions": "sinusoidal",
        "sinusoid_layout": "interleaved",
        "scaled_embeddings": True,
        "window": None,
    }
    same = ("width", "heads", "feed_forward", "encoder_layers", "activation", "norm")
    wanted = {**usual, **{name: own[name] for name in same}}
    for name, value in wanted.items():
        if theirs.get(name) != value:
            raise ConfigError(
                f"training.init_encoder: the teacher's model.{name} is {theirs.get(name)}, this model needs "
                f"{value}. Make them equal, or leave init_encoder out."
            )
    encoder, taught = (network.get_submodule("encoder") for network in (model.network, teacher.network))
    encoder.load_state_dict(taught.state_dict())
