"""Training data of language models: streams of text whose memory passes from update to update."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.models.families import Memory
from saccade.text.cache import Ids
from saccade.text.streams import Streams
from saccade.training.batch import Share
from saccade.training.distributed import Group


class CarriedMemory:
    """The memory of the streams of a batch, passed from one update to the next.

    Rows may arrive in parts, and again if an update starts over; the later values replace the earlier ones.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.parts: list[tuple[Tensor, Memory]] = []

    def put(self, rows: Tensor, memory: Memory) -> None:
        """Stores the memory of these rows of the batch."""
        self.parts.append((rows, memory))

    def take(self) -> Memory | None:
        """The memory of all rows; None if nothing was stored.

        The rows of other processes are zeros, and so is a memory that is not finite, which would spoil all
        later updates and not only the skipped one.
        """
        if not self.parts:
            return None
        rows, memory = self.parts[-1]
        if len(rows) < self.rows:
            memory = tuple(part.new_zeros(self.rows, *part.shape[1:]) for part in memory)
            for rows, found in self.parts:
                for whole, part in zip(memory, found, strict=True):
                    whole[rows] = part
        memory = tuple(torch.where(part.isfinite().all(), part, torch.zeros_like(part)) for part in memory)
        self.parts = [(torch.arange(self.rows), memory)]
        return memory


@dataclass(frozen=True)
class Segments:
    """One segment of several streams. Ids are int64, `pad` behind the end of a stream."""

    tokens: Tensor
    """Ids (rows, length) to read."""
    gold: Tensor
    """Ids (rows, length) to predict."""
    pad: int
    target_tokens: int
    """Number of tokens of `gold` without padding."""
    numbers: Tensor
    """Row numbers (rows,) in the batch that these rows were taken from."""
    memory: Memory = ()
    """The model's memory of the text before, whose first axis is the rows; attached before the update."""
    carried: CarriedMemory | None = None
    """Receives the memory after this segment for the next one."""

    @property
    def rows(self) -> int:
        """Number of streams."""
        return self.tokens.shape[0]

    def carry(self, memory: Memory) -> None:
        """Stores the memory after this segment for the next one."""
        assert self.carried is not None
        self.carried.put(self.numbers, memory)

    def attach(self, memory: Memory, carried: CarriedMemory) -> "Segments":
        """The segments with the memory of the text before. memory: that of all rows of the original batch."""
        if len(self.numbers) < carried.rows:
            memory = tuple(part[self.numbers.to(part.device)] for part in memory)
        return replace(self, memory=memory, carried=carried)

    def to(self, device: torch.device | str) -> "Segments":
        """The ids on a device, copied from pinned memory without waiting; the memory is already there."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Segments":
        """The ids in page-locked memory."""
        return self._each(Tensor.pin_memory)

    def take(self, rows: slice | Sequence[int]) -> "Segments":
        """The segments of some of the rows."""
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

    def _each(self, move: Callable[[Tensor], Tensor]) -> "Segments":
        return replace(self, tokens=move(self.tokens), gold=move(self.gold))


@dataclass
class TextStreams:
    """Segments of running text, read in parallel streams. Satisfies `TrainingData`.

    start: makes the memory of a number of streams before their first token. A batch has `rows` streams, an
    update `accumulate` batches of different streams. An epoch begins with an empty memory, at a place that
    depends on (seed, epoch), so that the text is split differently each time.
    """

    ids: Ids
    start: Callable[[int], Memory]
    segment: int
    rows: int
    accumulate: int
    seed: int
    pad: int
    group: Group
    vocab_size: int | None = None
    """Number of ids, by which a restored memory of ids is checked; None: it is not checked."""
    _carried: list[CarriedMemory] = field(default_factory=list)
    """The memories after the last update, one for each of its batches."""

    def epoch(
        self,
        epoch: int,
        *,
        done: int,
        fixed: bool = False,  # noqa: ARG002 - they nearly always are
    ) -> Iterator[Sequence[Segments]]:
        """See `TrainingData.epoch`. The segments have no memory yet."""
        first = int(np.random.default_rng((self.seed, epoch)).integers(len(self.ids)))
        streams = Streams(self.ids, self.rows * self.accumulate, first)
        if not done:
            self._carried = []
        return (
            [self._batch(streams, number, batch) for batch in range(self.accumulate)]
            for number in range(done, streams.segments(self.segment))
        )

    def attach(self, shares: list[Share[Any]]) -> list[Share[Any]]:
        """See `TrainingData.attach`."""
        memories = self._memories()
        self._carried = [CarriedMemory(self.rows) for _ in memories]
        return [
            replace(share, batch=share.batch.attach(memory, carried))
            for share, memory, carried in zip(shares, memories, self._carried, strict=True)
        ]

    def state(self) -> dict[str, Tensor]:
        """See `TrainingData.state`: tensors of all rows under the names batch/number."""
        return {
            f"{batch}/{number}": self.group.join(part)
            for batch, memory in enumerate(self._memories())
            for number, part in enumerate(memory)
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `TrainingData.restore`. A memory of a different number of streams is ignored."""
        restored, empty = [], self.start(1)
        for batch in range(self.accumulate):
            names = [f"{batch}/{number}" for number in range(len(empty))]
            for name, part in zip(names, empty, strict=True):
                _require_like(part, state, name, vocab_size=self.vocab_size)
            if len({state[name].shape[1:2] for name in names}) > 1:
                raise ValueError(f"carried/{batch}: its parts have different lengths")
            if any(len(state[name]) != self.rows for name in names):
                return
            carried = CarriedMemory(self.rows)
            memory = tuple(state[name].to(self.group.device) for name in names)
            carried.put(torch.arange(self.rows), memory)
            restored.append(carried)
        self._carried = restored

    def _memories(self) -> list[Memory]:
        """The memory of each batch after the last update, or empty ones before the first update."""
        if not self._carried:
            return [self.start(self.rows) for _ in range(self.accumulate)]
        return [carried.take() or self.start(self.rows) for carried in self._carried]

    def _batch(self, streams: Streams, number: int, batch: int) -> Segments:
        rows = range(batch * self.rows, (batch + 1) * self.rows)
        read, gold = streams.segment(number, self.segment, rows=rows, pad=self.pad)
        return Segments(
            tokens=torch.from_numpy(read),
            gold=torch.from_numpy(gold),
            pad=self.pad,
            target_tokens=int((gold != self.pad).sum()),
            numbers=torch.arange(self.rows),
        )


def _require_like(empty: Tensor, state: Mapping[str, Tensor], name: str, *, vocab_size: int | None) -> None:
    """Raises ValueError unless a saved memory has the form of an empty one, whose second axis may grow."""
    if name not in state:
        raise ValueError(f"carried/{name} is missing")
    found = state[name]
    grows = empty.dim() > 1 and empty.size(1) == 0
    wanted, shape = list(empty.shape[1:]), list(found.shape[1:])
    if grows and shape:
        wanted, shape = wanted[1:], shape[1:]
    if found.dim() != empty.dim() or shape != wanted:
        raise ValueError(f"carried/{name} is {list(found.shape)}, a memory of the model {list(empty.shape)}")
    if found.dtype != empty.dtype:
        raise ValueError(f"carried/{name} is {found.dtype}, a memory of the model {empty.dtype}")
    if vocab_size is not None and not found.is_floating_point() and found.numel():
        lowest, highest = int(found.min()), int(found.max())
        if lowest < 0 or highest >= vocab_size:
            raise ValueError(f"carried/{name} holds ids from {lowest} to {highest} of {vocab_size}")
