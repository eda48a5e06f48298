"""Sizes of the run, its record, and the text that it works on: random ids with typical lengths."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import command, machine
from saccade.models import build_model, model_config
from saccade.models.interface import Vocabulary
from saccade.text.batching import Batch, PaddedColumn
from saccade.text.shapes import Shape, Shapes
from saccade.text.translation import translation_batch
from saccade.training.throughput import synchronise


@dataclass
class Run:
    """What a run measures with. budget: seconds after which no further measurement begins."""

    device: torch.device
    tiny: bool
    budget: float
    out: Path | None
    began: float = field(default_factory=time.perf_counter)
    rows: list[dict[str, Any]] = field(default_factory=list)
    ceiling: float = 0.0

    @property
    def precision(self) -> str:
        """The precision of training."""
        return "bfloat16" if self.device.type == "cuda" else "float32"

    @property
    def backend(self) -> str:
        """What compiles: torch's own compiler, or with tiny sizes nothing but its analysis, which is fast."""
        return "eager" if self.tiny else "inductor"

    @property
    def vocabulary(self) -> Vocabulary:
        """32,768 shared pieces, as in the figures to compare with."""
        size = 200 if self.tiny else 32_768
        return Vocabulary(size, size, pad=0, start=2, end=3, shared=True)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a training batch."""
        return 256 if self.tiny else 25_000

    def sizes(self, preset: str) -> dict[str, Any]:
        """The preset, or a tiny model in its place."""
        small = {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1}
        return small if self.tiny else {"preset": preset}

    def network(self, preset: str, **table: Any) -> Any:
        """A model with random weights, in evaluation mode, on the device."""
        torch.manual_seed(1)
        config = model_config({**self.sizes(preset), **table})
        return build_model(config, self.vocabulary).to(self.device).eval()

    def note(self, what: str, **values: Any) -> None:
        """Keeps a row, in the record at once."""
        row = {"what": what, **{name: _short(value) for name, value in values.items()}}
        self.rows.append(row)
        print(f"{time.perf_counter() - self.began:6.1f} s  {json.dumps(row)}", flush=True)
        if self.out is not None:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            with self.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"benchmark": "gpu", "command": command(), **row, **machine()}) + "\n")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Notes an error of a part instead of ending the run, and frees memory after it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the other parts shall still be measured
            self.note(name, failed=f"{type(error).__name__}: {str(error)[:300]}")
        finally:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()

    def over(self, name: str) -> bool:
        """Whether the time is used up, which is noted."""
        late = time.perf_counter() - self.began > self.budget
        if late:
            self.note(name, skipped="out of time")
        return late

    def timed(self, work: Callable[[], Any], *, times: int = 3) -> float:
        """The least seconds of several repetitions, after two that warm up."""
        times = 1 if self.tiny else times
        best = float("inf")
        for repetition in range(times + 2):
            synchronise(self.device)
            started = time.perf_counter()
            work()
            synchronise(self.device)
            if repetition >= 2:
                best = min(best, time.perf_counter() - started)
        return best


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def typical_lengths(lines: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Log-normal lengths around 27 tokens on either side, end symbols included."""
    generator = np.random.default_rng(1)
    length = np.exp(generator.normal(np.log(24), 0.5, lines))
    noise = generator.normal(0, 0.15, (2, lines))
    source, target = (np.clip((length * np.exp(one)).astype(int) + 2, 3, 200) for one in noise)
    return source, target


def random_column(lengths: NDArray[np.int64], vocabulary: Vocabulary, *, seed: int) -> PaddedColumn:
    """Random ids of these lengths, the end symbol last."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.from_numpy(lengths.astype(np.int64))
    longest = int(known.max())
    ids = torch.randint(4, vocabulary.source_size, (len(known), longest), generator=generator)
    places = torch.arange(longest)
    ids[places >= known[:, None]] = vocabulary.pad
    ids[places == known[:, None] - 1] = vocabulary.end
    return PaddedColumn(ids, known, vocabulary.pad, int(known.sum()))


def batch_of(
    rows: NDArray[np.int64], sides: tuple[NDArray[np.int64], NDArray[np.int64]], words: Vocabulary
) -> Batch:
    """A batch of random pairs with the lengths of these lines."""
    columns = {
        name: random_column(side[rows], words, seed=int(rows[0]))
        for name, side in zip(("source", "target"), sides, strict=True)
    }
    return translation_batch(columns, start=words.start)


def shaped_batches(run: Run, *, batch_tokens: int, most: int = 60) -> list[Batch]:
    """Batches of fixed shapes, as our own training has them."""
    sides = typical_lengths(4000 if run.tiny else 100_000)
    plan = Shapes.of(*sides, batch_tokens=batch_tokens).plan(*sides, seed=1, epoch=0)

    def made(rows: NDArray[np.int64], shape: Shape) -> Batch:
        lengths = dict(zip(("source", "target"), shape.lengths, strict=True))
        return batch_of(rows, sides, run.vocabulary).filled(shape.rows, lengths)

    return [made(*planned) for planned in plan[:most]]
