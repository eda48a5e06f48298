"""The tasks that models are trained for. A task owns everything that differs between model families."""

from saccade.config import Section
from saccade.models import kind_of
from saccade.models.families import LanguageModel, Network, NonAutoregressive, Seq2Seq
from saccade.tasks.interface import Task
from saccade.tasks.language_modelling import LanguageModelling
from saccade.tasks.nonautoregressive import NonAutoregressiveTranslation
from saccade.tasks.translation import Translation

TASKS: dict[type[Network], Task] = {
    Seq2Seq: Translation(),
    NonAutoregressive: NonAutoregressiveTranslation(),
    LanguageModel: LanguageModelling(),
}
"""The task of each family of models."""


def task_for(model: Section) -> Task:
    """Returns the task of the family that this section `[model]` configures."""
    return TASKS[kind_of(model).family]
