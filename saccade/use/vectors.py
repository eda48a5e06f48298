"""Vectors of texts as a file of NumPy arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from saccade.errors import ConfigError, InputError
from saccade.storage.files import replace_file
from saccade.use.predictor import Embedded


def write_vectors(embedded: Sequence[Embedded], out: Path) -> None:
    """Writes an .npz file of float32 arrays, without pickles.

    vectors (texts, width): one for each text; states (pieces, width): those of all pieces, one text after
    another; offsets (texts + 1,): where each text's begin; pieces (pieces,): what they are.

    Raises UserError for another ending, and if there is nothing to write.
    """
    if out.suffix.lower() != ".npz":
        raise ConfigError(f"{out}: the name of a file of vectors must end in .npz.")
    if not embedded:
        raise InputError("the text is empty: there are no vectors to write.")
    lengths = [len(one.pieces) for one in embedded]
    arrays = {
        "vectors": np.stack([one.vector.numpy() for one in embedded]),
        "states": np.concatenate([one.states.numpy() for one in embedded]),
        "offsets": np.cumsum([0, *lengths]),
        "pieces": np.array([piece for one in embedded for piece in one.pieces], dtype=np.str_),
    }
    with replace_file(out) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
