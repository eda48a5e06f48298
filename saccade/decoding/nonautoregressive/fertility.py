"""Decoding with fertilities: argmax, average, noisy parallel decoding (Gu et al. 2018, section 4.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.chosen import log_probs_at, undefined
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.nonautoregressive.forced_fertilities import most_likely_with_sum
from saccade.decoding.nonautoregressive.options import FertilityDecoding
from saccade.decoding.nonautoregressive.rounds import only_round
from saccade.decoding.nonautoregressive.top_tokens import top_token_rows
from saccade.decoding.rerank import Reranker, rerank
from saccade.decoding.trace import Rounds
from saccade.errors import ConfigError
from saccade.models.nonautoregressive.fertility import Fertility
from saccade.models.nonautoregressive.interface import AnyMemory


class FertilityDecoder(NonAutoregressiveDecoder[Fertility]):
    """The decoder of the scheme `Fertility`."""

    scheme = Fertility
    options = FertilityDecoding

    def write(
        self, source: Tensor, source_lengths: Tensor, *, options: FertilityDecoding, lines: Sequence[int]
    ) -> list[list[Hypothesis]]:
        """See `decode_fertility`."""
        return decode_fertility(
            self.engine, source, source_lengths, options=options, lines=lines, reranker=self.reranker
        )

    def summed(self, options: FertilityDecoding, *, given: bool) -> str:
        """See `NonAutoregressiveDecoder.summed`."""
        return "the tokens given the fertilities"

    def force(self, source: Tensor, source_lengths: Tensor, pieces: list[int]) -> None:
        """See `NonAutoregressiveDecoder.force`: the most likely fertilities that add up to the length."""
        scheme = self.trained
        memory = scheme.body.encode(source, source_lengths)
        chosen = _forced(scheme, memory, len(pieces))
        scheme.write(torch.tensor([chosen], device=source.device), memory)

    def fertilities(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:
        """See `Decoder.fertilities`: those with which `attention` forces the target."""
        scheme = self.trained
        return _forced(scheme, scheme.body.encode(source, source_lengths), len(target) - 1)

    def rounds(self, source: Tensor, source_lengths: Tensor, found: Hypothesis) -> Rounds:
        """See `NonAutoregressiveDecoder.rounds`: under the fertilities with which `attention` forces it."""
        scheme = self.trained
        memory = scheme.body.encode(source, source_lengths)
        hidden, _ = scheme.write(_forced_rows(scheme, memory, len(found.tokens)), memory)
        return only_round(scheme.body, hidden[0], found.tokens, never=scheme.special)

    def token_log_probs(self, source: Tensor, target: Sequence[int], rounds: Rounds) -> Tensor:
        """See `NonAutoregressiveDecoder.token_log_probs`: given each source's likeliest fertilities."""
        scheme, pieces = self.trained, target[:-1]
        if len(pieces) > (source.size(1) - 1) * (scheme.classes(scheme.body.config) - 1):
            return undefined(source, len(pieces))
        memory = scheme.body.encode(source, torch.full_like(source[:, 0], source.size(1)))
        hidden, _ = scheme.write(_forced_rows(scheme, memory, len(pieces)), memory)
        hidden = hidden[:, : len(pieces)]
        gold = torch.tensor(pieces, dtype=torch.int64, device=source.device).expand(len(source), -1)
        return log_probs_at(scheme.body.output, hidden, gold[..., None])[..., 0]

    def copies(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> Tensor:
        """See `NonAutoregressiveDecoder.copies`."""
        memory = self.trained.body.encode(source, source_lengths)
        index, _ = self.trained.copies(_forced_rows(self.trained, memory, len(target) - 1), memory)
        return index


def decode_fertility(
    scheme: Fertility,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: FertilityDecoding,
    lines: Sequence[int],
    reranker: Reranker | None = None,
) -> list[list[Hypothesis]]:
    """Decodes a batch; returns one hypothesis for each sentence.

    log_prob: that of the tokens given the fertilities; score: the same, or the reranker's score if there are
    several candidates. Raises UserError for several candidates without a reranker.
    """
    count = options.candidates
    if count > 1 and reranker is None:
        raise ConfigError(
            f"decoding.candidates = {count}: this model cannot rank its candidates; it needs a reranker.",
            topic="reranker",
        )
    memory = scheme.body.encode(source, source_lengths)
    sequences = fertility_sequences(scheme, memory, options=options, lines=lines)
    limits = longest_targets(scheme, memory, options).tolist()
    if count == 1:
        words = top_words(scheme, sequences[:, 0], memory)
        return [[_hypothesis(*one)] for one in zip(*words, limits, strict=True)]
    # Many sequences are drawn twice. `dict` keeps the first, so the deterministic one wins ties.
    distinct = [list(dict.fromkeys(map(tuple, own))) for own in sequences.tolist()]
    counts = torch.tensor([len(own) for own in distinct], device=source.device)
    sentences = torch.arange(len(source), device=source.device).repeat_interleave(counts)
    fertilities = torch.tensor([row for own in distinct for row in own], device=source.device)
    words = top_words(scheme, fertilities, memory.select(sentences))
    own_limits = (limits[sentence] for sentence in sentences.tolist())
    found = (_hypothesis(*one) for one in zip(*words, own_limits, strict=True))
    return rerank([[next(found) for _ in own] for own in distinct], source, source_lengths, reranker)


def _forced(scheme: Fertility, memory: AnyMemory, length: int) -> list[int]:
    """The most likely fertilities of one sentence that add up to `length`, 0 for the end symbol."""
    log_probs = scheme.logits(memory)[0].log_softmax(-1)[scheme.has_fertility(memory)[0]]
    chosen = most_likely_with_sum(log_probs, length)
    return chosen + [0] * (memory.source.size(1) - len(chosen))


@torch.no_grad()
def _forced_rows(scheme: Fertility, memory: AnyMemory, length: int) -> Tensor:
    """`_forced` for each sentence: fertilities (sentences, source)."""
    rows = torch.arange(len(memory.source), device=memory.source.device)
    chosen = [_forced(scheme, memory.select(row), length) for row in rows.split(1)]
    return torch.tensor(chosen, device=memory.source.device)


def fertility_sequences(
    scheme: Fertility, memory: AnyMemory, *, options: FertilityDecoding, lines: Sequence[int]
) -> Tensor:
    """Fertilities (sentences, candidates, source): the deterministic sequence first, then random draws.

    A larger number of candidates begins with the same ones. The draws of a sentence depend on its line number
    and the seed.
    """
    logits = scheme.logits(memory).float()  # (sentences, source, classes)
    if options.fertilities == "argmax":
        first = logits.argmax(-1)
    else:
        counts = torch.arange(logits.size(-1), device=logits.device, dtype=torch.float32)
        first = (logits.softmax(-1) @ counts).round().long()
    real = scheme.has_fertility(memory)
    sequences = first[:, None]
    if options.candidates > 1:
        uniform = _draws(real, options.candidates - 1, seed=options.seed, lines=lines)
        below = logits.softmax(-1).double().cumsum(-1)[:, None, :, :-1] <= uniform.to(real.device)[..., None]
        sequences = torch.cat([sequences, below.sum(-1)], 1)
    sequences = sequences * real[:, None]
    return cut_sums(sequences, longest_targets(scheme, memory, options)[:, None])


def longest_targets(scheme: Fertility, memory: AnyMemory, options: FertilityDecoding) -> Tensor:
    """The greatest number of target pieces of each sentence, (sentences,)."""
    return (scheme.has_fertility(memory).sum(1) * options.max_ratio).long() + options.max_extra


def _hypothesis(ids: list[int], log_prob: float, limit: int) -> Hypothesis:
    return Hypothesis(tuple(ids), log_prob, log_prob, cut=len(ids) >= limit)


def top_words(
    scheme: Fertility, fertilities: Tensor, memory: AnyMemory
) -> tuple[list[list[int]], list[float]]:
    """The most likely ids given fertilities (batch, source), and the sum of their log-probabilities."""
    hidden, lengths = scheme.write(fertilities, memory)
    return top_token_rows(scheme, hidden, lengths, never=scheme.special)


def _draws(real: Tensor, count: int, *, seed: int, lines: Sequence[int]) -> Tensor:
    """Uniform numbers (sentences, count, source) in [0, 1), independent of how sentences are batched."""
    uniform = torch.zeros(real.size(0), count, real.size(1), dtype=torch.float64)
    for row, (line, length) in enumerate(zip(lines, real.sum(1).tolist(), strict=True)):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + line) % (1 << 63))
        uniform[row, :, :length] = torch.rand(count, length, generator=generator, dtype=torch.float64)
    return uniform


def cut_sums(fertilities: Tensor, most: Tensor) -> Tensor:
    """Fertilities (..., source), reduced from the end where their sum exceeds `most` (...)."""
    ends = fertilities.cumsum(-1).minimum(most[..., None])
    return ends.diff(dim=-1, prepend=torch.zeros_like(ends[..., :1]))
