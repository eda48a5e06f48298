"""The training pairs of an epoch: always the same ones, or segmented anew by sub-word sampling."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

import numpy as np

from saccade.errors import InputError
from saccade.text.cache import EncodedPairs, write_cache
from saccade.text.corpus import DataConfig, Pair, read_pairs
from saccade.text.encode import CHUNK, Sentences, chunks
from saccade.text.tokenizer import SentencePieceTokenizer, Tokenizer


def epoch_pairs(
    config: DataConfig, tokenizer: Tokenizer, *, out: Path, epoch: int, seed: int
) -> EncodedPairs:
    """The pairs that `prepare` put into `out`, in the same order, as epoch number `epoch` reads them.

    Without sampling (`tokenizer.sampling = 0`) the one cache; with it a cache of sampled segmentations,
    a function of text, seed and epoch, written into `out` unless it is there, and older epochs' removed.
    Fertilities belong to one segmentation: with them nothing is sampled.
    Of several processes one at a time may call this. Raises UserError when the files have changed.
    """
    if (
        not isinstance(tokenizer, SentencePieceTokenizer)
        or tokenizer.config.sampling == 0.0
        or config.fertilities
    ):
        return EncodedPairs.open(out / "train")
    folder = out / f"sampled-{seed}-{epoch}"
    if not folder.exists():
        for older in out.glob("sampled-*"):
            shutil.rmtree(older, ignore_errors=True)
        _write_sampled(config, tokenizer, out=out, folder=folder, entropy=(seed, epoch))
    return EncodedPairs.open(folder)


def _write_sampled(
    config: DataConfig,
    tokenizer: SentencePieceTokenizer,
    *,
    out: Path,
    folder: Path,
    entropy: tuple[int, int],
) -> None:
    with write_cache(
        folder,
        source_vocab_size=tokenizer.source_vocab_size,
        target_vocab_size=tokenizer.target_vocab_size,
    ) as writer:
        for number, chunk in enumerate(chunks(_kept_pairs(config, out), CHUNK)):
            source_seed, target_seed = np.random.SeedSequence((*entropy, number)).generate_state(2)
            writer.add(
                _sampled(tokenizer.encode_source, [pair.source for pair in chunk], source_seed, config),
                _sampled(tokenizer.encode_target, [pair.target for pair in chunk], target_seed, config),
            )


class _Encode(Protocol):
    def __call__(self, lines: Sequence[str], *, sampling_seed: int | None = None) -> Sentences: ...


def _sampled(encode: _Encode, lines: Sequence[str], seed: int, config: DataConfig) -> Sentences:
    # SentencePiece takes 32 bits and reads the largest such number as "no seed".
    ids = encode(lines, sampling_seed=int(seed) % (2**32 - 1))
    # A model may know no more positions than max_length; the usual segmentation keeps to it.
    too_long = [i for i, sentence in enumerate(ids) if len(sentence) > config.max_length]
    for i, sentence in zip(too_long, encode([lines[i] for i in too_long]), strict=True):
        ids[i] = sentence
    return ids


def _kept_pairs(config: DataConfig, out: Path) -> Iterator[Pair]:
    kept = np.load(out / "kept.npy")
    for pair, keep in zip_longest(read_pairs(config.train_files), kept):
        if pair is None or keep is None or (keep and pair.problem):
            raise InputError(f"the training text has changed since {out} was prepared; prepare it again.")
        if keep:
            yield pair
