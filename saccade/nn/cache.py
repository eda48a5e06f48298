"""Keys and values of the tokens decoded so far, preallocated and written in place."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class KeyValueCache:
    """One layer's past. keys, values: (rows, heads, capacity, head width); `length` columns are filled.

    A row is a hypothesis. Each step fills one column of all rows. position: number of filled columns that
    belong to a row, counted from the last: all of them (an int), or for each row (rows,) if sentences joined
    a batch that was being decoded. `append` writes in place, so a cache belongs to one decoding run and each
    of its states is used once.
    """

    keys: Tensor
    values: Tensor
    length: int = 0
    position: int | Tensor = 0

    @classmethod
    def empty(cls, rows: int, heads: int, capacity: int, head_width: int, *, like: Tensor) -> "KeyValueCache":
        """An empty cache with room for `capacity` columns, on the device and in the precision of `like`."""
        shape = (rows, heads, capacity, head_width)
        return cls(like.new_empty(shape), like.new_empty(shape))

    @property
    def visible(self) -> Tensor | None:
        """Mask (rows, 1, 1, length) of the filled columns that belong to each row; None: all of them."""
        if isinstance(self.position, int):
            return None
        columns = torch.arange(self.length, device=self.position.device)
        return (columns >= self.length - self.position[:, None])[:, None, None]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Adds columns, each (rows, heads, new, head width); returns all keys and values so far."""
        end = self.length + key.size(2)
        if end > self.keys.size(2):
            raise ValueError(f"cache holds {self.keys.size(2)} positions, {end} are needed")
        self.keys[:, :, self.length : end] = key
        self.values[:, :, self.length : end] = value
        self.length = end
        self.position = self.position + key.size(2)
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, rows: Tensor) -> "KeyValueCache":
        """The past of the hypotheses `rows` (n,), which may repeat: new row i continues old row rows[i].

        Only filled columns are copied; the memory is reused if the new rows fit into it. Columns that no
        longer belong to any row are dropped.
        """
        position, length = self.position, self.length
        if not isinstance(position, int):
            position = position.index_select(0, rows)
            least, length = (int(end) for end in position.aminmax())
            position = length if least == length else position
        return KeyValueCache(
            self._select(self.keys, rows, length), self._select(self.values, rows, length), length, position
        )

    def joined(self, fresh: "KeyValueCache") -> "KeyValueCache":
        """These rows followed by those of an empty cache, with the larger remaining capacity of the two."""
        assert fresh.length == 0
        rest = max(self.keys.size(2) - self.length, fresh.keys.size(2))
        position = self.position
        if self.length:
            position = torch.cat(
                [
                    per_row(position, self.keys.size(0), device=self.keys.device),
                    torch.zeros(fresh.keys.size(0), dtype=torch.int64, device=self.keys.device),
                ]
            )
        keys, values = (
            self._widened(old, new, self.length + rest)
            for old, new in ((self.keys, fresh.keys), (self.values, fresh.values))
        )
        return KeyValueCache(keys, values, self.length, position)

    def _select(self, room: Tensor, rows: Tensor, length: int) -> Tensor:
        filled = room[:, :, self.length - length : self.length].index_select(0, rows)
        if rows.numel() > room.size(0):
            room = torch.empty((rows.numel(), *room.shape[1:]), dtype=room.dtype, device=room.device)
        room = room[: rows.numel()]
        room[:, :, :length] = filled
        return room

    def _widened(self, room: Tensor, new: Tensor, capacity: int) -> Tensor:
        rows, heads, _, head_width = room.shape
        # Zeros, because values that attention hides must still be finite.
        wider = room.new_zeros(rows + new.size(0), heads, capacity, head_width)
        wider[:rows, :, : self.length] = room[:, :, : self.length]
        return wider


def per_row(position: int | Tensor, rows: int, *, device: torch.device) -> Tensor:
    """A position, one for all rows or one for each, as (rows,)."""
    if isinstance(position, Tensor):
        return position
    return torch.full((rows,), position, dtype=torch.int64, device=device)
