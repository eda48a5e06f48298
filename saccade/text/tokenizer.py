"""Strings to piece ids and back.

`Tokenizer` is the protocol that the rest of the package uses; `SentencePieceTokenizer` is the one that
is learned here. Readers of other programs' models bring their own (see `saccade.interop`).
"""

import io
import json
import re
import threading
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import sentencepiece
from pydantic import Field, ValidationError

from saccade.config import Section
from saccade.errors import UserError
from saccade.text.sample import LEARNING_LINES, character_counts, coverage_of, sample_lines

PAD, UNKNOWN, START, END = 0, 1, 2, 3
DEFAULT_VOCAB_SIZE = 8000
SETTINGS_FILE = "tokenizer.json"

_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_ENCODING_THREADS = 4  # the result does not depend on it
_LEARNING_THREADS = 16  # fixed: the sums of unigram learning depend on it in the last digit
_LONGEST_LINE = 16_384  # bytes; longer lines are not learned from


class TokenizerConfig(Section):
    """How text is cut into pieces, section `[tokenizer]`."""

    vocab_size: int | None = Field(default=None, ge=8)
    """Pieces in a vocabulary, the four special ones included; without it 8,000, or as many as the text supports."""
    model: Literal["bpe", "unigram"] = "bpe"
    """Byte-pair encoding (Sennrich et al. 2016) or a unigram language model (Kudo 2018)."""
    joint: bool = True
    """One vocabulary for both sides, so that embeddings can be shared; false: one for each side."""
    byte_fallback: bool = True
    """Spell characters outside the vocabulary as UTF-8 bytes instead of as the unknown piece; takes 256 pieces."""
    sampling: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Sampled segmentation of the training text, another one each epoch; 0: off. With `bpe` the probability
    of leaving out a merge (BPE-dropout, Provilkov et al. 2020: 0.1), with `unigram` the smoothing exponent (Kudo 2018: 0.2)."""
    normalization: Literal["identity", "nfkc", "nfkc_cf", "nmt_nfkc", "nmt_nfkc_cf"] = "identity"
    """Change of the text before it is cut. `identity` changes nothing; the others apply Unicode NFKC (`nmt_`: and
    simplify white space and control characters; `_cf`: and fold case), join runs of blanks and trim both ends."""
    character_coverage: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of the text whose characters get a piece of their own, the most frequent ones first; 0.9995 is usual for
    Chinese and Japanese. Without it: all characters as long as they fill at most half of the vocabulary."""


@runtime_checkable
class Tokenizer(Protocol):
    """What the rest of the package needs of a tokeniser. Lengths count pieces, the end symbol included."""

    @property
    def source_vocab_size(self) -> int:
        """Number of source ids: 0 to this number - 1."""

    @property
    def target_vocab_size(self) -> int:
        """Number of target ids."""

    @property
    def pad(self) -> int:
        """Id that fills up rows, the same on both sides."""

    @property
    def start(self) -> int:
        """Target id that the decoder starts with."""

    @property
    def end(self) -> int:
        """Id at the end of a sentence, the same on both sides."""

    @property
    def unknown(self) -> int:
        """Id of text that has no piece."""

    @property
    def shared(self) -> bool:
        """True when source ids and target ids mean the same pieces."""

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Source ids of each line, the end symbol appended."""

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Target ids of each line, the end symbol appended, no start symbol."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of target ids: special ids are left out, the result never holds a line end."""

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces behind source ids, for people to look at."""

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces behind target ids, for people to look at."""

    def save(self, folder: Path) -> None:
        """Write everything that `load_tokenizer(folder)` needs."""


