"""The keyword arguments that a type checker knows are those of the sections."""

from __future__ import annotations

from saccade.decoding.keywords import ContinuationOptions, DecodingOptions
from saccade.decoding.nonautoregressive.options import CtcDecoding, FertilityDecoding, MaskPredictDecoding
from saccade.decoding.options import DecodingConfig
from saccade.decoding.text_options import ContinuationConfig


def test_translate_takes_the_settings_of_every_kind_of_model() -> None:
    sections = (DecodingConfig, CtcDecoding, FertilityDecoding, MaskPredictDecoding)
    names = {name for section in sections for name in section.model_fields}
    assert set(DecodingOptions.__annotations__) == names


def test_generate_takes_the_settings_of_language_models() -> None:
    assert set(ContinuationOptions.__annotations__) == set(ContinuationConfig.model_fields)
