"""The preprocessor of pointer networks, whose target ids are positions of the inputs."""

from pathlib import Path
from typing import ClassVar, Self

from saccade.text.settings import write_settings

END = 0
"""The position of the mark at both ends of an answer; inputs have positions from 1."""
END_MARK = "end"
"""What the mark is called where positions are shown."""


class InputPositions:
    """A preprocessor whose target ids are positions, with nothing to learn.

    Sources are numbers and have no ids. The sizes count the mark alone, because the number of positions
    differs from line to line.
    """

    kind: ClassVar[str] = "positions"

    def __init__(self) -> None:
        self.source_vocab_size = self.target_vocab_size = 1
        self.pad = self.start = self.end = END
        self.shared = False

    @classmethod
    def load(cls, folder: Path) -> Self:  # noqa: ARG003 - as its siblings; there is nothing to read
        """Returns a preprocessor; all of this kind are the same."""
        return cls()

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json."""
        folder.mkdir(parents=True, exist_ok=True)
        write_settings(folder, kind=self.kind, config={})
