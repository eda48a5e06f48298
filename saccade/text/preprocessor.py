"""The interface of what makes columns of a model's input, and is stored with the model."""

from pathlib import Path
from typing import Protocol


class Preprocessor(Protocol):
    """The interface of preprocessors, all that a model folder and a training run need to know of one.

    A family whose input is numbers needs no more; a `saccade.text.tokenizer.Tokenizer`, which families that
    read or write text have, also turns strings into ids and back. Besides these members, a preprocessor has
    a `kind`, by which it is entered in `saccade.text.tokenizer.PREPROCESSORS`.
    """

    @property
    def source_vocab_size(self) -> int:
        """Number of source ids, which are 0 to this number - 1; of frames, the values at each position."""

    @property
    def target_vocab_size(self) -> int:
        """Number of target ids."""

    @property
    def pad(self) -> int:
        """Id of padding, the same on both sides."""

    @property
    def start(self) -> int:
        """Target id that the decoder starts with."""

    @property
    def end(self) -> int:
        """Id at the end of a sentence, the same on both sides."""

    @property
    def shared(self) -> bool:
        """Whether source ids and target ids mean the same pieces."""

    def save(self, folder: Path) -> None:
        """Writes everything that `load_preprocessor(folder)` needs."""
