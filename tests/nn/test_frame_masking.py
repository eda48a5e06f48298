"""Masks over frames hide spans within their limits, in training alone."""

from typing import cast

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from saccade.nn.frame_masking import MASKS, FrameMasking


def _runs(hidden: list[bool]) -> list[int]:
    """Lengths of the runs of True."""
    found, run = [], 0
    for here in [*hidden, False]:
        if not here and run:
            found.append(run)
        run = run + 1 if here else 0
    return found


def _hidden(masking: FrameMasking, lengths: list[int], values: int) -> Tensor:
    frames = torch.ones(len(lengths), max(lengths), values)
    return cast(Tensor, masking(frames, torch.tensor(lengths)) == 0)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    values=st.integers(1, 12),
    widest=st.tuples(st.integers(0, 30), st.integers(0, 8)),
    seed=st.integers(0, 1000),
)
def test_what_is_hidden_is_spans_and_bands_within_their_limits(
    lengths: list[int], values: int, widest: tuple[int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    hidden = _hidden(FrameMasking(*widest), lengths, values)
    for row, length in zip(hidden, lengths, strict=True):
        bands = [bool(band.all()) for band in row.T]
        rest = [n for n, band in enumerate(bands) if not band]
        spans = [bool(at[rest].all()) if rest else False for at in row]
        assert torch.equal(row, torch.tensor(spans)[:, None] | torch.tensor(bands)[None, :])
        limit = min(widest[0], length // 5)
        assert len(_runs(spans)) <= MASKS and sum(_runs(spans)) <= MASKS * limit
        assert not any(spans[length:])  # padding is no place for a mask
        if rest:
            assert sum(_runs(bands)) <= MASKS * min(widest[1], values)


def test_every_place_and_every_width_is_drawn() -> None:
    torch.manual_seed(0)
    hidden = _hidden(FrameMasking(4, 0), [20] * 4000, 1)[:, :, 0]
    assert (hidden.float().mean(dim=0) > 0.02).all()
    assert set(hidden.sum(dim=1).tolist()) == set(range(9))
    # Two widths from 0 to 4, each with mean 2, less their overlap.
    assert 3.2 < hidden.sum(dim=1).float().mean() < 4.0


def test_without_limits_and_in_use_frames_pass_unchanged() -> None:
    frames = torch.randn(3, 10, 4)
    lengths = torch.tensor([10, 4, 1])
    assert torch.equal(FrameMasking(0, 0)(frames, lengths), frames)
    assert torch.equal(FrameMasking(5, 3).eval()(frames, lengths), frames)
