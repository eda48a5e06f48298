"""Tokenisers, which turn strings into piece ids and back.

`Tokenizer` is the interface that the rest of the package uses; `SentencePieceTokenizer` is the tokeniser that
translation models learn.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar, Protocol, Self, cast

import sentencepiece

from saccade.errors import DamagedFile, Unsupported
from saccade.machine import has_room_for_threads
from saccade.storage.structured import read_bytes
from saccade.text.corpus import file_hash
from saccade.text.framed import FrameTokenizer
from saccade.text.labelled import LabelledTokenizer
from saccade.text.lines import require_lines, require_many
from saccade.text.m2m import ManyLanguagesTokenizer
from saccade.text.marian import MarianTokenizer
from saccade.text.positions import InputPositions
from saccade.text.preprocessor import Preprocessor
from saccade.text.settings import SETTINGS_FILE, damaged, read_settings, write_settings
from saccade.text.table import TableFields
from saccade.text.vocabulary import END, PAD, START, UNKNOWN, TokenizerConfig, learn_model, without_surrogates
from saccade.text.wordpiece import WordPieceTokenizer
from saccade.text.words import ByteTokenizer, WordTokenizer

__all__ = [
    "SentencePieceTokenizer",
    "Tokenizer",
    "TokenizerConfig",
    "between",
    "byte_pieces",
    "language_problem",
    "load_preprocessor",
    "load_tokenizer",
    "save_preprocessor",
    "undecided_language",
]

_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_ENCODING_THREADS = 4  # the result does not depend on it


class Tokenizer(Preprocessor, Protocol):
    """The interface of tokenisers. Lengths count pieces, including the end symbol."""

    @property
    def unknown(self) -> int:
        """Id of text that has no piece."""

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Source ids of each line, followed by the end symbol."""

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Target ids of each line, followed by the end symbol, without a start symbol."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of target ids, without special ids and line breaks."""

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of source ids, in readable form."""

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of target ids, in readable form."""


