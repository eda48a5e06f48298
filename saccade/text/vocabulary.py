"""Learning a vocabulary: what is asked for, a bounded sample of the lines, SentencePiece's trainer."""

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

PAD, UNKNOWN, START, END = 0, 1, 2, 3
DEFAULT_VOCAB_SIZE = 8000

_SAMPLE = 1_000_000  # lines that a vocabulary is learned from at most; the trainer holds them in memory
_SAMPLE_SEED = 20240117
_THREADS = 16  # fixed: the sums of unigram learning depend on it in the last digit
_LEAST_COVERAGE = 0.98  # the trainer takes no less
_LONGEST_LINE = 16_384  # bytes; longer lines are not learned from


class TokenizerConfig(Section):
    """How text is cut into pieces, section `[tokenizer]`."""

    vocab_size: int | None = Field(default=None, ge=8)
    """Pieces in a vocabulary, the four special ones included. Without it 8,000, or as many as the text
    supports."""
    model: Literal["bpe", "unigram"] = "bpe"
    """Byte-pair encoding (Sennrich et al. 2016) or a unigram language model (Kudo 2018)."""
    joint: bool = True
    """One vocabulary for both sides, so that embeddings can be shared; false: one for each side."""
    byte_fallback: bool = True
    """Spell characters outside the vocabulary as UTF-8 bytes, which takes 256 pieces, instead of as the
    unknown piece."""
    sampling: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Sampled segmentation of the training text, another one each epoch; 0: off. With `bpe` the
    probability of leaving out a merge (BPE-dropout, Provilkov et al. 2020: 0.1), with `unigram` the
    smoothing exponent (Kudo 2018: 0.2)."""
    normalization: Literal["identity", "nfkc", "nfkc_cf", "nmt_nfkc", "nmt_nfkc_cf"] = "identity"
    """Change of the text before it is cut. `identity` changes nothing. The others apply Unicode NFKC (with
    `nmt_` also to control characters and white space, with `_cf` case is folded too), join runs of blanks
    and trim both ends."""
    character_coverage: float | None = Field(default=None, ge=0.98, le=1.0)
    """Share of the text whose characters get a piece of their own, the most frequent ones first; 0.9995 is
    usual for Chinese and Japanese. Without it all characters, or as many as fill half of the vocabulary,
    but at least 98% of the text."""


def learn_model(config: TokenizerConfig, lines: Iterable[str], *, side: str) -> bytes:
    """A serialised SentencePiece model learned from the lines (`side` names them in messages), which are
    read once, as a stream. Raises UserError when they are empty or do not support the vocabulary."""
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
    """All lines when there are at most `limit`, else a uniform sample of that many (reservoir sampling,
    Vitter 1985, "Algorithm R"), the same one for the same lines. Reads the stream once."""
    stream = iter(lines)
    kept = list(islice(stream, limit))
    generator = random.Random(_SAMPLE_SEED)
    for seen, line in enumerate(stream, start=limit):
        slot = int(generator.random() * (seen + 1))
        if slot < limit:
            kept[slot] = line
    return kept


def character_counts(lines: Sequence[str]) -> NDArray[np.int64]:
    """How often each character occurs, most frequent first, characters that do not occur left out."""
    counts = np.zeros(0x110000, dtype=np.int64)
    for first in range(0, len(lines), 10_000):
        text = "".join(lines[first : first + 10_000])
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        counts += np.bincount(codes, minlength=counts.size)
    return np.sort(counts[counts > 0])[::-1]


def coverage_of(counts: NDArray[np.int64], *, at_most: int) -> float:
    """Share of the text that the `at_most` most frequent characters make up; `counts` as above."""
    return 1.0 if counts.size <= at_most else float(counts[:at_most].sum() / counts.sum())


def characters_within(counts: NDArray[np.int64], coverage: float) -> int:
    """How many of the most frequent characters make up a share of the text; `counts` as above."""
    enough = int(np.searchsorted(np.cumsum(counts), coverage * counts.sum())) + 1
    return min(enough, counts.size)


def without_surrogates(line: str) -> str:
    """The line with each lone surrogate (no character, so SentencePiece refuses it) as U+FFFD."""
    if line.isascii():  # known without looking, and most lines
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
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample),
            model_writer=model,
            model_type=config.model,
            vocab_size=vocab_size,
            hard_vocab_limit=False,  # a short text gives fewer pieces; the caller judges them
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
    except RuntimeError as error:  # a check of the trainer's own
        raise InputError(f"sentencepiece could not learn from the {side}: {error}") from error
    return model.getvalue()
