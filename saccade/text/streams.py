"""The text of a language model as streams that are read side by side, segment by segment.

The ids of a text are one array in which every line ends with the end symbol. A stream is a contiguous part
of it. What is read before the text's first token is its last one, an end symbol: a line begins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saccade.text.cache import Ids


@dataclass(frozen=True)
class Streams:
    """A text as `count` streams that differ in length by at most a token; together they are each token once.

    first: where the first stream begins; after its last token the text begins again.
    """

    ids: Ids
    count: int
    first: int = 0

    def segments(self, length: int) -> int:
        """The number of segments of `length` tokens in the longest stream."""
        return -(-int(np.diff(self._bounds).max()) // length)

    def segment(
        self, number: int, length: int, *, rows: range | None = None, pad: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ids that are read and those to be predicted, each (rows, up to length).

        number: the number of the segment, from 0. rows: the streams to give; None: all. pad: stands where a
        stream has ended.
        """
        wanted = np.arange(self.count) if rows is None else np.asarray(rows)
        begins, ends = self._bounds[wanted] + number * length, self._bounds[wanted + 1]
        width = int(np.minimum(ends - begins, length).max(initial=0))
        places = begins[:, None] + np.arange(width)
        real = places < ends[:, None]
        places += self.first
        size = len(self.ids)
        gold = np.where(real, self.ids[places % size].astype(np.int64), pad)
        read = np.where(real, self.ids[(places - 1) % size].astype(np.int64), pad)
        return read, gold

    @property
    def _bounds(self) -> NDArray[np.int64]:
        return np.arange(self.count + 1, dtype=np.int64) * len(self.ids) // self.count
