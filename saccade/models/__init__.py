"""One file per system; `interface.py` says what the rest of Saccade asks of each."""

from collections.abc import Callable, Mapping
from typing import Any

from saccade.config import Section, build
from saccade.errors import ConfigError
from saccade.models import (
    convolutional,
    recurrent,
    recurrent_lm,
    transformer,
    transformer_lm,
    transformer_xl,
)
from saccade.models.ctc import CtcModel
from saccade.models.fertility import FertilityModel
from saccade.models.interface import Network, Vocabulary
from saccade.models.mask_predict import MaskPredictModel
from saccade.models.nonautoregressive import Decoder, NonAutoregressive, NonAutoregressiveConfig

Presets = Mapping[str, Mapping[str, object]]
"""Name to the settings that it stands for."""

DECODERS: dict[Decoder, Callable[[NonAutoregressiveConfig, Vocabulary], NonAutoregressive]] = {
    "fertility": FertilityModel,
    "mask-predict": MaskPredictModel,
    "ctc": CtcModel,
}
"""Which non-autoregressive model `model.decoder` names."""


def _nonautoregressive(config: NonAutoregressiveConfig, vocabulary: Vocabulary) -> NonAutoregressive:
    return DECODERS[config.decoder](config, vocabulary)


MODELS: dict[str, tuple[type[Section], Callable[[Any, Vocabulary], Any], Presets]] = {
    "transformer": (transformer.TransformerConfig, transformer.Transformer, transformer.PRESETS),
    "recurrent": (recurrent.RecurrentConfig, recurrent.Recurrent, recurrent.PRESETS),
    "convolutional": (convolutional.ConvolutionalConfig, convolutional.Convolutional, convolutional.PRESETS),
    "nonautoregressive": (NonAutoregressiveConfig, _nonautoregressive, transformer.PRESETS),
    "transformer-xl": (
        transformer_xl.TransformerXLConfig,
        transformer_xl.TransformerXL,
        transformer_xl.PRESETS,
    ),
    "transformer-lm": (
        transformer_lm.TransformerLMConfig,
        transformer_lm.TransformerLM,
        transformer_lm.PRESETS,
    ),
    "recurrent-lm": (recurrent_lm.RecurrentLMConfig, recurrent_lm.RecurrentLM, recurrent_lm.PRESETS),
}
"""Kind to configuration, model and presets: where `[model] kind = ...` is looked up."""


def model_config(table: Mapping[str, object]) -> Section:
    """The `[model]` table as its kind's configuration; `preset` gives the values that it does not name.

    Raises UserError for an unknown kind, preset or key; of another kind's key it says whose it is.
    """
    rest = dict(table)
    kind = rest.get("kind", "transformer")
    if not isinstance(kind, str) or kind not in MODELS:
        raise ConfigError(f"model.kind = {kind!r}: allowed are {', '.join(MODELS)}")
    config, _, presets = MODELS[kind]
    preset = rest.pop("preset", None)
    if preset is not None and (not isinstance(preset, str) or preset not in presets):
        raise ConfigError(f"model.preset = {preset!r}: allowed for kind {kind} are {', '.join(presets)}")
    _refuse_other_kinds(rest, kind)
    return build(config, {**presets.get(str(preset), {}), **rest}, where="model")


def _refuse_other_kinds(table: Mapping[str, object], kind: str) -> None:
    """UserError for settings that exist, but not for this kind."""
    problems = []
    for key in table.keys() - MODELS[kind][0].model_fields.keys():
        owners = [name for name, (config, _, _) in MODELS.items() if key in config.model_fields]
        if owners:
            whose = f"a setting of kind {' and '.join(owners)}, and this model is {kind}"
            problems.append(f"model.{key} = {table[key]!r}: {whose}; leave it out or change model.kind")
    if problems:
        raise ConfigError("\n".join(sorted(problems)))


def build_model(config: Section, vocabulary: Vocabulary) -> Network:
    """A freshly initialised model; weights come from torch's global generator.

    Raises UserError when the configuration does not fit the vocabulary.
    """
    for known, model, _ in MODELS.values():
        if isinstance(config, known):
            try:
                built: Network = model(config, vocabulary)
            except ValueError as error:
                raise ConfigError(f"model: {error}") from error
            return built
    raise TypeError(f"no model is configured by {type(config).__name__}")
