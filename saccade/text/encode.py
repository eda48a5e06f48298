"""Pairs of text to a cache of token ids, unusable ones left out and counted; a chunk in memory at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from saccade.text.cache import EncodedPairs, write_cache
from saccade.text.corpus import Pair
from saccade.text.fertilities import require_fit
from saccade.text.report import SplitTally
from saccade.text.tokenizer import Tokenizer

CHUNK = 10_000  # pairs
RATIO_FREE = 10  # pieces; where the longer side has no more, the ratio of lengths says little

Sentences = list[list[int]]
Item = TypeVar("Item")


class Limits(NamedTuple):
    """What a pair must keep to, in pieces, end symbol included; see `DataConfig`."""

    max_length: int
    max_ratio: float = float("inf")


class EncodedChunk(NamedTuple):
    """The usable pairs of consecutive ones, `kept` their indices among these."""

    kept: list[int]
    pairs: list[Pair]
    source: Sentences
    target: Sentences
    fertilities: Sentences | None
    """A number for each source id, 0 for the end symbol."""


def encode_split(
    pairs: Iterable[Pair],
    folder: Path,
    *,
    tokenizer: Tokenizer,
    limits: Limits,
    tally: SplitTally,
    held_out: frozenset[int] = frozenset(),
    look: Callable[[int, EncodedChunk], None],
    accept: Callable[[], None],
) -> EncodedPairs:
    """Write the usable pairs, those of index `held_out` aside, as a cache and count them into `tally`.

    `look` sees every chunk with the number of pairs before it; `accept` is called when all are written
    and may raise, in which case there is no cache.
    """
    with write_cache(
        folder,
        source_vocab_size=tokenizer.source_vocab_size,
        target_vocab_size=tokenizer.target_vocab_size,
    ) as writer:
        for chunk in chunks(pairs, CHUNK):
            first = tally.read
            tally.read += len(chunk)
            candidates = [i for i in range(len(chunk)) if first + i not in held_out]
            tally.held_out += len(chunk) - len(candidates)
            encoded = _encode_chunk(chunk, candidates, tokenizer=tokenizer, limits=limits, tally=tally)
            writer.add(encoded.source, encoded.target, encoded.fertilities)
            look(first, encoded)
        accept()
    return EncodedPairs.open(folder)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` consecutive items, the last one shorter."""
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def _encode_chunk(
    chunk: Sequence[Pair],
    candidates: Iterable[int],
    *,
    tokenizer: Tokenizer,
    limits: Limits,
    tally: SplitTally,
) -> EncodedChunk:
    readable = []
    for i in candidates:
        if chunk[i].problem:
            tally.drop(chunk[i].problem, chunk[i])
        else:
            readable.append(i)
    sources = tokenizer.encode_source([chunk[i].source for i in readable])
    targets = tokenizer.encode_target([chunk[i].target for i in readable])
    labelled = any(pair.fertilities is not None for pair in chunk)
    encoded = EncodedChunk([], [], [], [], [] if labelled else None)
    for i, source, target in zip(readable, sources, targets, strict=True):
        if problem := _problem(len(source), len(target), limits):
            tally.drop(problem, chunk[i])
        else:
            encoded.kept.append(i)
            encoded.pairs.append(chunk[i])
            encoded.source.append(source)
            encoded.target.append(target)
            if encoded.fertilities is not None:
                encoded.fertilities.append(_labels(chunk[i], len(source) - 1, len(target) - 1))
    return encoded


def _labels(pair: Pair, source: int, target: int) -> list[int]:
    fertilities = pair.fertilities or ()
    require_fit(fertilities, source=source, target=target, place=pair.place)
    return [*fertilities, 0]


def _problem(source_length: int, target_length: int, limits: Limits) -> str:
    """Why a pair of these lengths is not used, "" when it is."""
    shorter, longer = sorted((source_length, target_length))
    if shorter <= 1:  # just the end symbol: normalisation left nothing
        return "empty"
    if longer > limits.max_length:
        return "too long"
    if longer - 1 > RATIO_FREE and longer - 1 > limits.max_ratio * (shorter - 1):
        return "length ratio"
    return ""
