"""Pictures as patches: their order, what counts as background, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saccade.errors import UserError
from saccade.frames.pictures import MOST_PIXELS, patches, read_picture
from saccade.frames.reading import read_frames, read_view
from saccade.frames.settings import FramesConfig

Image = pytest.importorskip("PIL.Image")


def test_patches_go_down_a_column_and_then_to_the_next() -> None:
    config = FramesConfig(height=4, patch_height=2, patch_width=3)
    picture = np.arange(4 * 5, dtype=np.float32).reshape(4, 5)
    found = patches(picture, config)
    wider = np.pad(picture, ((0, 0), (0, 1)))
    expected = [wider[y : y + 2, x : x + 3].ravel() for x in (0, 3) for y in (0, 2)]
    np.testing.assert_array_equal(found, np.stack(expected))
    assert found.shape[1] == config.frame_width and config.stacked == 2


def test_dark_on_light_looks_like_light_on_dark(tmp_path: Path) -> None:
    ink = np.zeros((8, 12), dtype=np.uint8)
    ink[2:6, 3:9] = 120
    ink[3, 4] = 200
    Image.fromarray(ink).save(tmp_path / "light.png")
    Image.fromarray(230 - ink).save(tmp_path / "dark.png")
    light, dark = (read_picture(tmp_path / f"{name}.png", height=8) for name in ("light", "dark"))
    np.testing.assert_allclose(light, dark, atol=1e-6)
    assert light[0, 0] == 0 and light.max() == 1 and light[2, 3] == pytest.approx(0.6)


def test_a_picture_is_scaled_in_proportion_and_an_even_one_is_background(tmp_path: Path) -> None:
    Image.new("RGB", (60, 30), (9, 9, 9)).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", height=10)
    assert found.shape == (10, 20) and not found.any()


def test_the_view_is_the_picture_and_its_boxes(tmp_path: Path) -> None:
    config = FramesConfig(height=8, patch_height=4, patch_width=4)
    Image.new("L", (10, 8), 7).save(tmp_path / "a.png")
    view = read_view(tmp_path / "a.png", config)
    assert (view.values.shape, view.box, view.stacked) == ((8, 10), (4, 4), 2)
    assert len(read_frames(tmp_path / "a.png", config)) == 6


def test_depth_transparency_and_orientation_do_not_matter(tmp_path: Path) -> None:
    ink = np.full((8, 12), 250, dtype=np.uint8)
    ink[2:5, 3:9] = 40
    plain = Image.fromarray(ink)
    plain.save(tmp_path / "plain.png")
    Image.fromarray(ink.astype(np.uint16) * 256).save(tmp_path / "deep.png")
    clear = np.zeros((8, 12, 4), dtype=np.uint8)
    clear[2:5, 3:9, 3] = 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    turned = Image.fromarray(np.ascontiguousarray(ink.T[::-1]))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    expected = read_picture(tmp_path / "plain.png", height=8)
    for name in ("deep", "clear", "turned"):
        np.testing.assert_allclose(read_picture(tmp_path / f"{name}.png", height=8), expected, atol=0.01)


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    config = FramesConfig()
    file = tmp_path / "a.png"
    with pytest.raises(UserError, match=r"a\.png: no such file"):
        read_frames(file, config)
    Image.new("L", (40, 32), 7).save(file)
    whole = file.read_bytes()
    for data in (b"", b"\x89PNG", b"GIF89a", whole[: len(whole) // 2], b"text"):
        file.write_bytes(data)
        with pytest.raises(UserError, match=r"a\.png: not a picture that can be read"):
            read_frames(file, config)
    bomb = tmp_path / "bomb.pgm"
    bomb.write_bytes(b"P5 5000 4000 255\n")
    with pytest.raises(UserError, match=f"at most {MOST_PIXELS:,} are read"):
        read_frames(bomb, config)
    thin = tmp_path / "thin.pgm"
    thin.write_bytes(b"P5 4000 1 255\n" + bytes(4000))
    with pytest.raises(UserError, match="pixels wide when it is 32 high"):
        read_frames(thin, config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 16_000}, "rate is a setting of sounds, and this model reads pictures"),
        ({"reads": "sounds", "height": 16}, "height is a setting of pictures"),
        ({"reads": "arrays"}, "arrays: set width"),
        ({"height": 30}, "height 30 is not a multiple of patch_height 32"),
        ({"reads": "sounds", "window": 0.0001}, "fewer than two samples"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FramesConfig(**settings)  # type: ignore[arg-type]
