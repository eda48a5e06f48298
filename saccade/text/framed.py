"""The tokeniser of models that read pictures or sounds: frames as source, characters as target."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Self

from saccade.errors import InputError, Unsupported
from saccade.frames.reading import Frames, View, read_frames, read_view
from saccade.frames.settings import FramesConfig
from saccade.storage.structured import read_bytes
from saccade.text.lines import require_lines, require_many
from saccade.text.settings import damaged, read_settings, write_settings
from saccade.text.vocabulary import END, PAD, START, UNKNOWN

_FILE = "characters.txt"
_SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
_LOST = "\N{REPLACEMENT CHARACTER}"


class FrameTokenizer:
    """Makes frames of files, and ids of the characters of their texts.

    `source_vocab_size` is the width of a frame, the number of values at each position. Without characters it
    is the source side of a `LabelledTokenizer`.
    """

    kind: ClassVar[str] = "frames"

    def __init__(self, config: FramesConfig, characters: Sequence[str] = ()) -> None:
        """characters: in the order of their ids, which follow the special ones."""
        self.config, self.characters = config, tuple(characters)
        self._ids = {character: number for number, character in enumerate(characters, start=len(_SPECIAL))}
        self.source_vocab_size = config.frame_width
        self.target_vocab_size = len(_SPECIAL) + len(self.characters)
        self.pad, self.unknown, self.start, self.end, self.shared = PAD, UNKNOWN, START, END, False

    @classmethod
    def learn(cls, config: FramesConfig, texts: Iterable[str]) -> Self:
        """A tokeniser with all characters of the texts. Raises UserError if there are none."""
        require_many(texts, "texts")
        characters = sorted({character for text in texts for character in text})
        if not characters:
            raise InputError("the training text has no characters.")
        return cls(config, characters)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; raises UserError if a file is missing or damaged."""
        try:
            config = FramesConfig.model_validate_json(json.dumps(read_settings(folder).get("config")))
            characters = read_bytes(folder / _FILE).decode().split("\n")[:-1]
            if any(len(one) != 1 for one in characters) or len(set(characters)) < len(characters):
                raise ValueError(f"{_FILE} has a line that is not one character, or one that stands twice")
        except (OSError, ValueError) as error:
            raise damaged(folder, error) from error
        return cls(config, characters)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json, and characters.txt with one character a line."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_bytes("".join(f"{one}\n" for one in self.characters).encode("utf-8"))
        write_settings(folder, kind=self.kind, config=self.config.model_dump(mode="json", exclude_none=True))

    def frames(self, path: Path) -> Frames:
        """The frames (positions, width) of a file. Raises UserError if it cannot be read."""
        return read_frames(path, self.config)

    def view(self, path: Path) -> View:
        """What the model reads, as a picture; see `View`."""
        return read_view(path, self.config)

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:  # noqa: ARG002
        """Raises UserError: the source is no text."""
        raise Unsupported(f"this model reads {self.config.reads} and no text.", topic="predictor")

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of the characters of each line, followed by the end symbol."""
        found = require_lines(lines, "lines")
        return [[*(self._ids.get(character, UNKNOWN) for character in line), END] for line in found]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of target ids, without special ids; the unknown character becomes U+FFFD."""
        return "".join(
            _LOST if number == UNKNOWN else self.characters[number - len(_SPECIAL)]
            for number in map(int, ids)
            if number == UNKNOWN or number >= len(_SPECIAL)
        )

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The numbers of positions, from 1, because frames have no names."""
        return [str(number) for number in range(1, len(ids) + 1)]

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The characters of ids; U+2423 stands for a space."""
        pieces = [*_SPECIAL, *("\N{OPEN BOX}" if one == " " else one for one in self.characters)]
        return [pieces[int(number)] for number in ids]
