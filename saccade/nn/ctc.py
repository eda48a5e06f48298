"""CTC (Graves et al. 2006): the most likely path to a target, and sums over the paths to its prefixes."""

import torch
from torch import Tensor

_NEVER = -1e30  # the logarithm of 0, with a gradient that is a number


def best_paths(
    values: Tensor, targets: Tensor, slots: Tensor, lengths: Tensor, *, blank: int
) -> tuple[Tensor, Tensor]:
    """The most likely path to each target, and its log-probability.

    values (batch, slots, target + 1): log-probabilities of the blank and of the target's tokens; targets
    (batch, target) ids; slots, lengths (batch,). Returns ids (batch, slots), blank behind a row's last slot,
    and (batch,), -inf if the target does not fit into the slots; its path is then meaningless.
    """
    labels = _with_blanks(targets, blank)
    batch, states = labels.shape
    # State 2 k + 1 is token k, the others are blanks.
    columns = _with_blanks(torch.arange(1, targets.size(1) + 1, device=targets.device)[None], 0)
    emitted = values.index_select(2, columns[0])  # (batch, slots, states)
    skips = _may_skip(labels)
    places = torch.arange(states, device=labels.device)
    best = emitted[:, 0].masked_fill(places > 1, -torch.inf)
    steps = [torch.zeros_like(labels)]
    for slot in range(1, values.size(1)):
        moves = torch.stack(
            [best, _from_before(best, 1), _from_before(best, 2).masked_fill(~skips, -torch.inf)]
        )
        value, step = moves.max(0)
        # Behind its last slot a row stays in its state at no cost.
        going = (slot < slots)[:, None]
        best = torch.where(going, value + emitted[:, slot], best)
        steps.append(torch.where(going, step, 0))
    # A path ends in the last token or the blank behind it.
    ends = torch.stack([2 * lengths, (2 * lengths - 1).clamp(min=0)], 1)
    score, choice = best.gather(1, ends).max(1)
    state = ends.gather(1, choice[:, None])
    path = torch.empty(batch, len(steps), dtype=torch.int64, device=labels.device)
    for slot in reversed(range(len(steps))):
        path[:, slot : slot + 1] = state
        state = state - steps[slot].gather(1, state)
    real = torch.arange(len(steps), device=labels.device) < slots[:, None]
    return labels.gather(1, path.clamp(min=0)).masked_fill(~real, blank), score


def prefix_log_probs(values: Tensor, target: Tensor, *, blank: int) -> Tensor:
    """Log-probabilities in nats (rows, target + 1) of the prefixes of one target, summed over all paths.

    values (rows, slots, target + 1): log-probabilities of the blank and of the target's tokens, float64;
    target (target,) ids. The first columns are the prefixes of 1, 2, ... tokens, whatever follows; the last
    one is the whole target with nothing behind it. Without a path to it, a value is about -1e30.
    """
    labels = _with_blanks(target[None], blank)  # (1, states)
    columns = _with_blanks(torch.arange(1, len(target) + 1, device=target.device)[None], 0)
    emitted = values.index_select(2, columns[0])  # (rows, slots, states)
    skips = _may_skip(labels)
    places = torch.arange(labels.size(1), device=labels.device)
    state = entered = emitted[:, 0].masked_fill(places > 1, _NEVER)
    arrived = entered[:, 1::2]  # (rows, target)
    for slot in range(1, emitted.size(1)):
        moves = [_from_before(state, 1), _from_before(state, 2).masked_fill(~skips, _NEVER)]
        entered = torch.stack(moves).clamp(min=_NEVER).logsumexp(0) + emitted[:, slot]
        state = torch.logaddexp(entered, state + emitted[:, slot])
        # A prefix is complete when its last token is emitted for the first time.
        arrived = torch.logaddexp(arrived, entered[:, 1::2])
    whole = state[:, -2:].logsumexp(1, keepdim=True)
    return torch.cat([arrived, whole], 1)


def _with_blanks(targets: Tensor, blank: int) -> Tensor:
    """Labels (batch, 2 target + 1): targets with a blank before, between and behind the tokens."""
    labels = targets.new_full((targets.size(0), 2 * targets.size(1) + 1), blank)
    labels[:, 1::2] = targets
    return labels


def _may_skip(labels: Tensor) -> Tensor:
    """Mask of the states that a path may reach from two states before, skipping a blank.

    These are tokens that differ from the token before them.
    """
    skips = torch.zeros_like(labels, dtype=torch.bool)
    skips[:, 2:] = labels[:, 2:] != labels[:, :-2]
    return skips


def _from_before(values: Tensor, distance: int) -> Tensor:
    """The values shifted by `distance` states, -inf at the start."""
    moved = torch.full_like(values, -torch.inf)
    moved[:, distance:] = values[:, : values.size(1) - distance]
    return moved
