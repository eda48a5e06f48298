"""The tokeniser of M2M-100 and NLLB: one set of pieces for all languages, and a token for each language.

The ids are those of transformers' M2M100Tokenizer and NllbTokenizer, except that text that spells a special
token is treated as text.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from pydantic import NonNegativeInt, PositiveInt

from saccade.config import Section
from saccade.distribution import missing
from saccade.errors import InputError
from saccade.storage.structured import read_bytes, read_utf8
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
from saccade.text.vocabulary import without_surrogates

_MODEL, _TABLE, _TOKENIZERS = "tokenizer.model", "vocabulary.json", "tokenizers.json"


class ManyLanguagesConfig(Section):
    """Settings that the files of the pieces do not contain. size: rows of the model's embedding matrix."""

    size: PositiveInt
    """Number of ids, the same on both sides."""
    pad: NonNegativeInt
    """Id of padding."""
    start: NonNegativeInt
    """Id that the decoder starts with; the target language follows."""
    end: NonNegativeInt
    """Id of the end symbol."""
    unknown: NonNegativeInt
    """Id of text that has no piece."""
    languages: dict[str, NonNegativeInt]
    """Id of the token of each language, by name."""
    source_language: str | None = None
    """Default source language."""
    target_language: str | None = None
    """Default target language."""
    source_token: Literal["first", "last"] = "first"
    """Place of the source language's token: before the text, or behind the end symbol."""


class Engine(Protocol):
    """The interface that turns text into ids and back, without special tokens."""

    largest: int
    """The largest id that it has."""

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """The ids of the pieces of each line."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids."""
        ...

    def names(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id, in readable form."""
        ...

    def save(self, folder: Path) -> None:
        """Writes the files that loading needs to this folder."""
        ...


class SentencePieces:
    """A SentencePiece model that splits text, and a table of the ids of its pieces. Satisfies `Engine`."""

    def __init__(self, model: bytes, table: Mapping[str, int], *, size: int, unknown: int) -> None:
        self._model, self._processor = model, processor(model)
        self._pieces = Pieces(table, size=size, unknown=unknown)
        self.largest = max(table.values())

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """See `Engine.encode`."""
        return [self._pieces.numbers(found) for found in cut(self._processor, lines)]

    def decode(self, ids: Sequence[int]) -> str:
        """See `Engine.decode`."""
        text: str = self._processor.decode_pieces(self._pieces.names(ids))
        return text.strip()

    def names(self, ids: Sequence[int]) -> list[str]:
        """See `Engine.names`."""
        return self._pieces.names(ids)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.model and vocabulary.json."""
        (folder / _MODEL).write_bytes(self._model)
        write_table(folder / _TABLE, self._pieces.ids)


class FastPieces:
    """A tokenizer.json of the `tokenizers` package, which must be installed. Satisfies `Engine`."""

    def __init__(self, text: str) -> None:
        """Raises ValueError if `text` is not a valid tokenizer.json."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise missing("this model's tokeniser needs the tokenizers package", "tokenizers") from error
        try:
            self._tokenizer: Any = Tokenizer.from_str(text)
        except Exception as error:  # the package raises plain Exception
            raise ValueError(str(error)) from error
        self._tokenizer.encode_special_tokens = True  # text that spells a special token is treated as text
        self._text = text
        self.table: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.largest = max(self.table.values(), default=0)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """See `Engine.encode`."""
        texts = [without_surrogates(line) for line in require_lines(lines, "lines")]
        return [found.ids for found in self._tokenizer.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """See `Engine.decode`."""
        text: str = self._tokenizer.decode([int(number) for number in ids], skip_special_tokens=True)
        return text.strip()

    def names(self, ids: Sequence[int]) -> list[str]:
        """See `Engine.names`."""
        return [self._tokenizer.id_to_token(int(number)) or "" for number in ids]

    def save(self, folder: Path) -> None:
        """Writes tokenizers.json."""
        (folder / _TOKENIZERS).write_text(self._text, encoding="utf-8")


class ManyLanguagesTokenizer:
    """A tokeniser whose sequences are the token of their language, the pieces and the end symbol.

    Translations are forced to begin with the token of the target language.
    """

    kind: ClassVar[str] = "many-languages"
    shared = True

    def __init__(self, config: ManyLanguagesConfig, engine: Engine) -> None:
        """Raises ValueError for an id that is not below `config.size`."""
        special = {"pad": config.pad, "start": config.start, "end": config.end, "unknown": config.unknown}
        check_ids(config.size, {**config.languages, **special, "the largest id": engine.largest})
        self.config, self._engine = config, engine
        self.source_vocab_size = self.target_vocab_size = config.size
        self.pad, self.unknown, self.start, self.end = config.pad, config.unknown, config.start, config.end
        self._special = {self.pad, self.unknown, self.start, self.end, *config.languages.values()}
        for name in (config.source_language, config.target_language):
            if name is not None and name not in config.languages:
                raise no_such_language(name, config.languages)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; raises UserError if a file is missing or damaged."""
        settings = read_settings(folder)
        try:
            config = ManyLanguagesConfig.model_validate_json(json.dumps(settings.get("config")))
            if (folder / _TOKENIZERS).is_file():
                return cls(config, FastPieces(read_utf8(folder / _TOKENIZERS)))
            model, table = read_bytes(folder / _MODEL), read_table(folder / _TABLE)
            return cls(config, SentencePieces(model, table, size=config.size, unknown=config.unknown))
        except (OSError, ValueError, RuntimeError) as error:
            raise damaged(folder, error) from error

    def between(self, source: str | None, target: str | None) -> "ManyLanguagesTokenizer":
        """A tokeniser for other languages; None leaves one unchanged. Raises UserError for an unknown one."""
        changes = {"source_language": source, "target_language": target}
        update = {name: value for name, value in changes.items() if value is not None}
        return ManyLanguagesTokenizer(self.config.model_copy(update=update), self._engine)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json, and tokenizer.model with vocabulary.json, or tokenizers.json."""
        folder.mkdir(parents=True, exist_ok=True)
        self._engine.save(folder)
        write_settings(folder, kind=self.kind, config=self.config.model_dump(mode="json", exclude_none=True))

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Source ids of each line, with the end symbol and the token of the source language."""
        language = self._language("source", self.config.source_language)
        before, after = [language], [self.end]
        if self.config.source_token == "last":
            before, after = [], [self.end, language]
        return [[*before, *found, *after] for found in self._engine.encode(lines)]

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Target ids of each line: the token of the target language, the pieces and the end symbol."""
        language = self._language("target", self.config.target_language)
        return [[language, *found, self.end] for found in self._engine.encode(lines)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of target ids on one line, without special ids and languages."""
        return one_line(
            self._engine.decode([int(number) for number in ids if int(number) not in self._special])
        )

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of source ids; U+2581 marks a space."""
        languages = {number: name for name, number in self.config.languages.items()}
        names = self._engine.names(ids)
        return [languages.get(int(number), name) for number, name in zip(ids, names, strict=True)]

    target_pieces = source_pieces

    def _language(self, side: str, name: str | None) -> int:
        if name is None:
            raise InputError(
                f"this model knows {len(self.config.languages)} languages: name the {side} language, "
                f"for example {', '.join(sorted(self.config.languages)[:3])}.",
                topic="language",
                side=side,
            )
        return self.config.languages[name]
