"""Word alignments from the cross-attention of one pass over sentences and finished translations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.errors import ConfigError, Unsupported
from saccade.model_folder.heads import AlignmentHeads
from saccade.text.batching import plan_for_inference
from saccade.text.pharaoh import Link
from saccade.text.word_pieces import word_numbers
from saccade.use.text_decoder import Ids, TextDecoder

_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs as lines, and as ids with the end symbol last."""

    sources: Sequence[str]
    targets: Sequence[str]
    source_ids: Ids
    target_ids: Ids


def aligned_words(text: TextDecoder, pairs: Pairs, heads: AlignmentHeads | None) -> list[tuple[Link, ...]]:
    """The links of each pair: each target word with the source word that gets most weight.

    heads: whose weights are averaged; None: all heads of the last layer but one, or of the only one.
    Raises UserError for a model that has no such heads or does not align.
    """
    found: list[tuple[Link, ...]] = [()] * len(pairs.sources)
    for row, layers in word_weights(text, pairs):
        found[row] = links_by(chosen_weights(layers, heads))
    return found


def word_weights(text: TextDecoder, pairs: Pairs) -> Iterator[tuple[int, list[Tensor]]]:
    """For each pair with words on both sides its number and, for each layer, the weights of words.

    Weights are (heads, target words, source words): summed over the pieces of a source word and averaged over
    those of a target word, without special symbols, so that rows sum to less than 1.
    """
    numbers = (
        word_numbers(text.tokenizer, pairs.sources, pairs.source_ids, side="source"),
        word_numbers(text.tokenizer, pairs.targets, pairs.target_ids, side="target"),
    )
    usable = [row for row, own in enumerate(zip(*numbers, strict=True)) if min(map(max, own)) >= 0]
    lengths = [max(len(pairs.source_ids[row]), len(pairs.target_ids[row])) for row in usable]
    for batch in plan_for_inference(lengths, batch_tokens=_BATCH_TOKENS) if usable else ():
        rows = [usable[int(place)] for place in batch]
        layers = _recorded(text, pairs, rows)
        for place, row in enumerate(rows):
            sides = numbers[0][row], numbers[1][row]
            yield row, [_of_words(layer[place], *sides) for layer in layers]


def chosen_weights(layers: Sequence[Tensor], heads: AlignmentHeads | None) -> Tensor:
    """The mean weights (target words, source words) of the chosen heads; see `aligned_words`."""
    if heads is None:
        return layers[max(len(layers) - 1, 1) - 1].mean(0)
    if heads.layer > len(layers):
        raise ConfigError(f"layer {heads.layer}: the decoder has {len(layers)} with cross-attention.")
    layer = layers[heads.layer - 1]
    if max(heads.heads, default=0) > len(layer):
        raise ConfigError(f"head {max(heads.heads)}: layer {heads.layer} has {len(layer)} of them.")
    return (layer[[head - 1 for head in heads.heads]] if heads.heads else layer).mean(0)


def links_by(weights: Tensor) -> tuple[Link, ...]:
    """A link for each row of weights (target words, source words): to the first greatest of the row."""
    return tuple(sorted((source, target) for target, source in enumerate(weights.argmax(-1).tolist())))


@torch.inference_mode()
def _recorded(text: TextDecoder, pairs: Pairs, rows: Sequence[int]) -> list[Tensor]:
    """The weights (rows, heads, target, source) of each layer, in float64 on the CPU."""
    batch = text.padded([pairs.source_ids[row] for row in rows])
    maps = text.decoder.align(*batch, [pairs.target_ids[row] for row in rows])
    if not maps:
        raise Unsupported("this model has no cross-attention to align by.")
    return [one.weights.double().cpu() for one in maps]


def _of_words(weights: Tensor, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """The weights (heads, target words, source words) of weights (heads, target, source) of pieces.

    source, target: the number of each piece's word, -1 for none. A model may record fewer target positions.
    """
    sums = _belongs(target[: weights.size(1)])  # (target words, target)
    means = sums / sums.sum(1, keepdim=True).clamp(min=1.0)
    return means @ weights[:, : len(target), : len(source)] @ _belongs(source).T


def _belongs(numbers: Sequence[int]) -> Tensor:
    """A matrix (words, pieces) with 1 where a piece belongs to a word."""
    words = torch.arange(max(numbers) + 1)[:, None]
    return (words == torch.tensor(numbers)).double()
