"""Keys and values of the tokens decoded so far, preallocated and written in place."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class KeyValueCache:
    """One layer's past. keys, values: (rows, heads, capacity, head width); `length` positions are filled.

    A row is a hypothesis. `append` writes in place, so a cache belongs to one decoding run and
    each of its states is used once.
    """

    keys: Tensor
    values: Tensor
    length: int = 0

    @classmethod
    def empty(cls, rows: int, heads: int, capacity: int, head_width: int, *, like: Tensor) -> "KeyValueCache":
        """Room for `capacity` positions, on the device and in the precision of `like`."""
        shape = (rows, heads, capacity, head_width)
        return cls(like.new_empty(shape), like.new_empty(shape))

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add positions, each (rows, heads, new, head width); returns all keys and values so far."""
        end = self.length + key.size(2)
        if end > self.keys.size(2):
            raise ValueError(f"cache holds {self.keys.size(2)} positions, {end} are needed")
        self.keys[:, :, self.length : end] = key
        self.values[:, :, self.length : end] = value
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, rows: Tensor) -> "KeyValueCache":
        """The past of the hypotheses `rows` (n,), which may repeat: new row i continues old rows[i].

        Only filled positions are copied; the room is reused when the new rows fit into it.
        """
        return KeyValueCache(self._select(self.keys, rows), self._select(self.values, rows), self.length)

    def _select(self, room: Tensor, rows: Tensor) -> Tensor:
        filled = room[:, :, : self.length].index_select(0, rows)
        if rows.numel() > room.size(0):
            room = torch.empty((rows.numel(), *room.shape[1:]), dtype=room.dtype, device=room.device)
        room = room[: rows.numel()]
        room[:, :, : self.length] = filled
        return room
