"""Alignments from the cross-attention of a trained model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.errors import ConfigError, Unsupported
from saccade.text.batching import plan_for_inference
from saccade.use.translator import Translator

_BATCH_TOKENS = 2048


def aligned_by_attention(
    translator: Translator,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    layer: int | None = None,
) -> list[list[int]]:
    """Aligns each target piece with the source piece that gets the greatest attention when it is written.

    sources, targets: ids with the end symbol last. layer: the layer whose heads are averaged, from 1 at the
    bottom; unset: the last one. No piece is aligned with an end symbol. Raises UserError for a model without
    cross-attention, or without that layer.
    """
    lengths = [max(len(source), len(target)) for source, target in zip(sources, targets, strict=True)]
    found: list[list[int]] = [[] for _ in lengths]
    for batch in plan_for_inference(lengths, batch_tokens=_BATCH_TOKENS):
        rows = [int(row) for row in batch]
        weights = _weights(translator, [sources[i] for i in rows], [targets[i] for i in rows], layer)
        for row, own in zip(rows, weights, strict=True):
            pieces, words = len(sources[row]) - 1, len(targets[row]) - 1
            if pieces and words:
                found[row] = own[:words, :pieces].argmax(-1).tolist()
    return found


@torch.inference_mode()
def _weights(
    translator: Translator,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    layer: int | None,
) -> Tensor:
    """The attention weights of the layer, averaged over heads: (rows, target, source)."""
    layers = translator.decoder.align(*translator.padded(sources), targets)
    if not layers:
        raise Unsupported("this model has no cross-attention to align by.")
    if layer is not None and layer > len(layers):
        raise ConfigError(f"layer {layer}: the decoder has {len(layers)} with cross-attention.")
    return layers[-1 if layer is None else layer - 1].weights.mean(1)
