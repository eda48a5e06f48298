"""The models that a run starts from: one that it continues (`init_from`), and its teacher (`teacher`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from saccade.errors import ConfigError, DamagedFile
from saccade.model_folder.checkpoint import Model, find_model, load_weights, read_description, read_weights
from saccade.models import KINDS, kind_of, model_config
from saccade.models.families import (
    Classifier,
    MaskedLanguageModel,
    Network,
    NonAutoregressive,
    Seq2Seq,
    Tagger,
)
from saccade.nn.reading import OVERRIDABLE
from saccade.storage.folders import Read, read_whole
from saccade.text.corpus import file_hash
from saccade.text.labelled import LabelledTokenizer
from saccade.text.preprocessor import Preprocessor
from saccade.text.tokenizer import load_preprocessor
from saccade.training.settings import TrainingConfig

_READ_TEXT: tuple[type[Network], ...] = (
    Seq2Seq,
    NonAutoregressive,
    MaskedLanguageModel,
    Tagger,
    Classifier,
)
"""The families whose encoder reads text. A classifier of frames derives from one of them and does not."""
_ENCODER = "encoder"
"""Name of the module that reads a text in all models that have an encoder."""


@dataclass(frozen=True)
class Origin:
    """A model folder that a run starts from, read when it is first needed.

    key: the setting that names the folder.
    """

    key: str
    folder: Path

    @cached_property
    def description(self) -> dict[str, Any]:
        """The folder's model.json."""
        return self._read(read_description)

    @cached_property
    def tokenizer(self) -> Preprocessor:
        """The model's preprocessor, in most families a tokeniser."""
        return self._read(
            lambda folder: load_preprocessor(folder, digests=read_description(folder)["tokenizer"])
        )

    @property
    def family(self) -> type[Network]:
        """The family that the model belongs to."""
        return kind_of(model_config(self.description["model"])).family

    def copy_weights(self, model: Model) -> None:
        """Copies the weights into a model of the same sizes; raises UserError if they do not fit."""

        def copy(folder: Path) -> str:
            load_weights(model.network, read_weights(folder), folder=folder)
            return file_hash(folder / "model.safetensors")

        model.provenance[self._name] = self._read(copy)

    def copy_encoder(self, model: Model) -> None:
        """Copies the weights of the module `encoder`; raises UserError if the model has another one."""

        def copy(folder: Path) -> str:
            encoder = model.network.get_submodule(_ENCODER)
            weights = {
                name.removeprefix(f"{_ENCODER}."): tensor
                for name, tensor in read_weights(folder).items()
                if name.startswith(f"{_ENCODER}.")
            }
            try:
                load_weights(encoder, weights, folder=folder)
            except DamagedFile as error:  # its own model would have been loaded
                kind, wanted = self.description["model"]["kind"], model.config.model_dump()["kind"]
                raise ConfigError(
                    f"{self.key} = {self.folder}: the encoder of a model of kind {kind} does not fit one of "
                    f"kind {wanted}. Name another model, or set model.kind to a kind with such an encoder."
                ) from error
            return file_hash(folder / "model.safetensors")

        model.provenance[self._name] = self._read(copy)

    def digest(self, last: Path) -> str:
        """The SHA-256 of the weights, taken from the checkpoint `last` if the run is resumed."""
        if (last / "model.json").is_file():
            return str(read_description(last)["provenance"].get(self._name, ""))
        return self._read(lambda folder: file_hash(folder / "model.safetensors"))

    @property
    def _name(self) -> str:
        return self.key.rpartition(".")[2]

    def _read(self, read: Callable[[Path], Read]) -> Read:
        """What `read` finds in the model folder, or in a run's best checkpoint, which a run may replace."""
        return read_whole(partial(find_model, self.folder), read)


