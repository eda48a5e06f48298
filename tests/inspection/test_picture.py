"""Pictures of attention: every head in its place, names that can be read, characters that are there."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("matplotlib")

from saccade.errors import UserError
from saccade.inspection import picture
from saccade.inspection.picture import check_picture, draw_attention
from saccade.models.recording import AttentionMap


def maps(*, layers: int, heads: int, target: int, source: int) -> list[AttentionMap]:
    torch.manual_seed(0)
    found = []
    for layer in range(1, layers + 1):
        found.append(AttentionMap("decoder", layer, torch.rand(heads, target, target)))
        found.append(AttentionMap("cross", layer, torch.randn(heads, target, source).softmax(-1)))
    return found


def cross(found: list[AttentionMap]) -> dict[int, Tensor]:
    return {one.layer: one.weights for one in found if one.kind == "cross"}


SOURCE, TARGET = ["▁A", "▁dog", "▁runs", ".", "</s>"], ["▁Ein", "▁Hund", "▁läuft", "</s>"]


def test_there_is_a_map_for_every_head_and_one_for_their_mean() -> None:
    weights = cross(maps(layers=3, heads=2, target=4, source=5))
    mean, *heads = picture._figure(weights, SOURCE, TARGET).axes
    assert len(heads) == 6
    assert [tick.get_text() for tick in mean.get_xticklabels()] == SOURCE
    assert [tick.get_text() for tick in mean.get_yticklabels()] == TARGET
    shown = torch.as_tensor(mean.images[0].get_array())
    torch.testing.assert_close(shown, torch.stack(list(weights.values())).mean((0, 1)))
    torch.testing.assert_close(torch.as_tensor(heads[3].images[0].get_array()), weights[2][1])


@pytest.mark.parametrize(("source", "target"), [(1, 1), (2, 30), (30, 2), (150, 140)])
def test_everything_stays_on_the_page_and_apart(source: int, target: int) -> None:
    weights = cross(maps(layers=2, heads=8, target=target, source=source))
    figure = picture._figure(weights, ["▁wordpiece"] * source, ["▁Wortstück"] * target)
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    page = figure.bbox
    for box in boxes:
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    assert not any(boxes[0].overlaps(box) for box in boxes[1:])
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) == source


def test_letters_fit_their_rows() -> None:
    weights = cross(maps(layers=1, heads=1, target=100, source=100))
    figure = picture._figure(weights, ["▁word"] * 100, ["▁Wort"] * 100)
    figure.draw_without_rendering()
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in pairwise(labels))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_each_format_is_written(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"maps{suffix}"
    assert draw_attention(maps(layers=1, heads=2, target=4, source=5), SOURCE, TARGET, out=out) == []
    assert out.stat().st_size > 1000


def test_characters_without_a_font_are_told_and_are_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import font_manager

    own = [one for one in font_manager.fontManager.ttflist if one.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    pieces = ["▁我们", "$5", "<0xE4>", "猫", "</s>"]
    weights = maps(layers=1, heads=1, target=4, source=5)
    [note] = draw_attention(weights, pieces, TARGET, out=tmp_path / "maps.png")
    assert "们 我 猫" in note and "Noto Sans CJK" in note


def test_a_font_that_has_the_characters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    entry = font_manager.FontEntry(fname="han.ttf", name="Some Han", style="normal", weight=400)
    real = picture._characters
    monkeypatch.setattr(picture, "_characters", lambda font: {ord("猫")} if font == "han.ttf" else real(font))
    own = [one for one in font_manager.fontManager.ttflist if one.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*own, entry])
    assert picture.fonts_for(["▁猫"]) == (["DejaVu Sans", "Some Han"], [])


def test_what_cannot_be_drawn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"must end in \.png"):
        check_picture(tmp_path / "maps.html")
    with pytest.raises(UserError, match="no cross-attention"):
        draw_attention(
            [AttentionMap("encoder", 1, torch.rand(1, 2, 2))], SOURCE, TARGET, out=tmp_path / "a.png"
        )
    weights = maps(layers=1, heads=1, target=4, source=5)
    with pytest.raises(UserError, match="cannot write: No such file"):
        draw_attention(weights, SOURCE, TARGET, out=tmp_path / "no" / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install .*\[plot\]'"):
        check_picture(tmp_path / "maps.png")
