from __future__ import annotations

from saccade.models.interface import Attending
from saccade.nn.attention import CrossAttention, SelfAttention
from saccade.nn.layers import FeedForward


def test_attention_modules_are_recordable_and_others_are_not() -> None:
    assert isinstance(SelfAttention(4, heads=2, causal=True), Attending)
    assert isinstance(CrossAttention(4, heads=2), Attending)
    assert not isinstance(FeedForward(4, 8), Attending)
