"""How a language model reads running text: settings that its weights do not depend on.

Importing this file costs no torch, so that a command line can offer the settings.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import NonNegativeInt, PositiveInt

from saccade.config import Section

_DISTANCES = "only Transformer-XL counts distances between tokens; this model has no such setting"


class LanguageModelConfig(Section):
    """Base of every language model's configuration."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "memory": "only transformer-xl and transformer-lm look back at tokens; this model keeps a state",
        "same_length": _DISTANCES,
        "clamp_length": _DISTANCES,
    }
    segment: PositiveInt = 128
    """Number of tokens read at a time; in training, gradients flow through one segment."""


class MemoryConfig(LanguageModelConfig):
    """Base of those that look back at a number of tokens, which can be chosen after training as well."""

    memory: NonNegativeInt = 128
    """Number of tokens before the segment that the model sees: their hidden states are kept (transformer-xl)
    or they are read again (transformer-lm)."""


class DistanceConfig(MemoryConfig):
    """Base of those that tell tokens apart by their distance."""

    same_length: bool = False
    """Whether every token attends to equally many keys (`memory` of them, itself included); otherwise it also
    attends to all earlier tokens of its segment."""
    clamp_length: PositiveInt | None = None
    """Largest distance between tokens; longer ones count as this one. Unset: no limit."""


OVERRIDABLE = tuple(DistanceConfig.model_fields)
"""Settings of a trained language model that can be changed when it is used."""
