"""Preparation of the text of language models: settings, tokeniser, ids on disk and a report.

The folder that `prepare_text` writes holds tokenizer/, train/ and valid/ (token caches) and report.json,
which is written last: without it the folder is incomplete.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, TypeAdapter, model_validator

from saccade.config import Section
from saccade.errors import ConfigError, DamagedFile, InputError
from saccade.storage.files import write_text
from saccade.storage.structured import SMALL, read_json
from saccade.text.cache import Ids, open_verified
from saccade.text.cache_writer import write_cache
from saccade.text.columns import Column
from saccade.text.corpus import Paths, file_hash
from saccade.text.encode import CHUNK, chunks
from saccade.text.lines import require_many
from saccade.text.opening import require_files
from saccade.text.prepare import writing
from saccade.text.reading import text_lines
from saccade.text.repeats import LineRepeatFinder, LineRepeats
from saccade.text.tokenizer import SentencePieceTokenizer, Tokenizer, TokenizerConfig, load_tokenizer
from saccade.text.words import ByteTokenizer, WordTokenizer

COLUMN = "text"
"""Name of the only column: the ids of a line and an end symbol."""


class TextConfig(Section):
    """Settings of the text of a language model. Each setting is a path or a list of paths.

    The whole text is used in order, including empty lines. Every line end is a token.
    """

    text: Paths = ()
    """Training text: UTF-8, plain or compressed (gzip, xz, bzip2, Zstandard); several files are read as one
    text."""
    valid_text: Paths = ()
    """Validation text; unset: the last model counts as the best."""


class TextTokenizerConfig(Section):
    """Settings of a language model's tokeniser."""

    model: Literal["bpe", "unigram", "word", "byte"] = "bpe"
    """Kind of pieces: sub-words as in translation models (bpe, unigram), words between white space (word), or
    UTF-8 bytes (byte)."""
    vocab_size: int | None = Field(default=None, ge=8)
    """Number of pieces in the vocabulary, including four special ones. Unset: 8,000 sub-words or as many as
    the text supports, or all words."""
    byte_fallback: bool = True
    """Whether characters outside the vocabulary are spelled as bytes instead of as the unknown piece
    (sub-words)."""
    normalization: Literal["identity", "nfkc", "nfkc_cf", "nmt_nfkc", "nmt_nfkc_cf"] = "identity"
    """Normalisation of the text before it is split (sub-words), as in translation models."""
    character_coverage: float | None = Field(default=None, ge=0.98, le=1.0)
    """Share of the text whose characters get a piece of their own (sub-words), as in translation models."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.model in ("word", "byte"):
            plain = type(self)()
            names = ("byte_fallback", "normalization", "character_coverage")
            if changed := [name for name in names if getattr(self, name) != getattr(plain, name)]:
                raise ValueError(
                    f"{', '.join(changed)}: only for sub-words, and model is {self.model}; leave it out"
                )
        if self.model == "byte" and self.vocab_size is not None:
            raise ValueError("vocab_size: with bytes it is always 256 and four special pieces; leave it out")
        return self


@dataclass(frozen=True)
class TextSize:
    """The size of a text. A line end counts as a token, as a word and as a character.

    unknown: number of tokens for words or characters outside the vocabulary.
    """

    lines: int
    words: int
    characters: int
    tokens: int
    unknown: int


@dataclass(frozen=True)
class TextReport:
    """The report on a prepared text. files: SHA-256 of each file, by path."""

    train: TextSize
    valid: TextSize | None
    vocab_size: int
    files: dict[str, str]
    repeats: LineRepeats = LineRepeats()  # noqa: RUF009

    @property
    def source_vocab_size(self) -> int:
        """The size of the only vocabulary, under the name in reports on sentence pairs."""
        return self.vocab_size

    @property
    def target_vocab_size(self) -> int:
        """The size of the only vocabulary, under the name in reports on sentence pairs."""
        return self.vocab_size

    @property
    def shared_vocabulary(self) -> bool:
        """Always true, because there is only one vocabulary."""
        return True

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a report from its file; raises OSError or ValueError."""
        return TypeAdapter(cls).validate_python(read_json(path, limit=SMALL))

    def summary(self) -> list[str]:
        """Human-readable summary lines."""
        texts = {"training": self.train, "validation": self.valid}
        return [
            *(_size_line(name, size) for name, size in texts.items() if size is not None),
            *_repeat_lines(self.repeats),
            f"vocabulary: {self.vocab_size:,} pieces",
        ]


class PreparedText(NamedTuple):
    """Prepared text: the ids of all lines one after another, each with its end symbol, on disk."""

    tokenizer: Tokenizer
    train: Ids
    valid: Ids | None
    report: TextReport


