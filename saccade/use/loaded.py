"""What any loaded model can do, whatever its family: other languages and settings, and a look inside."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from saccade.config import check_sections
from saccade.errors import ConfigError, InputError, Unsupported
from saccade.inspection.record import Inspection
from saccade.use.reopening import Reopened


class LoadedModel(Reopened, ABC):
    """The base of the classes that use a model of a family."""

    topic: ClassVar[str]
    """Topic of the advice for a user who asked for something else, see `UserError`."""
    answers: ClassVar[bool] = False
    """Whether the model writes a text for each text."""
    sections: ClassVar[tuple[str, ...]] = ()
    """The sections of settings that can be changed after loading."""

    def with_settings(self, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        """A copy with the same weights and other settings, by section.

        Raises UserError for a section or a setting that cannot be changed.
        """
        given = {name: table for name, table in sections.items() if table}
        if given and not self.sections:
            names = ", ".join(f"{section}.{name}" for section, table in given.items() for name in table)
            raise ConfigError(f"{names}: this model has no settings to change; leave it out.")
        check_sections(given, self.sections)
        return self._with_settings(given) if given else self

    def _with_settings(self, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        raise NotImplementedError

    def between(self, source: str | None = None, target: str | None = None) -> Self:
        """A copy for other languages, by their names; None leaves one unchanged.

        Raises UserError for an unknown language, or if the model has no languages to choose from.
        """
        if source is not None or target is not None:
            raise Unsupported(f"language {source or target}: this model has no languages to choose from.")
        return self

    def note(self) -> str | None:
        """What a user should choose before the first text, in a sentence; None if nothing is undecided."""
        return None

    def answer(self, text: str) -> str:  # noqa: ARG002
        """The text that the model writes for a text; only if it `answers`."""
        raise Unsupported("this model writes no text for a text.")

    def common_target(self, text: str) -> str | None:  # noqa: ARG002
        """The target that other models are shown with beside this one; None if each shows its own."""
        return None

    @abstractmethod
    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        """The record of what the model does with a text. name: what it is called on a page.

        Raises UserError for a text that is empty or too long, and for a target if the model takes none.
        """


def require_no_target(target: str | None) -> None:
    """Raises UserError for a target that is given to a model that takes none."""
    if target is not None:
        raise InputError("this model reads one text and has no target; leave the target out.")
