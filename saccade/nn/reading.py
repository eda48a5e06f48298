"""The settings for reading running text with a language model, on which its weights do not depend.

This file does not import torch, so that the command line can offer the settings quickly.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from saccade.config import Section

_DISTANCES = "only Transformer-XL uses distances between tokens; this model has no such setting"

MOST = 32_768
"""Bound of the tokens that are read at a time, and of those that are looked back at: attention grows with the
product of the two."""


class LanguageModelConfig(Section):
    """The settings of every language model."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "memory": "only transformer-xl and transformer-lm look back at tokens; this model keeps a state",
        "same_length": _DISTANCES,
        "clamp_length": _DISTANCES,
    }
    segment: int = Field(128, ge=1, le=MOST)
    """Number of tokens read at a time; in training, gradients flow through one segment."""


class MemoryConfig(LanguageModelConfig):
    """The settings of models that look back at a number of tokens, which can be changed after training."""

    memory: int = Field(128, ge=0, le=MOST)
    """Number of tokens before the segment that the model sees: their hidden states are kept (transformer-xl)
    or they are read again (transformer-lm)."""


class DistanceConfig(MemoryConfig):
    """The settings of models that use distances between tokens."""

    same_length: bool = False
    """Whether every token attends to equally many keys (`memory` of them, itself included); otherwise it also
    attends to all earlier tokens of its segment."""
    clamp_length: int | None = Field(None, ge=1, le=2 * MOST)
    """Greatest distance between tokens; longer ones count as this one. Unset: no limit."""


OVERRIDABLE = tuple(DistanceConfig.model_fields)
"""Settings of a trained language model that can be changed when it is used."""
