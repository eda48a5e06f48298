"""Every kind of model, of attention and of positions through a whole life: trained, killed, resumed,
averaged, decoding alone and in bulk, its attention recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from saccade.models.placing import Positions
from saccade.models.recurrent import Attention
from saccade.nn.recurrence import Cell
from saccade.use.translator import Translator
from tests.training.conftest import quick_drive
from tests.training.test_resume import assert_same_run

EVERYTHING = ("model.dropout=0.2", "training.ema=0.9", "training.average=2", "training.accumulate=2")
POSITIONS, ATTENTIONS, CELLS = get_args(Positions), get_args(Attention), get_args(Cell)

CASES: dict[str, tuple[str, ...]] = {
    **{f"transformer, {name}": (f"model.positions={name}",) for name in POSITIONS},
    **{f"transformer, {name}, local": (f"model.positions={name}", "model.window=3") for name in POSITIONS},
    **{
        f"recurrent, {cell}, {attention}": (
            "model.kind=recurrent",
            f"model.cell={cell}",
            f"model.attention={attention}",
        )
        for cell in CELLS
        for attention in ATTENTIONS
    },
    "transformer, copying": ("model.copying=true", "training.precision=bfloat16"),
    "convolutional": ("model.kind=convolutional", "training.r_drop=2"),
    "convolutional, output normed": ("model.kind=convolutional", "model.tied_embeddings=none"),
}
QUICK = {
    *(f"transformer, {name}, local" for name in POSITIONS[::2]),
    *(f"recurrent, {CELLS[n // 2 % 2]}, {ATTENTIONS[n]}" for n in range(0, len(ATTENTIONS), 2)),
    "convolutional",
}
"""Every second value of each setting; `make test-slow` adds the others."""

WAYS: tuple[dict[str, Any], ...] = ({"beam": 1}, {"beam": 3}, {"sample": True, "seed": 4})


@pytest.mark.parametrize(
    "case",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in CASES],
)
def test_killed_and_resumed_it_is_the_same_and_translates_alone_as_in_bulk(corpus: Path, case: str) -> None:
    settings = (*EVERYTHING, *CASES[case])
    assert quick_drive(corpus / "whole", *settings) == 0
    assert quick_drive(corpus / "cut", "--kill-at", "8", *settings) == -9  # 3 updates after the last save
    assert quick_drive(corpus / "cut", "--resume") == 0
    assert_same_run(corpus / "whole", corpus / "cut")
    translator = Translator.load(corpus / "cut" / "checkpoints" / "average", device="cpu")
    lines = (corpus / "train.en").read_text(encoding="utf-8").split("\n")[150:158]
    lines[3] = ""
    for way in WAYS:
        assert_alone_as_in_bulk(translator, lines, way)
    maps = translator.attention(lines[0], lines[1])
    assert bool(maps) is ("model.attention=none" not in settings)
    for one in maps:
        torch.testing.assert_close(one.weights.sum(-1), torch.ones_like(one.weights[..., 0]), msg=one.kind)


def assert_alone_as_in_bulk(translator: Translator, lines: list[str], way: dict[str, Any]) -> None:
    """One line in, one line out; and the same one, whatever its company."""
    limits = {"min_length": 4, "max_length": 12}  # barely trained, a model may have nothing to say
    together = translator.translate(lines, **limits, **way)
    alone = [
        translator.translate([line], first_line=number, **limits, **way)[0]
        for number, line in enumerate(lines)
    ]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.log_prob for one in together] == pytest.approx([one.log_prob for one in alone], rel=1e-4)
    assert [number for number, one in enumerate(together) if not one.tokens] == [3]