class SentencePieceTokenizer:
    """SentencePiece with pad=0, unknown=1, start=2, end=3 in both vocabularies.

    With `normalization = "identity"` and byte fallback `decode(encode_target([line])[0])` gives the line
    back: blanks at either end, runs of blanks, tabs, control characters, any script. Three exceptions:
    U+2581 (the mark SentencePiece puts for a blank) comes back as a blank, "\\n" and "\\r" come back as
    blanks because a translation is one line, and a lone surrogate, which is no character, as U+FFFD.
    Without byte fallback a character that has no piece comes back as " \\u2047 ".
    """

    kind: ClassVar[str] = "sentencepiece"

    def __init__(self, config: TokenizerConfig, models: Sequence[bytes]) -> None:
        """`models`: one serialised SentencePiece model for both sides, or source model and target model."""
        self.config = config
        self._models = tuple(models)
        processors = [sentencepiece.SentencePieceProcessor(model_proto=model) for model in models]
        self._source, self._target = processors[0], processors[-1]
        self.source_vocab_size: int = len(self._source)
        self.target_vocab_size: int = len(self._target)
        self.shared: bool = len(processors) == 1
        self.pad, self.unknown, self.start, self.end = PAD, UNKNOWN, START, END

    @classmethod
    def learn(cls, config: TokenizerConfig, source: Iterable[str], target: Iterable[str]) -> Self:
        """Learn the vocabularies from the lines of both sides; each side is read once, as a stream.

        Of a very long text a fixed random sample is used, so memory stays bounded and the result depends
        on text and configuration alone. Raises UserError when the text is empty or does not support the
        vocabulary asked for.
        """
        if config.joint:
            return cls(config, [_learn_model(config, chain(source, target), side="text")])
        return cls(
            config,
            [
                _learn_model(config, source, side="source text"),
                _learn_model(config, target, side="target text"),
            ],
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises UserError when a file is missing or damaged."""
        settings = _read_settings(folder)
        try:
            config = TokenizerConfig.model_validate_json(json.dumps(settings.get("config", {})))
            models = [(folder / name).read_bytes() for name in _model_names(config.joint)]
            if not all(models):
                raise UserError(f"{folder}: the tokeniser is damaged: an empty model file.")
            return cls(config, models)
        except (OSError, RuntimeError, ValidationError) as error:
            raise UserError(f"{folder}: the tokeniser is missing or damaged: {_first_line(error)}") from error

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer.model (joint) or source.model and target.model into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in zip(_model_names(self.shared), self._models, strict=True):
            (folder / name).write_bytes(model)
        settings = {"kind": self.kind, "config": self.config.model_dump(mode="json")}
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def encode_source(self, lines: Sequence[str], *, sampling_seed: int | None = None) -> list[list[int]]:
        """Source ids of each line, the end symbol appended.

        With a seed (0 to 2**32 - 2) the segmentation is sampled at `config.sampling`, the same for the
        same seed and lines.
        """
        return self._encode(self._source, lines, sampling_seed)

    def encode_target(self, lines: Sequence[str], *, sampling_seed: int | None = None) -> list[list[int]]:
        """Target ids of each line, the end symbol appended, no start symbol; `sampling_seed` as above."""
        return self._encode(self._target, lines, sampling_seed)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of target ids on one line: special ids are left out, "\\n" and "\\r" become blanks."""
        text: str = self._target.decode([int(i) for i in ids])
        return text.replace("\n", " ").replace("\r", " ")

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces behind source ids; U+2581 marks a blank."""
        return [self._source.id_to_piece(int(i)) for i in ids]

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces behind target ids; U+2581 marks a blank."""
        return [self._target.id_to_piece(int(i)) for i in ids]

    def _encode(
        self, processor: sentencepiece.SentencePieceProcessor, lines: Sequence[str], seed: int | None
    ) -> list[list[int]]:
        lines = [_without_surrogates(line) for line in lines]
        if seed is None or self.config.sampling == 0.0:
            ids: list[list[int]] = processor.encode(
                lines, out_type=int, add_eos=True, num_threads=_ENCODING_THREADS
            )
            return ids
        return _encode_sampled(processor, lines, alpha=self.config.sampling, seed=seed)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokeniser stored in `folder`; raises UserError when there is none or it is damaged."""
    kind = _read_settings(folder).get("kind")
    if kind != SentencePieceTokenizer.kind:
        raise UserError(f"{folder / SETTINGS_FILE}: unknown kind of tokeniser {kind!r}; a newer saccade may read it.")
    return SentencePieceTokenizer.load(folder)


def byte_pieces(pieces: Sequence[str]) -> list[bool]:
    """For each piece whether it stands for one byte of a character that has no piece of its own."""
    return [_BYTE_PIECE.fullmatch(piece) is not None for piece in pieces]


def _read_settings(folder: Path) -> dict[str, object]:
    path = folder / SETTINGS_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: not found, so {folder} holds no tokeniser.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the tokeniser is damaged: {_first_line(error)}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: the tokeniser is damaged: not a JSON object.")
    return settings


def _model_names(joint: bool) -> tuple[str, ...]:
    return ("tokenizer.model",) if joint else ("source.model", "target.model")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _without_surrogates(line: str) -> str:
    """The line with each lone surrogate (no character, SentencePiece refuses it) as U+FFFD."""
    if line.isascii():  # O(1), and most lines
        return line
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", line)
    return line


def _encode_sampled(
    processor: sentencepiece.SentencePieceProcessor, lines: list[str], *, alpha: float, seed: int
) -> list[list[int]]:
    # SentencePiece keeps one generator per thread, seeded when the thread first uses it: a fresh thread
    # and a single worker make the segmentation a function of the seed.
    result: list[list[int]] = []

    def work() -> None:
        sentencepiece.set_random_generator_seed(seed)
        result.extend(
            processor.encode(
                lines, out_type=int, add_eos=True, enable_sampling=True, nbest_size=-1, alpha=alpha, num_threads=1
            )
        )

    thread = threading.Thread(target=work, name="sampled segmentation")
    thread.start()
    thread.join()
    return result


def _learn_model(config: TokenizerConfig, lines: Iterable[str], *, side: str) -> bytes:
    sample = [_without_surrogates(line) for line in sample_lines(lines, limit=LEARNING_LINES)]
    counts = character_counts(sample)
    if not counts.size:
        raise UserError(f"the tokeniser cannot be learned: the {side} is empty.")
    vocab_size = config.vocab_size or DEFAULT_VOCAB_SIZE
    reserved = 4 + (256 if config.byte_fallback else 0)
    coverage = config.character_coverage or coverage_of(counts, at_most=max(1, (vocab_size - reserved) // 2))
    _check_room_for_characters(config, counts, coverage=coverage, reserved=reserved, vocab_size=vocab_size)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample),
            model_writer=model,
            model_type=config.model,
            vocab_size=vocab_size,
            hard_vocab_limit=False,  # a short text gives fewer pieces: whether that will do is decided below
            character_coverage=coverage,
            byte_fallback=config.byte_fallback,
            normalization_rule_name=config.normalization,
            remove_extra_whitespaces=config.normalization != "identity",
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=START,
            eos_id=END,
            max_sentence_length=_LONGEST_LINE,
            num_threads=_LEARNING_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(f"sentencepiece could not learn from the {side}: {_first_line(error)}") from error
    learned = len(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()))
    if config.vocab_size is not None and learned < config.vocab_size:
        raise UserError(
            f"tokenizer.vocab_size = {config.vocab_size}: the {side} supports at most {learned} pieces. "
            f"Set it to {learned} or less, or leave it out."
        )
    return model.getvalue()


def _check_room_for_characters(
    config: TokenizerConfig,
    counts: np.ndarray[tuple[int], np.dtype[np.int64]],
    *,
    coverage: float,
    reserved: int,
    vocab_size: int,
) -> None:
    characters = int(np.searchsorted(np.cumsum(counts), coverage * counts.sum())) + 1
    characters = min(characters, counts.size)
    if reserved + characters <= vocab_size:
        return
    advice = "" if config.character_coverage is None else " or lower tokenizer.character_coverage"
    raise UserError(
        f"tokenizer.vocab_size = {vocab_size} is too small: {reserved} special and byte pieces and {characters} "
        f"characters need {reserved + characters}. Raise it{advice}."
    )
