"""Mask-predict decoding: several rounds, each of which masks the least certain tokens and predicts them again
(Ghazvininejad et al. 2019, section 3)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.chosen import log_probs_at, undefined
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.nonautoregressive.lowest import lowest
from saccade.decoding.nonautoregressive.options import MaskPredictDecoding
from saccade.decoding.nonautoregressive.rounds import later_round, likeliest
from saccade.decoding.padding import padded
from saccade.decoding.rerank import Reranker, rerank
from saccade.decoding.trace import Round, Rounds
from saccade.models.nonautoregressive.interface import AnyMemory
from saccade.models.nonautoregressive.mask_predict import MaskPredict
from saccade.models.recording import AttentionMap, cross_maps, record_attention

Watch = Callable[[Tensor, Tensor, Tensor, Tensor], None]
"""What `refine` calls after each round."""


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

    @torch.inference_mode()
    def traced(
        self, source: Tensor, source_lengths: Tensor, *, options: MaskPredictDecoding, prefix: Sequence[int]
    ) -> tuple[list[Hypothesis], Rounds]:
        """See `Decoder.traced`."""
        if any(prefix):
            self.decode(source, source_lengths, options=options, lines=[0], prefixes=[prefix])
        watched = _Watched(self.engine)
        [found] = decode_masked(
            self.engine, source, source_lengths, options=options, reranker=self.reranker, watch=watched
        )
        return found, watched.rounds(len(found[0].tokens))

    def rounds(self, source: Tensor, source_lengths: Tensor, found: Hypothesis) -> Rounds:
        """No rounds: those of a translation are watched while it is decoded."""
        return ()

    def attended(
        self, source: Tensor, source_lengths: Tensor, target: Sequence[int], rounds: Rounds
    ) -> list[AttentionMap]:
        """See `NonAutoregressiveDecoder.attended`: row t is of the round that wrote token t."""
        if not rounds:
            return self.attention(source, source_lengths, target)
        read, owner = _contexts(rounds, self.trained.mask, source.device)
        with record_attention(cast(nn.Module, self.trained.body)) as maps:
            self._hidden(source, read)
        places = torch.arange(len(owner), device=source.device)
        return [
            one
            if one.kind == "encoder"
            else replace(one, weights=one.weights[owner, :, places].transpose(0, 1)[None])
            for one in maps.values()
        ]

    def token_log_probs(self, source: Tensor, target: Sequence[int], rounds: Rounds) -> Tensor:
        """See `NonAutoregressiveDecoder.token_log_probs`: given what the round that wrote the token read.

        Without rounds, it is not defined: a token's probability depends on which others are masked.
        """
        pieces = list(target[:-1])
        if not rounds or source.size(1) < 2:
            return undefined(source, len(pieces))
        read, owner = _contexts(rounds, self.trained.mask, source.device)
        hidden = self._hidden(source, read)[:, owner, torch.arange(len(owner), device=source.device)]
        gold = torch.tensor(pieces, device=source.device).expand(len(source), -1)
        return log_probs_at(self.trained.body.output, hidden, gold[..., None])[..., 0]

    def _hidden(self, source: Tensor, read: Tensor) -> Tensor:
        """Hidden states (rows, contexts, target, width) of read (contexts, target) for each source."""
        scheme, (rows, length) = self.trained, source.shape
        contexts, width = read.shape
        memory = scheme.body.encode(source, torch.full_like(source[:, 0], length))
        every = torch.arange(rows, device=source.device).repeat_interleave(contexts)
        lengths = torch.full_like(every, width)
        hidden = scheme.write(read.repeat(rows, 1), lengths, memory.select(every))
        return hidden.view(rows, contexts, width, -1)


def decode_masked(
    scheme: MaskPredict,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: MaskPredictDecoding,
    reranker: Reranker | None = None,
    watch: Watch | None = None,
) -> list[list[Hypothesis]]:
    """Decodes a batch; returns one hypothesis for each sentence. watch: see `refine`.

    log_prob: the sum over its tokens, each as of the round that wrote it; score: their mean, by which one of
    the lengths is chosen, or the reranker's score.
    """
    memory = scheme.body.encode(source, source_lengths)
    logits = scheme.length_logits(memory)
    count = min(options.candidates, logits.size(1))
    lengths = scheme.length_of(logits.topk(count).indices, memory).flatten()  # (sentences * count,)
    sentences = torch.arange(len(source), device=source.device).repeat_interleave(count)
    tokens, log_probs = refine(
        scheme, memory.select(sentences), lengths, iterations=options.iterations, watch=watch
    )
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
    scheme: MaskPredict,
    memory: AnyMemory,
    lengths: Tensor,
    *,
    iterations: int,
    watch: Watch | None = None,
) -> tuple[Tensor, Tensor]:
    """Predicts `lengths` (rows,) tokens; returns ids and log-probabilities (rows, longest), padded with 0.

    Round t of T, from 0, masks the floor(N (T - t) / T) least certain of N tokens, at least one. watch is
    called after each round with the ids, the log-probabilities, the mask of what was written, and the hidden
    states (rows, longest, width).
    """
    real = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    tokens = torch.zeros(real.shape, dtype=torch.int64, device=lengths.device)
    log_probs = torch.zeros(real.shape, device=lengths.device)
    for done in range(iterations):
        count = (lengths * (iterations - done) // iterations).clamp(min=1)
        masked = lowest(log_probs, real, count) if done else real
        hidden = scheme.write(tokens.masked_fill(masked, scheme.mask), lengths, memory)
        tokens[masked], log_probs[masked] = scheme.body.argmax(hidden[masked], never=scheme.special)
        if watch is not None:
            watch(tokens, log_probs, masked, hidden)
    return tokens, log_probs


class _Watched:
    """The rounds of every length that is tried for one sentence."""

    def __init__(self, scheme: MaskPredict) -> None:
        self.scheme = scheme
        self._rows: dict[int, int] = {}  # the row of each length
        self._rounds: dict[int, list[Round]] = {}

    def __call__(self, tokens: Tensor, log_probs: Tensor, masked: Tensor, hidden: Tensor) -> None:
        if not self._rows:  # the first round masks everything
            lengths = masked.sum(1).tolist()
            self._rows = {length: lengths.index(length) for length in lengths}
        for length, row in self._rows.items():
            own = slice(0, length)
            written = masked[row, own]
            candidates = likeliest(self.scheme.body, hidden[row, own][written], never=self.scheme.special)
            one = later_round(tokens[row, own], log_probs[row, own], written, candidates)
            self._rounds.setdefault(length, []).append(one)

    def rounds(self, length: int) -> Rounds:
        """Those of the translation of this length."""
        return tuple(self._rounds[length])


def _contexts(rounds: Rounds, mask: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What each round read (rounds, target), and the last round that wrote each token (target,)."""
    before: tuple[int, ...] = (mask,) * len(rounds[0].tokens)
    read, owner = [], torch.zeros(len(before), dtype=torch.int64, device=device)
    for number, one in enumerate(rounds):
        written = torch.tensor(one.written, device=device)
        read.append(torch.tensor(before, device=device).masked_fill(written, mask))
        owner[written] = number
        before = one.tokens
    return torch.stack(read), owner


def token_rows(values: Tensor, lengths: Tensor) -> list[list[int]]:
    """The ids of each row of `values` (rows, longest), cut to its length."""
    rows: list[list[int]] = values.tolist()
    return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
