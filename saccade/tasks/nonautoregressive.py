"""Translation with non-autoregressive models: each scheme with its objective and its settings."""

from collections.abc import Callable
from typing import cast

from saccade.config import Section
from saccade.decoding.nonautoregressive.decoders import DECODERS
from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import Model
from saccade.models.families import Seq2Seq, expect
from saccade.models.nonautoregressive.config import NonAutoregressiveConfig, SchemeName
from saccade.tasks.guidance import refuse_guidance
from saccade.tasks.interface import Experiment
from saccade.tasks.translation import Translation
from saccade.text.corpus import DataConfig
from saccade.training.dag import GlancingDag
from saccade.training.fertility import FertilityCrossEntropy
from saccade.training.fine_tuning import FineTuning
from saccade.training.glancing import GlancingCtc
from saccade.training.masked import MaskedCrossEntropy
from saccade.training.objective import Objective
from saccade.training.settings import TrainingConfig

GLANCING = (0.5, 0.3)
"""Default shares of glancing at the start and the end of training; see `GlancingCtc.share`."""
DAG_GLANCING = (0.5, 0.1)
"""The same for `decoder = "dag"`; see `GlancingDag.share`."""


def _fertility(training: TrainingConfig, teacher: Model | None) -> Objective:
    likelihood = FertilityCrossEntropy(training.label_smoothing or 0.0)
    if teacher is None or not training.fine_tuning:
        return likelihood
    return FineTuning(likelihood, expect(teacher.network, Seq2Seq), training.fine_tuning)


def _mask_predict(training: TrainingConfig, teacher: Model | None) -> Objective:
    return MaskedCrossEntropy(training.label_smoothing or 0.0)


def _ctc(training: TrainingConfig, teacher: Model | None) -> Objective:
    share = GLANCING if training.glancing is None else training.glancing
    return GlancingCtc(share, training.label_smoothing or 0.0)


def _dag(training: TrainingConfig, teacher: Model | None) -> Objective:
    return GlancingDag(DAG_GLANCING if training.glancing is None else training.glancing)


OBJECTIVES: dict[SchemeName, Callable[[TrainingConfig, Model | None], Objective]] = {
    "fertility": _fertility,
    "mask-predict": _mask_predict,
    "ctc": _ctc,
    "dag": _dag,
}
"""The objective of each scheme."""


class NonAutoregressiveTranslation(Translation):
    """Translation with the settings, the objective and the decoder of a non-autoregressive scheme."""

    def sections(self, model: Section) -> dict[str, type[Section]]:
        """See `Task.sections`."""
        return {**super().sections(model), "decoding": DECODERS[_scheme(model)].options}

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        training, data, scheme = plan.training, cast(DataConfig, plan.data), _scheme(plan.model)
        self.refuse_schemes(plan, but=scheme)
        self.require_teacher(plan)
        refuse_guidance(plan, "a non-autoregressive model")
        if training.init_encoder and training.init_from is not None:
            raise ConfigError(
                "training.init_encoder: training.init_from already provides an encoder; leave one out."
            )
        if training.glancing is not None and not all(0 <= share <= 1 for share in training.glancing):
            raise ConfigError(
                f"training.glancing = {list(training.glancing)}: both shares must lie in [0, 1]."
            )
        if scheme == "dag" and training.label_smoothing:
            raise ConfigError(
                "training.label_smoothing: a path through the graph has no target of its own to smooth; "
                "leave it out."
            )
        if training.r_drop:
            raise ConfigError("training.r_drop: only for models that write token by token; leave it out.")
        if training.compile:
            raise ConfigError(
                "training.compile: the shapes in a non-autoregressive model depend on its data, so that "
                "nearly every step would be compiled again; leave it out."
            )
        if self.validation_of(plan).beam > 1:
            raise ConfigError("validation.beam: a non-autoregressive model has no beam search; leave it out.")
        if DECODERS[scheme].scheme.needs_fertilities:
            _require_fertilities(data)

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        return OBJECTIVES[_scheme(plan.model)](plan.training, teacher)

    def validation_objective(self, plan: Experiment) -> Objective:
        """See `Translation.validation_objective`."""
        return OBJECTIVES[_scheme(plan.model)](TrainingConfig(), None)

    def validation_options(self, plan: Experiment) -> dict[str, object]:
        """See `Translation.validation_options`: one candidate a sentence needs no reranker."""
        return {"candidates": 1}


def _scheme(model: Section) -> SchemeName:
    return cast(NonAutoregressiveConfig, model).decoder


def _require_fertilities(data: DataConfig) -> None:
    wanted = {
        "data.fertilities": bool(data.train_files) and not data.fertilities,
        "data.valid_fertilities": bool(data.valid_files) and not data.valid_fertilities,
    }
    for name, missing in wanted.items():
        if missing:
            raise ConfigError(
                f"{name} is not set: a model trained with fertilities needs those of this text, counted with "
                "a teacher.",
                topic="fertilities",
            )
