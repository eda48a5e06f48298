"""Requests that cannot be met, refused before any work: ids that do not exist, and more than memory holds."""

import torch

from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError
from saccade.machine import gigabytes, total_memory
from saccade.models.interface import Vocabulary

_SEARCHED, _SAMPLED = 12, 48
"""Bytes for each hypothesis and id of the vocabulary while a token is chosen: logits, sums, sorted copies."""
_SMALL = 1_000_000_000  # bytes that are not worth a look at the memory


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
    if (memory := total_memory(device)) is not None and choosing + writing > memory:
        name = "nbest" if options.sample else "beam"
        raise ConfigError(
            f"decoding.{name} = {rows:,}: a sentence would need about {gigabytes(choosing + writing)} for "
            f"its hypotheses and {vocabulary.target_size:,} pieces, more than the {gigabytes(memory)} of "
            "memory. Lower it."
        )
