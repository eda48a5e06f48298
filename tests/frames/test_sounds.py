"""Sounds as frames: against plain loops, resampling, and files that are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from saccade.errors import UserError
from saccade.frames.reading import read_frames, read_view
from saccade.frames.settings import FramesConfig
from saccade.frames.sounds import LONGEST, mel_bands, mel_frames, read_sound, resampled
from tests.framed import ARRAYS, WIDTH, write_wave


def test_frames_are_those_of_plain_loops() -> None:
    config = FramesConfig(reads="sounds", rate=1000, bands=5, window=0.012, step=0.005)
    samples = np.random.default_rng(1).normal(size=40)
    length, step, size = 12, 5, 16
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / (length - 1)) for n in range(length)]
    highest = 2595 * math.log10(1 + 500 / 700)
    edges = [700 * (10 ** (highest * k / 6 / 2595) - 1) for k in range(7)]
    rows = []
    for start in range(0, len(samples) - length + 1, step):
        row = []
        energies = []
        for k in range(size // 2 + 1):
            total = sum(
                samples[start + n]
                * window[n]
                * complex(math.cos(2 * math.pi * k * n / size), -math.sin(2 * math.pi * k * n / size))
                for n in range(length)
            )
            energies.append(abs(total) ** 2)
        for band in range(5):
            low, middle, high = edges[band : band + 3]
            energy = 0.0
            for k, value in enumerate(energies):
                f = k * 1000 / size
                energy += value * max(0.0, min((f - low) / (middle - low), (high - f) / (high - middle)))
            row.append(math.log(energy + 1e-6))
        rows.append(row)
    expected = np.array(rows)
    expected = (expected - expected.mean(0)) / (expected.std(0) + 1e-3)
    np.testing.assert_allclose(mel_frames(samples, config), expected, atol=1e-4)


def test_bands_cover_all_frequencies_between_the_first_and_the_last() -> None:
    bands = mel_bands(512, 8000, 20)
    assert bands.shape == (20, 257) and (bands >= 0).all() and (bands.sum(1) > 0).all()
    inside = bands.sum(0)[20:230]
    np.testing.assert_allclose(inside, 1.0, atol=1e-9)


def test_loudness_does_not_matter() -> None:
    config = FramesConfig(reads="sounds")
    samples = np.random.default_rng(2).normal(size=4000)
    np.testing.assert_allclose(mel_frames(samples, config), mel_frames(0.3 * samples, config), atol=0.02)


@pytest.mark.parametrize("rate", [4000, 11_025, 16_000])
def test_a_tone_of_another_rate_is_the_same_tone(rate: int) -> None:
    times = np.arange(rate) / rate
    found = resampled(np.sin(2 * np.pi * 440 * times), 8000)
    expected = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=0.02)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_every_width_are_read(tmp_path: Path, width: int) -> None:
    samples = np.sin(np.arange(400) / 9) * 0.9
    write_wave(tmp_path / "a.wav", samples, rate=8000, width=width)
    np.testing.assert_allclose(
        read_sound(tmp_path / "a.wav", rate=8000), samples, atol=2.0 ** (2 - 8 * width)
    )


def test_channels_become_their_mean_and_the_view_has_high_tones_on_top(tmp_path: Path) -> None:
    left = np.sin(np.arange(1600) / 5)
    write_wave(tmp_path / "a.wav", np.stack([left, -left], 1) * 0.5, rate=8000, channels=2)
    np.testing.assert_allclose(read_sound(tmp_path / "a.wav", rate=8000), 0, atol=1e-3)
    config = FramesConfig(reads="sounds", bands=10)
    view = read_view(tmp_path / "a.wav", config)
    np.testing.assert_array_equal(view.values[::-1].T, read_frames(tmp_path / "a.wav", config))


def test_what_is_no_sound_is_refused_by_name(tmp_path: Path) -> None:
    config, file = FramesConfig(reads="sounds"), tmp_path / "a.wav"
    write_wave(file, np.zeros(100), rate=8000)
    whole = file.read_bytes()
    for data in (
        b"",
        b"RIFF",
        whole[:30],
        whole.replace(b"\x01\x00\x01\x00", b"\x06\x00\x01\x00"),
        b"text" * 20,
    ):
        file.write_bytes(data)
        with pytest.raises(UserError, match=r"a\.wav: (not a WAV file|a sound without samples)"):
            read_frames(file, config)
    write_wave(file, np.zeros(0), rate=8000)
    with pytest.raises(UserError, match="a sound without samples"):
        read_frames(file, config)
    write_wave(file, np.zeros(int(LONGEST) + 1), rate=1)
    with pytest.raises(UserError, match="at most 600 are read"):
        read_frames(file, config)


def test_arrays_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.ones((3, WIDTH)))
    assert read_frames(file, ARRAYS).dtype == np.float32
    wrong = {
        "hold numbers": np.array([["a"] * WIDTH]),
        "5 values at each position": np.ones((3, 5)),
        "not finite": np.full((3, WIDTH), np.nan),
        "too large for float32": np.full((3, WIDTH), 1e300),
        "not an NPY file": np.array([{}], dtype=object),
    }
    for message, array in wrong.items():
        np.save(file, array, allow_pickle=True)
        with pytest.raises(UserError, match=f"a.npy: .*{message}"):
            read_frames(file, ARRAYS)