class SentencePieceTokenizer:
    """A SentencePiece tokeniser with pad=0, unknown=1, start=2, end=3 in both vocabularies.

    With `normalization = "identity"` and byte fallback, `decode(encode_target([line])[0])` returns the line
    unchanged, including leading, trailing and repeated spaces, tabs, control characters and any script. There
    are three exceptions: U+2581 (SentencePiece's mark for a space) becomes a space, "\\n" and "\\r" become
    spaces because a translation is one line, and a lone surrogate, which is not a character, becomes U+FFFD.
    Without byte fallback, a character without a piece becomes " \\u2047 ".
    """

    kind: ClassVar[str] = "sentencepiece"

    def __init__(self, config: TokenizerConfig, models: Sequence[bytes]) -> None:
        """models: one serialised SentencePiece model for both sides, or source model and target model.

        Raises ValueError or RuntimeError for an invalid model, or one with other special ids.
        """
        self.config = config
        self._models = tuple(models)
        processors = [_processor(model) for model in models]
        self._source, self._target = processors[0], processors[-1]
        self.source_vocab_size: int = len(self._source)
        self.target_vocab_size: int = len(self._target)
        self.shared: bool = len(processors) == 1
        self.pad, self.unknown, self.start, self.end = PAD, UNKNOWN, START, END

    @classmethod
    def learn(cls, config: TokenizerConfig, source: Iterable[str], target: Iterable[str]) -> Self:
        """Learns the vocabularies from the lines of both sides; each side is read once, as a stream.

        A fixed random sample of a very long text is used, so that memory is bounded and the result depends on
        text and configuration alone. Raises UserError if the text is empty or too short for the vocabulary
        size.
        """
        require_many(source, "source")
        require_many(target, "target")
        if config.joint:
            return cls(config, [learn_model(config, chain(source, target), side="text")])
        return cls(
            config,
            [
                learn_model(config, source, side="source text"),
                learn_model(config, target, side="target text"),
            ],
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; raises UserError if a file is missing or damaged."""
        settings = read_settings(folder)
        try:
            config = TokenizerConfig.model_validate_json(json.dumps(settings.get("config", {})))
            models = [read_bytes(folder / name) for name in _model_names(config.joint)]
            return cls(config, models)
        except (OSError, ValueError, RuntimeError) as error:
            raise damaged(folder, error) from error

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json and tokenizer.model (joint), or source.model and target.model."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in zip(_model_names(self.shared), self._models, strict=True):
            (folder / name).write_bytes(model)
        write_settings(folder, kind=self.kind, config=self.config.model_dump(mode="json"))

    def encode_source(self, lines: Sequence[str], *, sampling_seed: int | None = None) -> list[list[int]]:
        """Source ids of each line, followed by the end symbol.

        With a seed (0 to 2**32 - 2) the segmentation is sampled with `config.sampling`; equal seeds and lines
        give equal segmentations.
        """
        return self._encode(self._source, lines, sampling_seed)

    def encode_target(self, lines: Sequence[str], *, sampling_seed: int | None = None) -> list[list[int]]:
        """Target ids of each line, followed by the end symbol; sampling_seed: see `encode_source`."""
        return self._encode(self._target, lines, sampling_seed)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of target ids without special ids; "\\n" and "\\r" become spaces."""
        text: str = self._target.decode([int(i) for i in ids])
        return text.replace("\n", " ").replace("\r", " ")

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of source ids; U+2581 marks a space."""
        return [self._source.id_to_piece(int(i)) for i in ids]

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of target ids; U+2581 marks a space."""
        return [self._target.id_to_piece(int(i)) for i in ids]

    def _encode(
        self, processor: sentencepiece.SentencePieceProcessor, lines: Sequence[str], seed: int | None
    ) -> list[list[int]]:
        lines = [without_surrogates(line) for line in require_lines(lines, "lines")]
        if seed is None or self.config.sampling == 0.0:
            if len(lines) == 1:  # without starting threads
                return [processor.encode(lines[0], out_type=int, add_eos=True)]
            threads = _ENCODING_THREADS if has_room_for_threads(_ENCODING_THREADS) else 1
            ids: list[list[int]] = processor.encode(lines, out_type=int, add_eos=True, num_threads=threads)
            return ids
        return _encode_sampled(processor, lines, alpha=self.config.sampling, seed=seed)


PREPROCESSORS: dict[str, Callable[[Path], Preprocessor]] = {
    SentencePieceTokenizer.kind: SentencePieceTokenizer.load,
    MarianTokenizer.kind: MarianTokenizer.load,
    ManyLanguagesTokenizer.kind: ManyLanguagesTokenizer.load,
    WordTokenizer.kind: WordTokenizer.load,
    ByteTokenizer.kind: ByteTokenizer.load,
    WordPieceTokenizer.kind: WordPieceTokenizer.load,
    FrameTokenizer.kind: FrameTokenizer.load,
    TableFields.kind: TableFields.load,
    InputPositions.kind: InputPositions.load,
}
"""The function that loads each kind of preprocessor, of which most are tokenisers."""
PREPROCESSORS[LabelledTokenizer.kind] = partial(LabelledTokenizer.load, kinds=dict(PREPROCESSORS))


def save_preprocessor(preprocessor: Preprocessor, folder: Path) -> dict[str, str]:
    """Saves a preprocessor to an existing folder; returns the SHA-256 of each of its files by name."""
    before = set(folder.iterdir())
    preprocessor.save(folder)
    return {path.name: file_hash(path) for path in sorted(set(folder.iterdir()) - before)}


def load_preprocessor(folder: Path, *, digests: Mapping[str, str] | None = None) -> Preprocessor:
    """Loads the preprocessor in `folder`.

    Raises UserError if it is missing or damaged, or if a file differs from the digests that
    `save_preprocessor` returned.
    """
    kind = read_settings(folder).get("kind")
    if not isinstance(kind, str) or kind not in PREPROCESSORS:
        raise DamagedFile(
            f"{folder / SETTINGS_FILE}: unknown kind of tokeniser {kind!r}; a newer Saccade may read it."
        )
    preprocessor = PREPROCESSORS[kind](folder)
    for name, digest in (digests or {}).items():
        if file_hash(folder / name) != digest:
            raise DamagedFile(
                f"{folder / name}: not the file that the model was saved with, so its ids may mean other "
                "pieces. Copy the whole model folder again."
            )
    return preprocessor


def load_tokenizer(folder: Path, *, digests: Mapping[str, str] | None = None) -> Tokenizer:
    """Loads the tokeniser of a family that reads or writes text; see `load_preprocessor`."""
    return cast(Tokenizer, load_preprocessor(folder, digests=digests))


def between(tokenizer: Tokenizer, source: str | None, target: str | None) -> Tokenizer:
    """The tokeniser of the same model for other languages; None leaves one unchanged.

    Raises UserError for a language that the model does not know, or if it has no languages to choose from.
    """
    if source is None and target is None:
        return tokenizer
    if isinstance(tokenizer, ManyLanguagesTokenizer):
        return tokenizer.between(source, target)
    if isinstance(tokenizer, MarianTokenizer) and tokenizer.languages:
        if source is not None:
            raise Unsupported("this model has no source languages to choose from, only target languages.")
        return tokenizer if target is None else tokenizer.into(target)
    raise Unsupported("this model has no languages to choose from: it translates what it was trained on.")


def language_problem(tokenizer: Tokenizer, line: str) -> str | None:
    """The reason why the language that a line itself names cannot be used, or None."""
    return tokenizer.problem(line) if isinstance(tokenizer, MarianTokenizer) else None


def undecided_language(tokenizer: Tokenizer) -> str | None:
    """What happens to lines that do not name the language they need, or None if they need not."""
    if not isinstance(tokenizer, MarianTokenizer) or not tokenizer.undecided:
        return None
    return (
        f"this model has {len(tokenizer.languages)} target languages: lines that do not begin with one of "
        f"{tokenizer.codes} are translated into whichever one it chooses."
    )


def same_pieces(first: Tokenizer, second: Tokenizer) -> bool:
    """Whether the ids of both tokenisers mean the same pieces, on both sides."""
    sides = [
        (one.source_pieces(range(one.source_vocab_size)), one.target_pieces(range(one.target_vocab_size)))
        for one in (first, second)
    ]
    return sides[0] == sides[1]


def byte_pieces(pieces: Sequence[str]) -> list[bool]:
    """For each piece, whether it stands for a byte of a character without a piece of its own."""
    require_many(pieces, "pieces")
    return [_BYTE_PIECE.fullmatch(piece) is not None for piece in pieces]


def _processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    if not model:  # SentencePiece would take it
        raise ValueError("an empty model file")
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    special = processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id()
    if special != (PAD, UNKNOWN, START, END):
        raise ValueError(f"the model's special ids are {special} instead of {(PAD, UNKNOWN, START, END)}")
    return processor


def _model_names(joint: bool) -> tuple[str, ...]:
    return ("tokenizer.model",) if joint else ("source.model", "target.model")


def _encode_sampled(
    processor: sentencepiece.SentencePieceProcessor, lines: list[str], *, alpha: float, seed: int
) -> list[list[int]]:
    def work() -> list[list[int]]:
        sentencepiece.set_random_generator_seed(seed)
        ids: list[list[int]] = processor.encode(
            lines, out_type=int, add_eos=True, enable_sampling=True, nbest_size=-1, alpha=alpha, num_threads=1
        )
        return ids

    # SentencePiece keeps one generator per thread, seeded when the thread first uses it. A new thread with a
    # single worker therefore makes the segmentation a function of the seed.
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(work).result()
