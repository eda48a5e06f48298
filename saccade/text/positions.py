"""The tokeniser of pointer networks, whose target ids are positions of the inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from saccade.text.lines import require_lines
from saccade.text.settings import write_settings

END = 0
"""The position of the mark at both ends of an answer; inputs have positions from 1."""
_MARK = "end"


class PositionTokenizer:
    """A tokeniser whose target ids are positions, with nothing to learn.

    Sources are numbers and have no ids. The sizes count the mark alone, because the number of positions
    differs from line to line.
    """

    kind: ClassVar[str] = "positions"

    def __init__(self) -> None:
        self.source_vocab_size = self.target_vocab_size = 1
        self.pad = self.start = self.end = self.unknown = END
        self.shared = False

    @classmethod
    def load(cls, folder: Path) -> Self:  # noqa: ARG003 - as its siblings; there is nothing to read
        """Returns a tokeniser; all of this kind are the same."""
        return cls()

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json."""
        folder.mkdir(parents=True, exist_ok=True)
        write_settings(folder, kind=self.kind, config={})

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """For each line the positions of its inputs, which are separated by blanks, and the end."""
        split = (line.split() for line in require_lines(lines, "lines"))
        return [[*range(1, len(inputs) + 1), END] for inputs in split]

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """The positions of each line, which are separated by blanks, and the end."""
        return [[*map(int, line.split()), END] for line in require_lines(lines, "lines")]

    def decode(self, ids: Sequence[int]) -> str:
        """The positions with single blanks between them, without the end."""
        return " ".join(str(int(position)) for position in ids if position != END)

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The positions as text."""
        return [_MARK if position == END else str(int(position)) for position in ids]

    target_pieces = source_pieces
