"""Tasks: what each family of models is trained to do. A task owns everything of a run that this decides."""

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
"""The task of each family: where training asks what it is about."""


def task_for(model: Section) -> Task:
    """The task of the family that this section `[model]` configures."""
    return TASKS[kind_of(model).family]
