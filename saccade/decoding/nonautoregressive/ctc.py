"""CTC decoding: the most likely path, collapsed, or a prefix search that sums over the paths of a target."""

from collections.abc import Sequence
from itertools import count, groupby

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.chosen import conditional, log_probs_at, undefined
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.nonautoregressive.options import CtcDecoding
from saccade.decoding.nonautoregressive.prefix_search import prefix_search
from saccade.decoding.nonautoregressive.rounds import only_round
from saccade.decoding.nonautoregressive.top_tokens import top_k_tokens, top_token_rows
from saccade.decoding.rerank import Reranker, rerank
from saccade.decoding.trace import Rounds
from saccade.models.nonautoregressive.ctc import Ctc
from saccade.nn.ctc import best_paths as viterbi
from saccade.nn.ctc import prefix_log_probs


class CtcDecoder(NonAutoregressiveDecoder[Ctc]):
    """The decoder of the scheme `Ctc`, whose slots depend on the source alone."""

    scheme = Ctc
    options = CtcDecoding
    reads_target = False

    def write(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: CtcDecoding,
        lines: Sequence[int],
    ) -> list[list[Hypothesis]]:
        """See `decode_ctc`."""
        return decode_ctc(self.engine, source, source_lengths, options=options, reranker=self.reranker)

    def log_probs(
        self,
        source: Tensor,
        source_lengths: Tensor,
        targets: Sequence[Sequence[int]],
        *,
        options: CtcDecoding | None = None,
        prefixes: Sequence[Sequence[int]] = (),
    ) -> Tensor:
        """See `Decoder.log_probs`: summed over all paths to each target."""
        return ctc_log_probs(self.trained, source, source_lengths, [target[:-1] for target in targets])

    def summed(self, options: CtcDecoding, *, given: bool) -> str:
        """See `NonAutoregressiveDecoder.summed`."""
        if given:
            return "all paths to the target"
        return "the most likely path" if options.candidates == 1 else "the paths that the search followed"

    def force(self, source: Tensor, source_lengths: Tensor, pieces: list[int]) -> None:
        """See `NonAutoregressiveDecoder.force`."""
        self.trained.write(self.trained.body.encode(source, source_lengths))

    def axis(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:
        """The ids in the slots of the most likely path."""
        [[found]] = best_paths(self.trained, source, source_lengths)
        return list(found.path)

    def rounds(self, source: Tensor, source_lengths: Tensor, found: Hypothesis) -> Rounds:
        """See `NonAutoregressiveDecoder.rounds`: the slots of the most likely path."""
        hidden, _ = self.trained.write(self.trained.body.encode(source, source_lengths))
        path = self.axis(source, source_lengths, found.tokens)
        return only_round(self.trained.body, hidden[0], path, never=_never(self.trained))

    def outputs(self, target: Sequence[int]) -> list[int]:
        """The target with its end symbol, which stands for the end of all slots."""
        return list(target)

    def slots(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[tuple[int, ...]]:
        """The slots of each token on the most likely path to the target; the end symbol has none."""
        scheme, pieces = self.trained, list(target[:-1])
        values = _emitted(scheme, source, pieces)
        sizes = (torch.tensor([size], device=source.device) for size in (values.size(1), len(pieces)))
        ids = torch.tensor([pieces], dtype=torch.int64, device=source.device)
        path, _ = viterbi(values, ids, *sizes, blank=scheme.blank)
        places = count()
        groups = [(token, tuple(next(places) for _ in own)) for token, own in groupby(path[0].tolist())]
        return [*(own for token, own in groups if token != scheme.blank), ()]

    def token_log_probs(self, source: Tensor, target: Sequence[int], rounds: Rounds) -> Tensor:
        """See `NonAutoregressiveDecoder.token_log_probs`: given the tokens before, summed over all paths."""
        if source.size(1) < 2:
            return undefined(source, len(target))
        ids = torch.tensor(target[:-1], dtype=torch.int64, device=source.device)
        values = _emitted(self.trained, source, target[:-1])
        return conditional(prefix_log_probs(values, ids, blank=self.trained.blank))

    def copies(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> Tensor:
        """See `NonAutoregressiveDecoder.copies`."""
        return self.trained.copies(self.trained.body.encode(source, source_lengths))


def decode_ctc(
    scheme: Ctc,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: CtcDecoding,
    reranker: Reranker | None = None,
) -> list[list[Hypothesis]]:
    """Decodes a batch; returns one hypothesis for each sentence.

    log_prob and score: with one candidate those of `best_paths`; with several those of all paths that were
    found, and the score is the reranker's if there is a reranker.
    """
    if options.candidates == 1:
        return best_paths(scheme, source, source_lengths)
    found = best_targets(scheme, source, source_lengths, count=options.candidates)
    return rerank(found, source, source_lengths, reranker)


def best_paths(scheme: Ctc, source: Tensor, source_lengths: Tensor) -> list[list[Hypothesis]]:
    """Decodes greedily; returns one hypothesis for each sentence.

    log_prob and score: those of the most likely path, one of many that collapse to the same target.
    """
    hidden, lengths = scheme.write(scheme.body.encode(source, source_lengths))  # (sentences, slots, width)
    paths, log_probs = top_token_rows(scheme, hidden, lengths, never=_never(scheme))
    return [
        [Hypothesis(tuple(collapse(path, blank=scheme.blank)), log_prob, log_prob, path=tuple(path))]
        for path, log_prob in zip(paths, log_probs, strict=True)
    ]


def best_targets(
    scheme: Ctc, source: Tensor, source_lengths: Tensor, *, count: int
) -> list[list[Hypothesis]]:
    """Runs a prefix search of width `count`; returns up to `count` hypotheses for each sentence, best first.

    log_prob and score: those of the paths that it followed, a little below those of all paths.
    """
    hidden, lengths = scheme.write(scheme.body.encode(source, source_lengths))
    real = torch.arange(hidden.size(1), device=hidden.device) < lengths[:, None]  # (sentences, slots)
    never = _never(scheme)
    choices = min(count, scheme.body.output.out_features - len(never) - 1)
    few = top_k_tokens(scheme.body, hidden[real], count=choices, aside=scheme.blank, never=never)
    blank, tokens, log_probs = (_placed(values, real) for values in few)
    found = (x.tolist() for x in prefix_search(blank, tokens, log_probs, lengths, kept=count))
    return [
        [
            Hypothesis(tuple(ids[:length]), log_prob, log_prob)
            for ids, length, log_prob in zip(*row, strict=True)
            if log_prob > -torch.inf
        ]
        for row in zip(*found, strict=True)
    ]


def ctc_log_probs(
    scheme: Ctc, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
) -> Tensor:
    """Log-probability in nats of each target, summed over all its paths; float64 (batch,).

    It is -inf for a target that does not fit into the slots. targets: ids without end symbol.
    """
    hidden, slots = scheme.write(scheme.body.encode(source, source_lengths))
    log_probs = scheme.body.output(hidden).log_softmax(-1, dtype=torch.float32)  # (batch, slots, vocabulary)
    log_probs = log_probs.double().transpose(0, 1)  # (slots, batch, vocabulary), as ctc_loss expects
    lengths = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([token for target in targets for token in target], device=source.device)
    loss: Tensor = ctc_loss(log_probs, flat, slots, lengths, blank=scheme.blank, reduction="none")
    return -loss


def collapse(path: list[int], *, blank: int) -> list[int]:
    """Merges repetitions, then removes blanks (Graves et al. 2006, section 3.1)."""
    return [token for token, _ in groupby(path) if token != blank]


def _emitted(scheme: Ctc, source: Tensor, pieces: Sequence[int]) -> Tensor:
    """Log-probabilities, float64 (rows, slots, 1 + pieces), of the blank and of the pieces in each slot."""
    lengths = torch.full_like(source[:, 0], source.size(1))
    hidden, _ = scheme.write(scheme.body.encode(source, lengths))
    ids = torch.tensor([scheme.blank, *pieces], device=source.device)
    return log_probs_at(scheme.body.output, hidden, ids.expand(*hidden.shape[:2], -1))


def _never(scheme: Ctc) -> list[int]:
    return [token for token in scheme.special if token != scheme.blank]


def _placed(values: Tensor, real: Tensor) -> Tensor:
    """Scatters the values (positions, ...) of real positions into (sentences, slots, ...)."""
    whole = values.new_zeros(*real.shape, *values.shape[1:])
    whole[real] = values
    return whole