@dataclass(frozen=True)
class WarmStart:
    """The models that a run starts from; most runs have neither."""

    init_from: Origin | None = None
    teacher: Origin | None = None
    encoder_from: Origin | None = None

    @classmethod
    def of(cls, training: TrainingConfig) -> "WarmStart":
        """The models that the settings name; no file is read yet."""
        paths = {name: getattr(training, name) for name in ("init_from", "teacher", "encoder_from")}
        return cls(**{name: Origin(f"training.{name}", path) for name, path in paths.items() if path})

    @property
    def vocabulary_from(self) -> Origin | None:
        """The model whose tokeniser the run uses; None if it learns its own."""
        return self.init_from or self.teacher or self.encoder_from

    def tokenizer(self) -> Preprocessor | None:
        """The tokeniser of that model; None if the run learns its own.

        Of the model of an encoder alone, the labels are left out, because they are those of another text.
        """
        if self.vocabulary_from is None:
            return None
        found = self.vocabulary_from.tokenizer
        alone = self.vocabulary_from is self.encoder_from
        return found.source if alone and isinstance(found, LabelledTokenizer) else found

    def complete(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration's tables, completed with the settings of `init_from`.

        Raises UserError for settings that the model's weights and vocabulary determine: in [model] only
        dropout may differ, and settings that a language model's weights do not depend on.
        """
        if (brings := self.vocabulary_from) is not None and tables.get("tokenizer"):
            raise ConfigError(
                f"[tokenizer]: the vocabulary comes from {brings.key} = {brings.folder}; leave it out."
            )
        if self.encoder_from is not None and self.init_from is None:
            return self._with_encoder(self.encoder_from, tables)
        if self.init_from is None:
            return dict(tables)
        own, settled = (
            self.init_from.description,
            f"comes from {self.init_from.key} = {self.init_from.folder}",
        )
        for name, value in tables.get("model", {}).items():
            free = name.endswith("dropout") or name in OVERRIDABLE
            if not free and value != own["model"].get(name):
                known = f", which is {own['model'][name]}," if name in own["model"] else ""
                raise ConfigError(f"model.{name} = {value}: this{known} {settled}; leave it out.")
        below = {name: {**own[name], **tables.get(name, {})} for name in ("model", "decoding")}
        if languages := own["provenance"].get("languages"):
            named = {f"{side}_language": language for side, language in languages.items()}
            below["data"] = {**named, **tables.get("data", {})}
        return {**tables, **below}

    def _with_encoder(self, origin: Origin, tables: Mapping[str, Any]) -> dict[str, Any]:
        """The tables with the settings of another model's encoder, which must not differ."""
        if origin.family not in _READ_TEXT:
            raise ConfigError(
                f"{origin.key} = {origin.folder}: this is {origin.family.purpose}; name a model whose "
                "encoder reads text, such as a masked language model."
            )
        own, given = origin.description["model"], dict(tables.get("model", {}))
        kind = given.get("kind")
        if not isinstance(kind, str) or kind not in KINDS or kind == own["kind"]:
            raise ConfigError(
                f"{origin.key} = {origin.folder}: the encoder of a model of kind {own['kind']}. Set "
                "model.kind to a kind that labels with such an encoder, or use training.init_from."
            )
        fields = KINDS[kind].config.model_fields.keys() - {"kind"}
        shared = {name: value for name, value in own.items() if name in fields}
        for name, value in given.items():
            if name in shared and not name.endswith("dropout") and value != shared[name]:
                raise ConfigError(
                    f"model.{name} = {value}: this, which is {shared[name]}, comes from {origin.key} = "
                    f"{origin.folder}; leave it out."
                )
        return {**tables, "model": {**shared, **given}}

    def provenance(self, last: Path) -> dict[str, str]:
        """The digests of the models' weights for the model folder; last: see `Origin.digest`."""
        names = ("init_from", "teacher", "encoder_from")
        origins = {name: getattr(self, name) for name in names}
        return {name: origin.digest(last) for name, origin in origins.items() if origin is not None}
