"""Attention maps of one pass over a sentence and a finished translation, labelled with their pieces."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.interface import Decoder
from saccade.models.recording import AttentionMap, labelled
from saccade.text.tokenizer import Tokenizer


@torch.inference_mode()
def attention_maps(
    decoder: Decoder, tokenizer: Tokenizer, batch: tuple[Tensor, Tensor], target: Sequence[int]
) -> tuple[AttentionMap, ...]:
    """The maps of all modules. batch: ids (1, source) and length; target: its ids, the end symbol last."""
    source, axis = attended_pieces(decoder, tokenizer, batch, target)
    sides = {"source": source, "target": axis}
    return tuple(labelled(one, sides) for one in decoder.attention(*batch, target))


@torch.inference_mode()
def attended_pieces(
    decoder: Decoder, tokenizer: Tokenizer, batch: tuple[Tensor, Tensor], target: Sequence[int]
) -> tuple[list[str], list[str]]:
    """The pieces along the source and the target axis of these maps."""
    source: list[int] = batch[0][0].tolist()
    return tokenizer.source_pieces(source), tokenizer.target_pieces(decoder.axis(*batch, target))
