"""Columns of lines that are not in a cache, as a model reads them when it is used."""

from collections.abc import Sequence

import numpy as np
import torch

from saccade.text.batching import PaddedColumn
from saccade.text.corpus import Line
from saccade.text.encode import TextColumn


def padded_columns(columns: Sequence[TextColumn], lines: Sequence[Line]) -> dict[str, PaddedColumn]:
    """The columns of lines by name, padded on the right as in a batch; those aligned share their lengths."""
    found: dict[str, PaddedColumn] = {}
    for text in columns:
        declared, rows = text.column, text.encode(lines)
        lengths = torch.tensor([len(row) for row in rows])
        shape = (len(rows), int(lengths.max()), *declared.shape)
        values = np.full(shape, declared.pad, dtype=declared.batch_dtype)  # (rows, longest[, width])
        for place, row in enumerate(rows):
            values[place, : len(row)] = row
        found[declared.name] = PaddedColumn(
            torch.from_numpy(values), lengths, declared.pad, int(lengths.sum())
        )
    return found
