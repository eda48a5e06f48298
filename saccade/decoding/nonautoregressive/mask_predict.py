"""Mask-predict decoding: several rounds, each of which masks the least certain tokens and predicts them again
(Ghazvininejad et al. 2019, section 3)."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.nonautoregressive.lowest import lowest
from saccade.decoding.nonautoregressive.options import MaskPredictDecoding
from saccade.decoding.padding import padded
from saccade.decoding.rerank import Reranker, rerank
from saccade.models.nonautoregressive.interface import AnyMemory
from saccade.models.nonautoregressive.mask_predict import MaskPredict
from saccade.models.recording import AttentionMap, cross_maps, record_attention


class MaskPredictDecoder(NonAutoregressiveDecoder[MaskPredict]):
    """The decoder of the scheme `MaskPredict`."""

    scheme = MaskPredict
    options = MaskPredictDecoding

    def write(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: MaskPredictDecoding,
        lines: Sequence[int],
    ) -> list[list[Hypothesis]]:
        """See `decode_masked`."""
        return decode_masked(self.engine, source, source_lengths, options=options, reranker=self.reranker)

    def summed(self, options: MaskPredictDecoding, *, given: bool) -> str:
        """See `NonAutoregressiveDecoder.summed`."""
        return "the tokens, each in the round that wrote it"

    def align(
        self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
    ) -> list[AttentionMap]:
        """See `Decoder.align`: one pass over the whole targets, without masks and without end symbols."""
        pieces, lengths = padded([target[:-1] for target in targets], pad=0, device=source.device)
        with record_attention(cast(nn.Module, self.trained.body)) as maps:
            self.trained.write(pieces, lengths, self.trained.body.encode(source, source_lengths))
        return cross_maps(maps.values())

    def force(self, source: Tensor, source_lengths: Tensor, pieces: list[int]) -> None:
        """See `NonAutoregressiveDecoder.force`: no token is masked."""
        memory = self.trained.body.encode(source, source_lengths)
        tokens = torch.tensor([pieces], device=source.device)
        self.trained.write(tokens, torch.tensor([len(pieces)], device=source.device), memory)


def decode_masked(
    scheme: MaskPredict,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: MaskPredictDecoding,
    reranker: Reranker | None = None,
) -> list[list[Hypothesis]]:
    """Decodes a batch; returns one hypothesis for each sentence.

    log_prob: the sum over its tokens, each as of the round that wrote it; score: their mean, by which one of
    the lengths is chosen, or the reranker's score.
    """
    memory = scheme.body.encode(source, source_lengths)
    logits = scheme.length_logits(memory)
    count = min(options.candidates, logits.size(1))
    lengths = scheme.length_of(logits.topk(count).indices, memory).flatten()  # (sentences * count,)
    sentences = torch.arange(len(source), device=source.device).repeat_interleave(count)
    tokens, log_probs = refine(scheme, memory.select(sentences), lengths, iterations=options.iterations)
    totals = log_probs.double().sum(1)
    means = totals / lengths
    found = [
        Hypothesis(tuple(ids), log_prob, score)
        for ids, log_prob, score in zip(
            token_rows(tokens, lengths), totals.tolist(), means.tolist(), strict=True
        )
    ]
    candidates = [found[i : i + count] for i in range(0, len(found), count)]
    return rerank(candidates, source, source_lengths, reranker if count > 1 else None)


def refine(
    scheme: MaskPredict, memory: AnyMemory, lengths: Tensor, *, iterations: int
) -> tuple[Tensor, Tensor]:
    """Predicts `lengths` (rows,) tokens; returns ids and log-probabilities (rows, longest), padded with 0.

    Round t of T, from 0, masks the floor(N (T - t) / T) least certain of N tokens, at least one.
    """
    real = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    tokens = torch.zeros(real.shape, dtype=torch.int64, device=lengths.device)
    log_probs = torch.zeros(real.shape, device=lengths.device)
    for done in range(iterations):
        count = (lengths * (iterations - done) // iterations).clamp(min=1)
        masked = lowest(log_probs, real, count) if done else real
        hidden = scheme.write(tokens.masked_fill(masked, scheme.mask), lengths, memory)
        tokens[masked], log_probs[masked] = scheme.body.argmax(hidden[masked], never=scheme.special)
    return tokens, log_probs


def token_rows(values: Tensor, lengths: Tensor) -> list[list[int]]:
    """The ids of each row of `values` (rows, longest), cut to its length."""
    rows: list[list[int]] = values.tolist()
    return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
