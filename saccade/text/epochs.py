"""The training lines of an epoch, which sub-word sampling segments differently each time."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.errors import DamagedFile, InputError
from saccade.storage.leftovers import remove_leftovers_in
from saccade.storage.structured import reason, require_plain
from saccade.text.cache import EncodedLines
from saccade.text.cache_writer import write_cache
from saccade.text.corpus import DataConfig, Line, read_aligned
from saccade.text.encode import CHUNK, Encoded, chunks
from saccade.text.tokenizer import SentencePieceTokenizer, Tokenizer
from saccade.text.translation import piece_links, translation_columns


def epoch_lines(
    config: DataConfig, tokenizer: Tokenizer, *, out: Path, epoch: int, seed: int
) -> EncodedLines:
    """The pairs that `prepare` wrote to `out`, in the same order, as segmented in epoch number `epoch`.

    Without sampling (`tokenizer.sampling = 0`) this is always the same cache. With it, a cache of sampled
    segmentations, a function of text, seed and epoch, is written to `out` if it does not exist, and those of
    older epochs are removed. Fertilities belong to one segmentation, so that with them nothing is sampled.
    Only one process at a time may call this. Raises UserError if the files have changed.
    """
    if (
        not isinstance(tokenizer, SentencePieceTokenizer)
        or tokenizer.config.sampling == 0.0
        or config.fertilities
    ):
        return EncodedLines.open(out / "train")
    folder = out / f"sampled-{seed}-{epoch}"
    if not folder.exists():
        remove_leftovers_in(out)
        for older in out.glob("sampled-*"):
            shutil.rmtree(older, ignore_errors=True)
        _write_sampled(config, tokenizer, out=out, folder=folder, entropy=(seed, epoch))
    return EncodedLines.open(folder)


def _write_sampled(
    config: DataConfig,
    tokenizer: SentencePieceTokenizer,
    *,
    out: Path,
    folder: Path,
    entropy: tuple[int, int],
) -> None:
    aligned = bool(config.alignments)
    columns = [text.column for text in translation_columns(tokenizer, alignments=aligned)]
    with write_cache(folder, columns) as writer:
        for number, chunk in enumerate(chunks(_kept_pairs(config, out), CHUNK)):
            source_seed, target_seed = np.random.SeedSequence((*entropy, number)).generate_state(2)
            sources = [pair.texts["source"] for pair in chunk]
            targets = [pair.texts["target"] for pair in chunk]
            source = _sampled(tokenizer.encode_source, sources, source_seed, config)
            target = _sampled(tokenizer.encode_target, targets, target_seed, config)
            links = {"alignments": piece_links(tokenizer, chunk, source, target)} if aligned else {}
            writer.add({"source": source, "target": target, **links})


class _Encode(Protocol):
    def __call__(self, lines: Sequence[str], *, sampling_seed: int | None = None) -> Encoded: ...


def _sampled(encode: _Encode, lines: Sequence[str], seed: int, config: DataConfig) -> Encoded:
    # SentencePiece takes 32 bits and reads the largest such number as "no seed".
    ids = encode(lines, sampling_seed=int(seed) % (2**32 - 1))
    # A model may have no more positions than max_length, which the usual segmentation keeps to.
    too_long = [i for i, sentence in enumerate(ids) if len(sentence) > config.max_length]
    for i, sentence in zip(too_long, encode([lines[i] for i in too_long]), strict=True):
        ids[i] = sentence
    return ids


def _kept_pairs(config: DataConfig, out: Path) -> Iterator[Line]:
    for pair, keep in zip_longest(read_aligned(config.train_files), _kept(out / "kept.npy")):
        if pair is None or keep is None or (keep and pair.problem):
            raise InputError(f"the training text has changed since {out} was prepared; prepare it again.")
        if keep:
            yield pair


def _kept(path: Path) -> NDArray[np.bool_]:
    """Which pairs of the training text are used, (pairs,)."""
    try:
        require_plain(path)
        kept: NDArray[np.bool_] = np.array(np.load(path, mmap_mode="r"))
        if kept.dtype != np.bool_ or kept.ndim != 1:
            raise ValueError("not a list of yes and no")
    except (OSError, ValueError, EOFError) as error:
        raise DamagedFile(f"{path}: damaged: {reason(error)}. Delete the folder {path.parent}.") from error
    return kept
