"""Running text in training: contiguous streams whose memory is carried from update to update."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from saccade.models.families import Memory
from saccade.text.cache import Ids
from saccade.text.streams import Streams
from saccade.training.distributed import Group


class Handover:
    """Where the memory of a batch's rows is left for the next batch of the same streams.

    Rows may arrive in parts, and again when an update starts over; of what arrives twice the later counts.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.parts: list[tuple[Tensor, Memory]] = []

    def put(self, rows: Tensor, memory: Memory) -> None:
        """Leave the memory of the batch's `rows`."""
        self.parts.append((rows, memory))

    def take(self) -> Memory | None:
        """All of it; None where there is none. Zeros stand for the rows of other processes, and for a memory
        that is not finite, which would spoil all updates to come and not only the one that is skipped."""
        if not self.parts:
            return None
        rows, memory = self.parts[-1]
        if len(rows) < self.rows:
            memory = tuple(part.new_zeros(self.rows, *part.shape[1:]) for part in memory)
            for rows, found in self.parts:
                for whole, part in zip(memory, found, strict=True):
                    whole[rows] = part
        memory = tuple(part if bool(part.isfinite().all()) else torch.zeros_like(part) for part in memory)
        self.parts = [(torch.arange(self.rows), memory)]
        return memory


@dataclass(frozen=True)
class Segments:
    """One segment of some streams. Ids are int64, `pad` where a stream has ended."""

    tokens: Tensor
    """(rows, length) what is read."""
    gold: Tensor
    """(rows, length) what is to be predicted."""
    memory: Memory
    """Of the text before, its first axis the rows."""
    pad: int
    target_tokens: int
    """Tokens of `gold` that are real."""
    numbers: Tensor
    """(rows,) which rows of the batch that was made these are."""
    handover: Handover

    @property
    def rows(self) -> int:
        """Number of streams."""
        return self.tokens.shape[0]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def hand_on(self, memory: Memory) -> None:
        """Leave the memory after this segment for the next one."""
        self.handover.put(self.numbers, memory)

    def to(self, device: torch.device | str) -> "Segments":
        """The ids on a device; memory is where the model left it."""
        return replace(self, tokens=self.tokens.to(device), gold=self.gold.to(device))

    def take(self, rows: slice | Sequence[int]) -> "Segments":
        """Some of the rows."""
        index = torch.arange(self.rows)[rows] if isinstance(rows, slice) else torch.tensor([*rows])
        gold = self.gold[index]
        return replace(
            self,
            tokens=self.tokens[index],
            gold=gold,
            memory=tuple(part[index.to(part.device)] for part in self.memory),
            target_tokens=int((gold != self.pad).sum()),
            numbers=self.numbers[index],
        )


@dataclass
class TextStreams:
    """Satisfies `TrainingData`. `start` makes the memory of so many streams before their first token.

    `rows` streams make a batch, `accumulate` batches of different streams an update. An epoch begins where
    (seed, epoch) says, so that text is cut at other places each time, and with no memory.
    """

    ids: Ids
    start: Callable[[int], Memory]
    segment: int
    rows: int
    accumulate: int
    seed: int
    pad: int
    group: Group
    _handovers: list[Handover] = field(default_factory=list)
    _restored: list[Memory] = field(default_factory=list)

    def epoch(self, epoch: int, *, done: int) -> Iterator[Sequence[Segments]]:
        """See `TrainingData.epoch`."""
        first = int(np.random.default_rng((self.seed, epoch)).integers(len(self.ids)))
        streams = Streams(self.ids, self.rows * self.accumulate, first)
        memories = self._restored if done and self._restored else self._fresh()
        for number in range(done, streams.segments(self.segment)):
            self._handovers = [Handover(self.rows) for _ in memories]
            yield [
                self._batch(streams, number, batch, memory=memory) for batch, memory in enumerate(memories)
            ]
            memories = self._memories()

    def carried(self) -> dict[str, Tensor]:
        """See `TrainingData.carried`: batch/number to a tensor of all rows."""
        return {
            f"{batch}/{number}": self.group.join(part)
            for batch, memory in enumerate(self._memories())
            for number, part in enumerate(memory)
        }

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """See `TrainingData.restore`. What was read in other streams than these is of no use."""
        restored = []
        for batch in range(self.accumulate):
            names = [f"{batch}/{number}" for number in range(len(self.start(1)))]
            if any(name not in carried or len(carried[name]) != self.rows for name in names):
                return
            restored.append(tuple(carried[name].to(self.group.device) for name in names))
        self._restored = restored

    def _fresh(self) -> list[Memory]:
        return [self.start(self.rows) for _ in range(self.accumulate)]

    def _memories(self) -> list[Memory]:
        """After the last update."""
        if not self._handovers:
            return self._restored
        return [handover.take() or self.start(self.rows) for handover in self._handovers]

    def _batch(self, streams: Streams, number: int, batch: int, *, memory: Memory) -> Segments:
        rows = range(batch * self.rows, (batch + 1) * self.rows)
        read, gold = streams.segment(number, self.segment, rows=rows, pad=self.pad)
        return Segments(
            tokens=torch.from_numpy(read),
            gold=torch.from_numpy(gold),
            memory=memory,
            pad=self.pad,
            target_tokens=int((gold != self.pad).sum()),
            numbers=torch.arange(self.rows),
            handover=self._handovers[batch],
        )
