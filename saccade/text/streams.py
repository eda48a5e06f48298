"""The text of a language model as parallel streams that are read segment by segment.

The ids of a text are one array in which every line ends with the end symbol. A stream is a contiguous part
of it. The input before the first token of the text is its last token, an end symbol, as at any line start.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saccade.text.cache import Ids


@dataclass(frozen=True)
class Streams:
    """A text as `count` streams that hold each token once and differ in length by at most one token.

    first: place where the first stream begins; the text wraps around after its last token.
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
        """The ids to read and the ids to predict, each (rows, up to length).

        number: the number of the segment, from 0. rows: the streams; None: all. pad: fills places behind the
        end of a stream.
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
