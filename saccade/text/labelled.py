"""The tokeniser of models that label text: a tokeniser of the source, and the names of the labels."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from saccade.errors import InputError
from saccade.storage.structured import read_bytes
from saccade.text.lines import require_lines, require_many
from saccade.text.settings import SETTINGS_FILE, damaged, read_settings

if TYPE_CHECKING:
    from saccade.text.tokenizer import Tokenizer

_FILE = "labels.txt"


class LabelledTokenizer:
    """A tokeniser whose target ids are labels, from 0 on. Labels have no special ids.

    field: the column of CoNLL-U that the labels are from; None: they are from no such file.
    """

    kind: ClassVar[str] = "labelled"

    def __init__(self, source: "Tokenizer", labels: Sequence[str], *, field: str | None = None) -> None:
        require_many(labels, "labels")
        self.source, self.labels, self.field = source, tuple(labels), field
        self._ids = {label: number for number, label in enumerate(self.labels)}
        self.source_vocab_size, self.target_vocab_size = source.source_vocab_size, len(self.labels)
        # Special ids have to exist on both sides, and there may be two labels only.
        self.pad = self.start = self.end = 0
        self.unknown, self.shared = source.unknown, False

    @classmethod
    def load(cls, folder: Path, *, kinds: Mapping[str, Callable[[Path], Any]]) -> Self:
        """Reads what `save` wrote. kinds: the functions that load the preprocessor of the source."""
        settings = read_settings(folder)
        source, field = settings.get("source"), settings.get("field")
        try:
            if not isinstance(source, str) or source not in kinds or not isinstance(field, str | None):
                raise ValueError(f"{SETTINGS_FILE} names no tokeniser of the source")
            labels = read_bytes(folder / _FILE).decode().removesuffix("\n").split("\n")
            if not all(labels) or len(set(labels)) < len(labels):
                raise ValueError(f"{_FILE} has an empty label, or one that stands twice")
        except (OSError, ValueError) as error:
            raise damaged(folder, error) from error
        return cls(kinds[source](folder), labels, field=field)

    def save(self, folder: Path) -> None:
        """Writes the files of the source's tokeniser, labels.txt, and both in tokenizer.json."""
        self.source.save(folder)
        settings = read_settings(folder)
        own = {**settings, "kind": self.kind, "source": settings["kind"], "field": self.field}
        (folder / SETTINGS_FILE).write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
        (folder / _FILE).write_bytes("".join(f"{label}\n" for label in self.labels).encode("utf-8"))

    def numbers(self, labels: Sequence[str], *, place: str | Sequence[str]) -> list[int]:
        """The ids of labels. Raises UserError, naming the place file:line, for one that is not known.

        place: of all labels, or of each.
        """
        numbers = []
        places = [place] * len(labels) if isinstance(place, str) else place
        for label, where in zip(labels, places, strict=True):
            if label not in self._ids:
                known = ", ".join(self.labels[:20]) + (", ..." if len(self.labels) > 20 else "")
                raise InputError(
                    f"{where}: the label {label[:40]!r} does not occur in the training text, whose labels "
                    f"are {known}. Correct it, or train on text that has it."
                )
            numbers.append(self._ids[label])
        return numbers

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Source ids of each line, as the source's tokeniser gives them."""
        return self.source.encode_source(lines)

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """The ids of the labels of each line, separated by blanks."""
        found = require_lines(lines, "lines")
        return [self.numbers(line.split(), place=f"line {n}") for n, line in enumerate(found, start=1)]

    def decode(self, ids: Sequence[int]) -> str:
        """The labels with single blanks between them."""
        return " ".join(self.target_pieces(ids))

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of source ids."""
        return self.source.source_pieces(ids)

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The labels of ids."""
        return [self.labels[int(number)] for number in ids]
