"""Which settings go with which kind of model; the others are refused with the reason."""

from saccade.config import Section
from saccade.decoding.options import DecodingConfig
from saccade.decoding.parallel_options import SCHEMES
from saccade.errors import ConfigError
from saccade.models.nonautoregressive import NonAutoregressiveConfig
from saccade.nn.reading import LanguageModelConfig
from saccade.text.corpus import DataConfig
from saccade.training.evaluate import ValidationConfig
from saccade.training.loop import TrainingConfig


def decoding_section(model: Section) -> type[Section]:
    """What `[decoding]` holds for a model of this configuration."""
    return SCHEMES[model.decoder] if isinstance(model, NonAutoregressiveConfig) else DecodingConfig


def require_fit(model: Section, training: TrainingConfig, data: Section, validation: Section) -> None:
    """UserError for settings that don't go with this kind of model."""
    decoder = model.decoder if isinstance(model, NonAutoregressiveConfig) else None
    only = {
        "training.glancing": (training.glancing is not None, "ctc"),
        "training.fine_tuning": (training.fine_tuning > 0, "fertility"),
        "data.fertilities": (isinstance(data, DataConfig) and bool(data.fertilities), "fertility"),
        "data.valid_fertilities": (
            isinstance(data, DataConfig) and bool(data.valid_fertilities),
            "fertility",
        ),
    }
    for name, (given, owner) in only.items():
        if given and decoder != owner:
            raise ConfigError(f'{name}: only for models with decoder = "{owner}"; leave it out.')
    if training.teacher is not None and isinstance(model, LanguageModelConfig):
        raise ConfigError("training.teacher: a language model has none; leave it out.")
    _require_teacher(training, decoder)
    if training.glancing is not None and not all(0 <= share <= 1 for share in training.glancing):
        raise ConfigError(f"training.glancing = {list(training.glancing)}: both shares must lie in [0, 1].")
    if decoder is not None and training.compile:
        raise ConfigError(
            "training.compile: the shapes of a non-autoregressive model depend on its data at every step, "
            "and would be compiled again each time; leave it out."
        )
    if decoder is not None and isinstance(validation, ValidationConfig) and validation.beam > 1:
        raise ConfigError("validation.beam: a non-autoregressive model is not searched; leave it out.")
    if decoder == "fertility" and isinstance(data, DataConfig):
        _require_fertilities(data)


def _require_teacher(training: TrainingConfig, decoder: str | None) -> None:
    if training.teacher is None and (training.init_encoder or training.fine_tuning):
        name = "init_encoder" if training.init_encoder else "fine_tuning"
        raise ConfigError(f"training.{name} needs training.teacher, the model that it is about.")
    if training.init_encoder and decoder is None:
        raise ConfigError("training.init_encoder: only for non-autoregressive models; leave it out.")
    if training.init_encoder and training.init_from is not None:
        raise ConfigError(
            "training.init_encoder: training.init_from brings an encoder already; leave one out."
        )


def _require_fertilities(data: DataConfig) -> None:
    if data.train_files and not data.fertilities:
        raise ConfigError(
            'model.decoder = "fertility" needs data.fertilities, from a teacher.', topic="fertilities"
        )
    if data.valid_files and not data.valid_fertilities:
        raise ConfigError(
            'model.decoder = "fertility" needs data.valid_fertilities for validation, from a teacher.',
            topic="fertilities",
        )
