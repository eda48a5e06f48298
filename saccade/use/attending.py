"""Attention maps of one pass over a sentence and a finished translation, labelled with their pieces."""

from collections.abc import Sequence

import torch

from saccade.models.recording import AttentionMap, labelled
from saccade.use.text_decoder import TextDecoder

Ids = Sequence[int]


@torch.inference_mode()
def attention_maps(text: TextDecoder, source: Ids, target: Ids) -> tuple[AttentionMap, ...]:
    """The maps of all modules. source, target: ids, the end symbol last."""
    read, axis = attended_pieces(text, source, target)
    sides = {"source": read, "target": axis}
    return tuple(labelled(one, sides) for one in text.decoder.attention(*text.padded([source]), target))


@torch.inference_mode()
def attended_pieces(text: TextDecoder, source: Ids, target: Ids) -> tuple[list[str], list[str]]:
    """The pieces along the source and the target axis of these maps."""
    axis = text.decoder.axis(*text.padded([source]), target)
    return text.tokenizer.source_pieces(list(source)), text.tokenizer.target_pieces(axis)