def prepare_text(
    config: TextConfig,
    tokenizer_config: TextTokenizerConfig,
    *,
    out: Path,
    tokenizer: Tokenizer | None = None,
) -> PreparedText:
    """Reads the text, learns the vocabulary (unless a tokeniser is given) and writes everything to `out`.

    Raises UserError if a file cannot be used.
    """
    if not config.text:
        raise ConfigError("no training text: set data.text.")
    require_files((*config.text, *config.valid_text))
    files = {str(path): file_hash(path) for path in (*config.text, *config.valid_text)}
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
        if tokenizer is None:
            tokenizer = learn_pieces(tokenizer_config, _lines(config.text))
        tokenizer.save(out / "tokenizer")
        finder, valid = LineRepeatFinder(), None
        if config.valid_text:
            valid = _write(out / "valid", config.valid_text, tokenizer, look=finder.look_at_valid)
        train = _write(out / "train", config.text, tokenizer, look=finder.look_at)
        report = TextReport(train, valid, tokenizer.target_vocab_size, files, finder.report())
        text = json.dumps(asdict(report), indent=2, ensure_ascii=False)
        write_text(out / "report.json", f"{text}\n")
    return open_prepared_text(out)


def open_prepared_text(out: Path) -> PreparedText:
    """Opens what `prepare_text` wrote to `out`; raises UserError if it is incomplete or damaged."""
    try:
        report = TextReport.read(out / "report.json")
    except (OSError, ValueError) as error:
        raise DamagedFile(
            f"{out}: no prepared text, or it is incomplete or damaged; prepare it again."
        ) from error
    tokenizer = load_tokenizer(out / "tokenizer")
    valid = _ids(out / "valid", tokenizer) if report.valid is not None else None
    return PreparedText(tokenizer, _ids(out / "train", tokenizer), valid, report)


def text_size(lines: Iterable[str], tokenizer: Tokenizer) -> TextSize:
    """The size of a text given as lines."""
    require_many(lines, "lines")
    return _sum(_size(chunk, tokenizer.encode_target(chunk), tokenizer) for chunk in chunks(lines, CHUNK))


def learn_pieces(config: TextTokenizerConfig, lines: Iterator[str]) -> Tokenizer:
    """The tokeniser that the settings describe, learned from lines; raises UserError if that fails."""
    match config.model:
        case "word":
            return WordTokenizer.learn(lines, vocab_size=config.vocab_size)
        case "byte":
            return ByteTokenizer()
        case _:
            return SentencePieceTokenizer.learn(TokenizerConfig(**config.model_dump()), lines, ())


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    return chain.from_iterable(text_lines(path) for path in paths)


def _write(
    folder: Path, paths: tuple[Path, ...], tokenizer: Tokenizer, *, look: Callable[[list[str]], None]
) -> TextSize:
    sizes = []
    column = Column.ids(COLUMN, vocab_size=tokenizer.target_vocab_size, pad=tokenizer.pad)
    with write_cache(folder, [column]) as writer:
        for chunk in chunks(_lines(paths), CHUNK):
            ids = tokenizer.encode_target(chunk)
            writer.add({COLUMN: ids})
            sizes.append(_size(chunk, ids, tokenizer))
            look(chunk)
        if not sizes:
            names = ", ".join(map(str, paths))
            raise InputError(f"{names}: empty; there is nothing to read.")
    return _sum(sizes)


def _ids(folder: Path, tokenizer: Tokenizer) -> Ids:
    return open_verified(folder, {COLUMN: tokenizer.target_vocab_size})[COLUMN].values


def _size(lines: list[str], ids: list[list[int]], tokenizer: Tokenizer) -> TextSize:
    return TextSize(
        lines=len(lines),
        words=sum(len(line.split()) + 1 for line in lines),
        characters=sum(len(line) + 1 for line in lines),
        tokens=sum(map(len, ids)),
        unknown=sum(line.count(tokenizer.unknown) for line in ids),
    )


def _sum(sizes: Iterable[TextSize]) -> TextSize:
    total = [0, 0, 0, 0, 0]
    for size in sizes:
        counts = (size.lines, size.words, size.characters, size.tokens, size.unknown)
        total = [one + other for one, other in zip(total, counts, strict=True)]
    return TextSize(*total)


def _size_line(name: str, size: TextSize) -> str:
    share = size.unknown / max(size.tokens, 1)
    return (
        f"{name}: {size.lines:,} lines, {size.words:,} words, {size.characters:,} characters, "
        f"{size.tokens:,} tokens, including line ends; unknown {share:.2%}"
    )


def _repeat_lines(found: LineRepeats) -> list[str]:
    lines = []
    if found.repeated:
        about = "" if found.exact else "about "
        lines.append(f"repeated lines: {about}{found.repeated:,} of {found.lines:,} long ones")
    if found.valid_found:
        lines.append(
            f"validation lines in the training text: {found.valid_found:,} of {found.valid_lines:,} long ones"
        )
    return lines
