"""Requests that cannot be met, refused before any work: ids that do not exist, and more than memory holds."""

import os
from pathlib import Path

import torch

from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError
from saccade.models.interface import Vocabulary

_SEARCHED, _SAMPLED = 12, 48
"""Bytes for each hypothesis and id of the vocabulary while a token is chosen: logits, sums, sorted copies."""
_SMALL = 1_000_000_000  # bytes that are not worth a look at the memory
_OF_GROUP = Path("/sys/fs/cgroup/memory.max")


def check_search(
    options: DecodingConfig, vocabulary: Vocabulary, *, device: torch.device | str = "cpu"
) -> None:
    """Raises UserError for banned ids outside the vocabulary, and if one sentence needs more than memory."""
    if outside := [one for one in options.banned if one >= vocabulary.target_size]:
        raise ConfigError(
            f"decoding.banned: the vocabulary has no id {outside[0]:,}; its ids are 0 to "
            f"{vocabulary.target_size - 1:,}."
        )
    rows = options.rows_per_sentence
    choosing = rows * vocabulary.target_size * (_SAMPLED if options.sample else _SEARCHED)
    writing = 16 * rows * max(options.max_length or options.max_extra, options.min_length)
    if choosing + writing < _SMALL:
        return
    if (memory := memory_of(device)) is not None and choosing + writing > memory:
        name = "nbest" if options.sample else "beam"
        raise ConfigError(
            f"decoding.{name} = {rows:,}: a sentence would need about {_gigabytes(choosing + writing)} for "
            f"its hypotheses and {vocabulary.target_size:,} pieces, more than the {_gigabytes(memory)} of "
            "memory. Lower it."
        )


def memory_of(device: torch.device | str) -> int | None:
    """The bytes of memory that this process may use on a device, whether free or not; None if unknown."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return torch.cuda.get_device_properties(kind).total_memory
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on every system
        return None
    try:
        return min(found, int(_OF_GROUP.read_text(encoding="ascii")))  # the limit of a container
    except (OSError, ValueError):
        return found


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
