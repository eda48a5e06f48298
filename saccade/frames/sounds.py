"""Sounds as frames: logarithms of the energy in mel bands, a window at a time.

The mel scale is m = 2595 log10(1 + f / 700) (O'Shaughnessy 1987), the bands are triangles of equal width on
it, and the window is Hann's. Each band of a sound is shifted and scaled to mean 0 and variance 1, so that
loudness and the colour of a microphone do not matter.
"""

import wave
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError
from saccade.frames.settings import FramesConfig

LONGEST = 600.0
"""Longest sound in seconds."""
_FLOOR = 1e-6  # added to energies, so that silence has a logarithm


def read_sound(path: Path, *, rate: int) -> NDArray[np.float64]:
    """The samples of a WAV file at `rate` a second, from -1 to 1; several channels become their mean.

    A file of another rate is resampled. Raises UserError for a file that is no sound in PCM.
    """
    try:
        with wave.open(str(path), "rb") as file:
            own, count, bytes_each = file.getframerate(), file.getnframes(), file.getsampwidth()
            if own < 1 or count / own > LONGEST:
                raise InputError(f"{count / max(own, 1):,.0f} seconds long; at most {LONGEST:.0f} are read.")
            data, channels = file.readframes(count), file.getnchannels()
    except (OSError, EOFError, ValueError, wave.Error) as error:
        raise InputError("not a WAV file that can be read (PCM), or a damaged one.") from error
    samples = _values(data, bytes_each)
    samples = samples[: len(samples) - len(samples) % channels].reshape(-1, channels).mean(1)
    if not len(samples):
        raise InputError("a sound without samples.")
    return samples if own == rate else resampled(samples, round(len(samples) * rate / own))


def resampled(samples: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The same sound in `count` samples; what is above half of the lower rate is left out."""
    count = max(count, 1)
    spectrum = np.fft.rfft(samples)
    found: NDArray[np.float64] = np.fft.irfft(spectrum[: count // 2 + 1], count) * (count / len(samples))
    return found


def mel_frames(samples: NDArray[np.float64], config: FramesConfig) -> NDArray[np.float32]:
    """Frames (positions, bands) of samples at `config.rate`, each band with mean 0 and variance 1."""
    length, step = round(config.window * config.rate), max(1, round(config.step * config.rate))
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(samples, length)[::step]  # (positions, length)
    size = 1 << (length - 1).bit_length()
    energies = np.abs(np.fft.rfft(windows * np.hanning(length), size)) ** 2  # (positions, frequencies)
    bands = np.log(energies @ mel_bands(size, config.rate, config.bands).T + _FLOOR)
    bands -= bands.mean(0)
    bands /= bands.std(0) + 1e-3
    return bands.astype(np.float32)


@cache
def mel_bands(size: int, rate: int, bands: int) -> NDArray[np.float64]:
    """The weight (bands, size // 2 + 1) of each frequency of a transform of `size` samples in each band."""
    highest = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)  # Hz
    frequencies = np.arange(size // 2 + 1) * rate / size
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return np.maximum(0.0, np.minimum(rising, falling))


def _values(data: bytes, bytes_each: int) -> NDArray[np.float64]:
    """Samples from -1 to 1 of PCM data; 8 bits have no sign, the others are little-endian with one."""
    data = data[: len(data) - len(data) % bytes_each]
    if bytes_each == 1:
        return np.frombuffer(data, np.uint8) / 128.0 - 1.0
    if bytes_each == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        return ((parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24) >> 8) / float(1 << 23)
    if bytes_each not in (2, 4):
        raise InputError(f"samples of {bytes_each} bytes are not read.")
    return np.frombuffer(data, f"<i{bytes_each}") / float(1 << (8 * bytes_each - 1))
