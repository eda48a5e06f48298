"""Learning a vocabulary: its settings, a bounded sample of the lines, and SentencePiece's trainer."""

import io
import random
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from pydantic import Field

from saccade.config import Section
from saccade.errors import ConfigError, InputError
from saccade.machine import has_room_for_threads
from saccade.text.lines import require_many

PAD, UNKNOWN, START, END = 0, 1, 2, 3
DEFAULT_VOCAB_SIZE = 8000

_SAMPLE = 1_000_000  # maximum number of lines to learn from; the trainer holds them in memory
_SAMPLE_SEED = 20240117
_THREADS = 16  # fixed, because the last digits of sums in unigram learning depend on it
_LEAST_COVERAGE = 0.98  # the trainer's minimum
_LONGEST_LINE = 16_384  # bytes; longer lines are ignored


class TokenizerConfig(Section):
    """Settings of the tokeniser, section `[tokenizer]`."""

    vocab_size: int | None = Field(default=None, ge=8)
    """Number of pieces in a vocabulary, including four special ones. Unset: 8,000, or as many as the text
    supports."""
    model: Literal["bpe", "unigram"] = "bpe"
    """Kind of sub-words: byte-pair encoding (Sennrich et al. 2016) or a unigram model (Kudo 2018)."""
    joint: bool = True
    """Whether both sides have one vocabulary, so that embeddings can be shared; false: one for each side."""
    byte_fallback: bool = True
    """Whether characters outside the vocabulary are spelled as UTF-8 bytes, which takes 256 pieces, instead
    of as the unknown piece."""
    sampling: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Strength of sampled segmentation, which splits the training text differently in each epoch; 0: off.
    With `bpe`, probability of skipping a merge (BPE-dropout, Provilkov et al. 2020: 0.1); with `unigram`,
    smoothing exponent (Kudo 2018: 0.2)."""
    normalization: Literal["identity", "nfkc", "nfkc_cf", "nmt_nfkc", "nmt_nfkc_cf"] = "identity"
    """Normalisation of the text before it is split. `identity` changes nothing. The others apply Unicode NFKC
    (with `nmt_` also to control characters and white space, with `_cf` with case folding), merge repeated
    spaces and trim both ends."""
    character_coverage: float | None = Field(default=None, ge=0.98, le=1.0)
    """Share of the text whose characters get a piece of their own, the most frequent ones first; 0.9995 is
    usual for Chinese and Japanese. Unset: all characters, or as many as fill half of the vocabulary, but at
    least 98% of the text."""


def learn_model(config: TokenizerConfig, lines: Iterable[str], *, side: str) -> bytes:
    """Learns a SentencePiece model from the lines, which are read once, as a stream; returns it serialised.

    side: name of the lines in messages. Raises UserError if they are empty or too few for the vocabulary.
    """
    sample = [without_surrogates(line) for line in sample_lines(lines, limit=_SAMPLE)]
    counts = character_counts(sample)
    if not counts.size:
        raise InputError(f"the tokeniser cannot be learned: the {side} is empty.")
    vocab_size = config.vocab_size or DEFAULT_VOCAB_SIZE
    reserved = 4 + (256 if config.byte_fallback else 0)
    automatic = coverage_of(counts, at_most=max(1, (vocab_size - reserved) // 2))
    coverage = config.character_coverage or max(_LEAST_COVERAGE, automatic)
    characters = characters_within(counts, coverage)
    if reserved + characters > vocab_size:
        advice = "." if config.character_coverage is None else ", or lower tokenizer.character_coverage."
        raise ConfigError(
            f"tokenizer.vocab_size = {vocab_size} is too small: {reserved} special and byte pieces and "
            f"{characters} characters of the {side} need {reserved + characters}. Raise it{advice}"
        )
    model = _train(config, sample, side=side, vocab_size=vocab_size, coverage=coverage)
    learned = len(sentencepiece.SentencePieceProcessor(model_proto=model))
    if config.vocab_size is not None and learned < config.vocab_size:
        raise ConfigError(
            f"tokenizer.vocab_size = {config.vocab_size}: the {side} supports at most {learned} pieces. "
            f"Set it to {learned} or less, or leave it out."
        )
    return model


def sample_lines(lines: Iterable[str], *, limit: int) -> list[str]:
    """All lines if there are at most `limit`, otherwise a uniform random sample of `limit` lines.

    The stream is read once (reservoir sampling, Vitter 1985, "Algorithm R"); equal lines give equal samples.
    """
    require_many(lines, "lines")
    stream = iter(lines)
    kept = list(islice(stream, limit))
    generator = random.Random(_SAMPLE_SEED)
    for seen, line in enumerate(stream, start=limit):
        slot = int(generator.random() * (seen + 1))
        if slot < limit:
            kept[slot] = line
    return kept


def character_counts(lines: Sequence[str]) -> NDArray[np.int64]:
    """The number of occurrences of each character that occurs, in descending order."""
    counts = np.zeros(0x110000, dtype=np.int64)
    for first in range(0, len(lines), 10_000):
        text = "".join(lines[first : first + 10_000])
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        counts += np.bincount(codes, minlength=counts.size)
    return np.sort(counts[counts > 0])[::-1]


def coverage_of(counts: NDArray[np.int64], *, at_most: int) -> float:
    """The share of the text that the `at_most` most frequent characters make up; see `character_counts`."""
    return 1.0 if counts.size <= at_most else float(counts[:at_most].sum() / counts.sum())


def characters_within(counts: NDArray[np.int64], coverage: float) -> int:
    """The number of most frequent characters that make up a share of the text; see `character_counts`."""
    enough = int(np.searchsorted(np.cumsum(counts), coverage * counts.sum())) + 1
    return min(enough, counts.size)


def without_surrogates(line: str) -> str:
    """The line with U+FFFD instead of each lone surrogate, which SentencePiece refuses."""
    if line.isascii():  # true of most lines, and checked quickly
        return line
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", line)
    return line


def _train(
    config: TokenizerConfig, sample: Sequence[str], *, side: str, vocab_size: int, coverage: float
) -> bytes:
    model = io.BytesIO()
    if not has_room_for_threads(_THREADS):
        raise MemoryError(f"no room for {_THREADS} threads")
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample),
            model_writer=model,
            model_type=config.model,
            vocab_size=vocab_size,
            hard_vocab_limit=False,  # a short text gives fewer pieces; the caller checks their number
            character_coverage=coverage,
            byte_fallback=config.byte_fallback,
            normalization_rule_name=config.normalization,
            remove_extra_whitespaces=config.normalization != "identity",
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=START,
            eos_id=END,
            max_sentence_length=_LONGEST_LINE,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:  # raised by the trainer's checks
        raise InputError(f"sentencepiece could not learn from the {side}: {error}") from error
    return model.getvalue()
