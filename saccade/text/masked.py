"""Text for masked language models: its settings, blocks of pieces on disk, and which are masked."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from saccade.errors import ConfigError, DamagedFile, InputError
from saccade.storage.files import write_text
from saccade.text.batching import Batch, PaddedColumn
from saccade.text.cache import EncodedLines, open_verified
from saccade.text.cache_writer import write_cache
from saccade.text.columns import Column
from saccade.text.corpus import file_hash
from saccade.text.encode import CHUNK, chunks
from saccade.text.examples import SOURCE
from saccade.text.language_model import TextConfig, TextReport, TextSize
from saccade.text.opening import require_files
from saccade.text.prepare import writing
from saccade.text.reading import text_lines
from saccade.text.tokenizer import Tokenizer, load_tokenizer
from saccade.text.wordpiece import WordPieceConfig, WordPieceTokenizer

PLACES, GOLD = "places", "gold"
"""Columns of a batch: the places of the masked pieces of each block, and what stood there."""


class MaskedTextConfig(TextConfig):
    """Settings of the text of a masked language model. Each file setting is a path or a list of paths.

    The whole text is used in order, without empty lines.
    """

    block: int = Field(128, ge=8, le=1 << 15)
    """Number of pieces that are read together, [CLS] and [SEP] included."""
    masked: float = Field(0.15, gt=0, lt=1)
    """Share of the pieces of a block that are to be predicted (Devlin et al. 2019, section 3.1)."""


class MaskedTokenizerConfig(WordPieceConfig):
    """Settings of the vocabulary of a masked language model."""

    vocab_size: int | None = Field(default=None, ge=8)
    """Number of pieces to learn; those of single characters may be added. Unset: 8,000, or as many as the
    text supports."""


class PreparedBlocks(NamedTuple):
    """Prepared blocks, from which training reads."""

    tokenizer: WordPieceTokenizer
    train: EncodedLines
    valid: EncodedLines | None
    report: TextReport


def prepare_blocks(
    config: MaskedTextConfig, settings: MaskedTokenizerConfig, *, out: Path, tokenizer: Tokenizer | None
) -> TextReport:
    """Reads the text, learns the vocabulary (unless a tokeniser is given) and writes blocks to `out`.

    Raises UserError if a file cannot be used.
    """
    if not config.text:
        raise ConfigError("no training text: set data.text.")
    paths = (*config.text, *config.valid_text)
    require_files(paths)
    files = {str(path): file_hash(path) for path in paths}
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
        if tokenizer is None:
            plain = WordPieceConfig(**settings.model_dump(exclude={"vocab_size"}))
            lines = _lines(config.text)
            tokenizer = WordPieceTokenizer.learn(lines, vocab_size=settings.vocab_size, config=plain)
        if not isinstance(tokenizer, WordPieceTokenizer):
            raise ConfigError("training.init_from: its tokeniser has no mask; name a masked language model.")
        tokenizer.save(out / "tokenizer")
        train = _write(out / "train", config.text, tokenizer, block=config.block)
        valid = None
        if config.valid_text:
            valid = _write(out / "valid", config.valid_text, tokenizer, block=config.block)
        report = TextReport(train, valid, tokenizer.source_vocab_size, files)
        text = json.dumps(asdict(report), indent=2, ensure_ascii=False)
        write_text(out / "report.json", f"{text}\n")
    return report


def open_prepared_blocks(out: Path) -> PreparedBlocks:
    """Opens what `prepare_blocks` wrote to `out`; raises UserError if it is incomplete or damaged."""
    try:
        report = TextReport.read(out / "report.json")
    except (OSError, ValueError) as error:
        raise DamagedFile(
            f"{out}: no prepared text, or it is incomplete or damaged; prepare it again."
        ) from error
    tokenizer = load_tokenizer(out / "tokenizer")
    if not isinstance(tokenizer, WordPieceTokenizer):
        raise DamagedFile(f"{out / 'tokenizer'}: it has no mask. Delete {out}; the text is prepared again.")
    sizes = {SOURCE: tokenizer.source_vocab_size}
    valid = open_verified(out / "valid", sizes) if report.valid is not None else None
    return PreparedBlocks(tokenizer, open_verified(out / "train", sizes), valid, report)


@dataclass(frozen=True)
class Masking:
    """How the pieces to predict are chosen and hidden (Devlin et al. 2019, section 3.1).

    In each block `share` of the pieces, and at least one, are chosen; not the symbols at its ends. 80% of the
    chosen pieces are replaced by the mask, 10% by a random piece, and 10% stay.
    """

    mask: int
    vocab_size: int
    share: float = 0.15

    def apply(self, source: PaddedColumn, generator: np.random.Generator) -> Batch:
        """The batch of a column of blocks: `source` with masks, `places` and `gold`."""
        ids = source.values.numpy().copy()  # (blocks, longest)
        lengths = source.lengths.numpy()
        counts = np.maximum(1, np.round(self.share * (lengths - 2))).astype(np.int64)
        places = np.zeros((len(ids), counts.max()), dtype=np.int64)
        gold = np.zeros_like(places)
        for row, (length, count) in enumerate(zip(lengths, counts, strict=True)):
            chosen = np.sort(generator.choice(length - 2, size=count, replace=False)) + 1
            places[row, :count], gold[row, :count] = chosen, ids[row, chosen]
            ids[row, chosen] = self._shown(ids[row, chosen], generator)
        sizes = torch.from_numpy(counts)
        total = int(counts.sum())
        columns = {
            SOURCE: PaddedColumn(torch.from_numpy(ids), source.lengths, source.pad, source.positions),
            PLACES: PaddedColumn(torch.from_numpy(places), sizes, 0, total),
            GOLD: PaddedColumn(torch.from_numpy(gold), sizes, 0, total),
        }
        return Batch(columns, counted=GOLD)

    def _shown(self, pieces: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        draw = generator.random(len(pieces))
        random = generator.integers(self.vocab_size, size=len(pieces))
        return np.where(draw < 0.8, self.mask, np.where(draw < 0.9, random, pieces))


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    return (line for line in chain.from_iterable(map(text_lines, paths)) if line.strip())


def _write(folder: Path, paths: Sequence[Path], tokenizer: WordPieceTokenizer, *, block: int) -> TextSize:
    room = block - 2
    column = Column.ids(SOURCE, vocab_size=tokenizer.source_vocab_size, pad=tokenizer.pad)
    lines = words = characters = unknown = tokens = 0
    rest: list[int] = []
    with write_cache(folder, [column]) as writer:
        for chunk in chunks(_lines(paths), CHUNK):
            for line in chunk:
                rest += tokenizer.cut(line)
            lines, words = lines + len(chunk), words + sum(len(line.split()) for line in chunk)
            characters += sum(map(len, chunk))
            whole = len(rest) // room * room
            blocks = [rest[first : first + room] for first in range(0, whole, room)]
            rest = rest[whole:]
            writer.add({SOURCE: [[tokenizer.start, *own, tokenizer.end] for own in blocks]})
            unknown, tokens = unknown + sum(b.count(tokenizer.unknown) for b in blocks), tokens + whole
        if rest:
            writer.add({SOURCE: [[tokenizer.start, *rest, tokenizer.end]]})
            unknown, tokens = unknown + rest.count(tokenizer.unknown), tokens + len(rest)
        if not tokens:
            raise InputError(f"{', '.join(map(str, paths))}: empty; there is nothing to read.")
    return TextSize(lines, words, characters, tokens, unknown)
