"""The tokeniser of OPUS-MT models: two SentencePiece models that split text, and a table of pieces and ids.

The ids are those of transformers' MarianTokenizer, except that text that spells a special token ("</s>") is
treated as text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import sentencepiece
from pydantic import NonNegativeInt, PositiveInt

from saccade.config import Section
from saccade.storage.structured import read_bytes
from saccade.text.imported import (
    Pieces,
    check_ids,
    cut,
    no_such_language,
    one_line,
    processor,
    read_table,
    write_table,
)
from saccade.text.lines import require_lines
from saccade.text.settings import damaged, read_settings, write_settings

_MODELS = "source.model", "target.model"
_TABLES = "vocabulary.json", "target_vocabulary.json"
_BLANK = "\u2581"
_CODE = re.compile(r">>(.+)<<")
_SHOWN = 20  # codes that a message lists


class MarianTokenizerConfig(Section):
    """Settings that the table of pieces does not contain; sizes are those of the embedding matrices."""

    source_size: PositiveInt
    """Number of source ids."""
    target_size: PositiveInt
    """Number of target ids."""
    pad: NonNegativeInt
    """Id of padding."""
    start: NonNegativeInt
    """Id that the decoder starts with, usually padding."""
    end: NonNegativeInt
    """Id of the end symbol."""
    unknown: NonNegativeInt
    """Id of pieces that are not in the table."""
    target_language: str | None = None
    """Language of lines that do not begin with a code, for a model with several: "fra" stands for >>fra<<."""


class MarianTokenizer:
    """A tokeniser with a SentencePiece model for each side, and one table of ids for both or one for each.

    A line may begin with a code such as ">>fra<<", which selects the target language of a model with several:
    it is looked up as one piece. languages: those that the model has codes for, without the brackets.
    """

    kind: ClassVar[str] = "marian"

    def __init__(
        self, config: MarianTokenizerConfig, models: Sequence[bytes], tables: Sequence[Mapping[str, int]]
    ) -> None:
        """models: those of source and target; tables: one for both sides, or one for each.

        Raises ValueError or RuntimeError if they are damaged or do not fit the configuration.
        """
        smaller = min(config.source_size, config.target_size)
        check_ids(smaller, {"pad": config.pad, "end": config.end, "unknown": config.unknown})
        check_ids(config.target_size, {"start": config.start})
        self.config, self._models = config, tuple(models)
        self._source_model, self._target_model = (processor(model) for model in models)
        sizes = config.source_size, config.target_size
        sides = [
            Pieces(table, size=size, unknown=config.unknown)
            for table, size in zip((tables[0], tables[-1]), sizes, strict=True)
        ]
        self._source, self._target = sides
        self.source_vocab_size, self.target_vocab_size = sizes
        self.shared = len(tables) == 1
        self.pad, self.unknown, self.start, self.end = config.pad, config.unknown, config.start, config.end
        self.languages = tuple(sorted(match[1] for match in map(_CODE.fullmatch, tables[0]) if match))
        if config.target_language is not None and config.target_language not in self.languages:
            raise no_such_language(config.target_language, self.languages)
        self._tables = tuple(tables)

    def into(self, language: str) -> "MarianTokenizer":
        """A tokeniser of the same model whose lines are for a target language, unless they have a code.

        Raises UserError for a language that the model does not know.
        """
        language = language.removeprefix(">>").removesuffix("<<")
        changed = self.config.model_copy(update={"target_language": language})
        return MarianTokenizer(changed, self._models, self._tables)

    @property
    def undecided(self) -> bool:
        """Whether the model itself chooses a language for lines without a code."""
        return len(self.languages) > 1 and self.config.target_language is None

    @property
    def codes(self) -> str:
        """The codes of the model's languages, as text for messages; some of them if there are many."""
        shown = ", ".join(f">>{name}<<" for name in self.languages[:_SHOWN])
        return f"{shown} and {len(self.languages) - _SHOWN} more" if len(self.languages) > _SHOWN else shown

    def problem(self, line: str) -> str | None:
        """The reason why the code that a line begins with cannot be used, or None."""
        code, _ = _split_code(line)
        if not self.languages or not code or code[0] in self._source.ids:
            return None
        return f"{code[0][:40]} is none of the model's languages; it has {self.codes}."

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; raises UserError if a file is missing or damaged."""
        settings = read_settings(folder)
        try:
            config = MarianTokenizerConfig.model_validate_json(json.dumps(settings.get("config")))
            models = [read_bytes(folder / name) for name in _MODELS]
            names = [name for name in _TABLES if name == _TABLES[0] or (folder / name).is_file()]
            return cls(config, models, [read_table(folder / name) for name in names])
        except (OSError, ValueError, RuntimeError) as error:
            raise damaged(folder, error) from error

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json, source.model, target.model and vocabulary.json to `folder`.

        If each side has its own table, it also writes target_vocabulary.json.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in zip(_MODELS, self._models, strict=True):
            (folder / name).write_bytes(model)
        write_table(folder / _TABLES[0], self._source.ids)
        if not self.shared:
            write_table(folder / _TABLES[1], self._target.ids)
        write_settings(folder, kind=self.kind, config=self.config.model_dump(mode="json", exclude_none=True))

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Source ids of each line, followed by the end symbol."""
        language = self.config.target_language
        before = [] if language is None else [f">>{language}<<"]
        return self._encode(self._source_model, self._source, lines, before)

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Target ids of each line, followed by the end symbol, without a start symbol."""
        return self._encode(self._target_model, self._target, lines, [])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of target ids on one line, without special ids."""
        special = {self.pad, self.end, self.unknown}
        pieces = self._target.names(number for number in ids if int(number) not in special)
        text: str = self._target_model.decode_pieces(pieces)
        return one_line(text.replace(_BLANK, " ").strip())

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of source ids; U+2581 marks a space."""
        return self._source.names(ids)

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of target ids; U+2581 marks a space."""
        return self._target.names(ids)

    def _encode(
        self,
        model: sentencepiece.SentencePieceProcessor,
        pieces: Pieces,
        lines: Sequence[str],
        before: list[str],
    ) -> list[list[int]]:
        """before: the code of lines that have none of their own."""
        lines = require_lines(lines, "lines")
        codes, texts = zip(*map(_split_code, lines), strict=True) if lines else ((), ())
        cuts = cut(model, texts)
        return [
            [*pieces.numbers([*(code or before), *found]), self.end]
            for code, found in zip(codes, cuts, strict=True)
        ]


def _split_code(line: str) -> tuple[list[str], str]:
    """Splits a line into a leading ">>code<<", if it has one, and the rest."""
    if line.startswith(">>") and "<<" in line:
        code, _, rest = line.partition("<<")
        return [f"{code}<<"], rest
    return [], line
