"""The most likely CTC path to a target, by the Viterbi algorithm (Graves et al. 2006)."""

import torch
from torch import Tensor


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
