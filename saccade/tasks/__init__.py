"""The tasks that models are trained for. A task owns everything that differs between model families."""

from saccade.config import Section
from saccade.models import kind_of
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
from saccade.tasks.classification import Classification
from saccade.tasks.frame_classification import FrameClassification
from saccade.tasks.interface import Task
from saccade.tasks.language_modelling import LanguageModelling
from saccade.tasks.masked_language_modelling import MaskedLanguageModelling
from saccade.tasks.nonautoregressive import NonAutoregressiveTranslation
from saccade.tasks.pointing import Pointing
from saccade.tasks.ranking import Ranking
from saccade.tasks.recognition import Recognition
from saccade.tasks.tagging import Tagging
from saccade.tasks.translation import Translation

TASKS: dict[type[Network], Task] = {
    Seq2Seq: Translation(),
    NonAutoregressive: NonAutoregressiveTranslation(),
    LanguageModel: LanguageModelling(),
    Tagger: Tagging(),
    Classifier: Classification(),
    MaskedLanguageModel: MaskedLanguageModelling(),
    FrameClassifier: FrameClassification(),
    Recogniser: Recognition(),
    Ranker: Ranking(),
    Pointer: Pointing(),
}
"""The task of each family of models."""


def task_for(model: Section) -> Task:
    """Returns the task of the family that this section `[model]` configures."""
    return TASKS[kind_of(model).family]
