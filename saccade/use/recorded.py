"""Files of pictures and sounds on their way into a model: read, measured, and padded into batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from saccade.errors import InputError
from saccade.frames.reading import Frames
from saccade.text.batching import PaddedColumn, plan_for_inference
from saccade.text.examples import SOURCE
from saccade.text.framed import FrameTokenizer
from saccade.text.manifest import Entry

_BATCH_POSITIONS = 8192


@dataclass(frozen=True)
class ReadFiles:
    """The frames of files. frames: of each, None for one with a problem; problems: "" for all others."""

    frames: list[Frames | None]
    problems: list[str]

    @classmethod
    def of(cls, entries: Sequence[Entry], tokenizer: FrameTokenizer, *, limit: int | None) -> "ReadFiles":
        """Reads files. limit: the most positions that the model reads; None: any number."""
        frames: list[Frames | None] = []
        problems = []
        for entry in entries:
            found, problem = _read(entry, tokenizer, limit)
            frames.append(found)
            problems.append(problem)
        return cls(frames, problems)

    def batches(self, *, most: int = _BATCH_POSITIONS) -> Iterator[tuple[list[int], list[Frames]]]:
        """The readable files in batches of similar length: their numbers and frames."""
        readable = [(number, one) for number, one in enumerate(self.frames) if one is not None]
        for batch in plan_for_inference([len(one) for _, one in readable], batch_tokens=most):
            rows = [readable[int(place)] for place in batch]
            yield [number for number, _ in rows], [one for _, one in rows]


def _read(entry: Entry, tokenizer: FrameTokenizer, limit: int | None) -> tuple[Frames | None, str]:
    try:
        frames = tokenizer.frames(entry.path)
    except InputError as error:
        return None, str(error)
    if not len(frames):
        return None, f"{entry.path}: it has no positions."
    if limit is not None and len(frames) > limit:
        return None, f"{entry.path}: {len(frames):,} positions, but the model reads at most {limit:,}."
    return frames, ""


def padded_frames(frames: Sequence[Frames], device: torch.device) -> dict[str, PaddedColumn]:
    """The column `source` of some files, padded on the right with zeros: (rows, longest, width)."""
    lengths = torch.tensor([len(one) for one in frames])
    values = torch.zeros(len(frames), int(lengths.max()), frames[0].shape[1])
    for row, one in zip(values, frames, strict=True):
        row[: len(one)] = torch.from_numpy(one)
    column = PaddedColumn(values, lengths, 0, int(lengths.sum()))
    return {SOURCE: column.to(device)}


def entries_of(files: Sequence[str]) -> list[Entry]:
    """Files that no manifest names."""
    from pathlib import Path

    return [Entry(file, Path(file), "", file) for file in files]
