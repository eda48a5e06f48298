"""CTC: the likeliest path, collapsed, or the likeliest targets, all their paths together."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

from saccade.decoding.choice import best_of
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.likeliest import few_likeliest, likeliest_rows, special
from saccade.decoding.parallel_options import CtcDecoding
from saccade.decoding.prefix_search import prefix_search
from saccade.decoding.scoring import Judge
from saccade.models.interface import Aligned


def decode_aligned(
    model: Aligned,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: CtcDecoding,
    judge: Judge | None = None,
) -> list[list[Hypothesis]]:
    """One hypothesis a sentence. log_prob and score: those of `likeliest_paths` with one candidate; with
    several of all its paths that were found, and the score is the judge's where there is one."""
    if options.candidates == 1:
        return likeliest_paths(model, source, source_lengths)
    found = likeliest_targets(model, source, source_lengths, count=options.candidates)
    return best_of(found, source, source_lengths, judge)


def likeliest_paths(model: Aligned, source: Tensor, source_lengths: Tensor) -> list[list[Hypothesis]]:
    """One hypothesis a sentence. log_prob and score: of the likeliest path, one of the many that collapse
    to the same words."""
    hidden, lengths = model.write(model.encode(source, source_lengths))
    never = [token for token in special(model) if token != model.blank]
    paths, log_probs = likeliest_rows(model, hidden, lengths, never=never)
    return [
        [Hypothesis(tuple(collapse(path, blank=model.blank)), log_prob, log_prob, path=tuple(path))]
        for path, log_prob in zip(paths, log_probs, strict=True)
    ]


def likeliest_targets(
    model: Aligned, source: Tensor, source_lengths: Tensor, *, count: int
) -> list[list[Hypothesis]]:
    """Up to `count` hypotheses a sentence, best first: what a prefix search of that width finds. log_prob and
    score: of the paths that it followed, a little below those of all paths."""
    hidden, lengths = model.write(model.encode(source, source_lengths))
    real = torch.arange(hidden.size(1), device=hidden.device) < lengths[:, None]
    never = [token for token in special(model) if token != model.blank]
    choices = min(count, model.output.out_features - len(never) - 1)
    few = few_likeliest(model, hidden[real], count=choices, aside=model.blank, never=never)
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


def _placed(values: Tensor, real: Tensor) -> Tensor:
    """values (positions, ...) of the real positions, in their places: (sentences, slots, ...)."""
    whole = values.new_zeros(*real.shape, *values.shape[1:])
    whole[real] = values
    return whole


def aligned_log_probs(
    model: Aligned, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
) -> Tensor:
    """Log-probability in nats of each target, all its paths together; float64 (batch,), -inf where a target
    has no room in the slots. targets: ids without end symbol."""
    hidden, slots = model.write(model.encode(source, source_lengths))
    log_probs = model.output(hidden).log_softmax(-1, dtype=torch.float32).double().transpose(0, 1)
    lengths = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([token for target in targets for token in target], device=source.device)
    loss = ctc_loss(log_probs, flat, slots, lengths, blank=model.blank, reduction="none")
    return -loss


def collapse(path: list[int], *, blank: int) -> list[int]:
    """Repetitions to one, then blanks out (Graves et al. 2006, section 3.1)."""
    return [token for token, _ in groupby(path) if token != blank]
