"""The kinds of models, with one record for each; the families are defined in `families.py`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from saccade.config import Section, build
from saccade.errors import ConfigError
from saccade.models import (
    bert,
    classifier,
    convolutional,
    frame_classifier,
    pointer,
    ranker,
    recogniser,
    recurrent,
    recurrent_lm,
    tagger,
    transformer,
    transformer_lm,
    transformer_xl,
)
from saccade.models.families import (
    Classifier,
    FrameClassifier,
    LanguageModel,
    MaskedLanguageModel,
    Network,
    NonAutoregressive,
    Pointer,
    Ranker,
    Recogniser,
    Seq2Seq,
    Tagger,
)
from saccade.models.interface import Vocabulary
from saccade.models.nonautoregressive.config import NonAutoregressiveConfig
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer

LAYERS = 256
"""Largest number of layers on a side; the deepest published Transformers have 1,000 in all."""
LARGEST = 1 << 24
"""Largest size of any kind, such as a width or a number of positions."""

Presets = Mapping[str, Mapping[str, object]]
"""The settings that each preset stands for, by name."""


@dataclass(frozen=True)
class Kind:
    """The record of a kind: its section `[model]`, the network built from it, its presets and its family.

    The network is called with its configuration and a `Vocabulary`.
    """

    config: type[Section]
    network: type[Network]
    presets: Presets
    family: type[Network]


KINDS: dict[str, Kind] = {
    "transformer": Kind(transformer.TransformerConfig, transformer.Transformer, transformer.PRESETS, Seq2Seq),
    "recurrent": Kind(recurrent.RecurrentConfig, recurrent.Recurrent, recurrent.PRESETS, Seq2Seq),
    "convolutional": Kind(
        convolutional.ConvolutionalConfig, convolutional.Convolutional, convolutional.PRESETS, Seq2Seq
    ),
    "nonautoregressive": Kind(
        NonAutoregressiveConfig, NonAutoregressiveTransformer, transformer.PRESETS, NonAutoregressive
    ),
    "transformer-xl": Kind(
        transformer_xl.TransformerXLConfig,
        transformer_xl.TransformerXL,
        transformer_xl.PRESETS,
        LanguageModel,
    ),
    "transformer-lm": Kind(
        transformer_lm.TransformerLMConfig,
        transformer_lm.TransformerLM,
        transformer_lm.PRESETS,
        LanguageModel,
    ),
    "recurrent-lm": Kind(
        recurrent_lm.RecurrentLMConfig, recurrent_lm.RecurrentLM, recurrent_lm.PRESETS, LanguageModel
    ),
    "tagger": Kind(tagger.TaggerConfig, tagger.WordTagger, tagger.PRESETS, Tagger),
    "bert": Kind(bert.BertConfig, bert.Bert, bert.PRESETS, MaskedLanguageModel),
    "bert-tagger": Kind(bert.BertTaggerConfig, bert.BertTagger, bert.PRESETS, Tagger),
    "classifier": Kind(
        classifier.ClassifierConfig, classifier.TextClassifier, classifier.PRESETS, Classifier
    ),
    "bert-classifier": Kind(
        classifier.BertClassifierConfig, classifier.BertClassifier, bert.PRESETS, Classifier
    ),
    "frame-classifier": Kind(
        frame_classifier.FrameClassifierConfig,
        frame_classifier.TransformerFrameClassifier,
        classifier.PRESETS,
        FrameClassifier,
    ),
    "recogniser": Kind(
        recogniser.RecogniserConfig, recogniser.TransformerRecogniser, recogniser.PRESETS, Recogniser
    ),
    "ranker": Kind(ranker.RankerConfig, ranker.AttentionRanker, classifier.PRESETS, Ranker),
    "pointer": Kind(pointer.PointerConfig, pointer.PointerNetwork, pointer.PRESETS, Pointer),
}
"""The record of each value of `model.kind`."""


def model_config(table: Mapping[str, object]) -> Section:
    """The `[model]` table as its kind's configuration; `preset` supplies the values that it leaves out.

    Raises UserError for an unknown kind, preset or key, and for numbers that no model has; the message names
    the kind that a key belongs to.
    """
    _refuse_bombs(table)
    rest = dict(table)
    kind = rest.get("kind", "transformer")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"model.kind = {kind!r}: allowed are {', '.join(KINDS)}")
    config, presets = KINDS[kind].config, KINDS[kind].presets
    preset = rest.pop("preset", None)
    if preset is not None and (not isinstance(preset, str) or preset not in presets):
        raise ConfigError(f"model.preset = {preset!r}: allowed for kind {kind} are {', '.join(presets)}")
    _refuse_other_kinds(rest, kind)
    return build(config, {**presets.get(str(preset), {}), **rest}, where="model")


def _refuse_bombs(table: Mapping[str, object]) -> None:
    """Raises UserError for sizes that would take all memory or time before another check refuses them."""
    for name, value in table.items():
        values = _flat(value) if isinstance(value, list | tuple) else [value]
        most = LAYERS if name.endswith("layers") and not isinstance(value, list | tuple) else LARGEST
        if len(values) > 2 * LAYERS:
            raise ConfigError(f"model.{name}: {len(values):,} values; at most {2 * LAYERS} are possible")
        for number in values:
            if isinstance(number, int | float) and abs(number) > most:
                raise ConfigError(f"model.{name} = {number!s:.20}: at most {most:,} is possible")


def _flat(values: Iterable[object]) -> list[object]:
    inner = (_flat(value) if isinstance(value, list | tuple) else [value] for value in values)
    return [value for part in inner for value in part]


def _refuse_other_kinds(table: Mapping[str, object], kind: str) -> None:
    """Raises UserError for settings that exist for other kinds only."""
    problems = []
    for key in table.keys() - KINDS[kind].config.model_fields.keys():
        owners = [name for name, other in KINDS.items() if key in other.config.model_fields]
        if owners:
            whose = f"a setting of kind {' and '.join(owners)}, and this model is {kind}"
            problems.append(f"model.{key} = {table[key]!r}: {whose}; leave it out or change model.kind")
    if problems:
        raise ConfigError("\n".join(sorted(problems)))


def kind_of(config: Section) -> Kind:
    """The record of the kind that this section `[model]` configures. Raises TypeError for another section."""
    for kind in KINDS.values():
        if type(config) is kind.config:
            return kind
    raise TypeError(f"no model is configured by {type(config).__name__}")


def build_model(config: Section, vocabulary: Vocabulary) -> Network:
    """A newly initialised model; its weights are drawn from torch's global random generator.

    Raises UserError if the configuration does not fit the vocabulary.
    """
    try:
        return kind_of(config).network(config, vocabulary)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
