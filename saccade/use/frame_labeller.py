"""Using classifiers of pictures and sounds: files in, a label for each file out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch

from saccade.errors import InputError
from saccade.frames.reading import Frames
from saccade.inspection.limits import require_shown
from saccade.inspection.overlay import draw_over
from saccade.inspection.reading import inspect_reading, word_tokens
from saccade.inspection.record import Inspection
from saccade.inspection.seen import seen
from saccade.model_folder.checkpoint import Model
from saccade.models.families import FrameClassifier
from saccade.models.recording import record_attention
from saccade.text.labelled import LabelledTokenizer
from saccade.text.lines import require_lines, require_text
from saccade.text.manifest import Entry, read_manifest
from saccade.text.recorded import frames_of
from saccade.use.label_scores import LabelScores
from saccade.use.loaded import require_no_target
from saccade.use.predictor import Predictor
from saccade.use.recorded import ReadFiles, entries_of, padded_frames


@dataclass(frozen=True)
class LabelledFile:
    """A file with its label. probabilities: of every label. problem: the reason why it has none."""

    file: str
    label: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None

    def lines(self) -> list[str]:
        """The file, a tab and its label, as in a manifest."""
        return [f"{self.file}\t{self.label}"]

    def as_dict(self) -> dict[str, Any]:
        """The file in JSON types."""
        return {**vars(self), "probabilities": dict(self.probabilities)}


class FrameLabeller(Predictor):
    """A classifier of pictures, sounds or arrays that is ready to label files."""

    family = FrameClassifier
    network: FrameClassifier
    unit = "files"

    def __init__(self, model: Model, *, device: torch.device | str = "cpu") -> None:
        """Raises UserError for a model that is not a classifier of pictures, sounds or arrays."""
        super().__init__(model, device=device)
        self.tokenizer = cast(LabelledTokenizer, model.tokenizer)
        self.frames = frames_of(self.tokenizer)

    def predict(self, files: Sequence[str]) -> list[LabelledFile]:
        """Labels files, by their names. One that cannot be read, or is too long, gets a `problem`."""
        return self.run(entries_of(require_lines(files, "files")))

    def read(self, path: Path, *, answers: bool) -> Iterator[Entry]:
        """See `Predictor.read`: a manifest, or a picture or sound itself."""
        return read_manifest(path, answers=answers)

    def run(self, items: Sequence[Entry]) -> list[LabelledFile]:
        """See `Predictor.run`."""
        files = self._read(items)
        found = [
            LabelledFile(entry.name, problem=problem or None)
            for entry, problem in zip(items, files.problems, strict=True)
        ]
        for rows, frames in files.batches():
            for row, shares in zip(rows, self._probabilities(frames), strict=True):
                each = dict(zip(self.tokenizer.labels, shares, strict=True))
                found[row] = LabelledFile(items[row].name, max(each, key=each.__getitem__), each)
        return found

    def score(self, items: Iterable[Entry]) -> LabelScores:
        """Compares labels with those of a manifest.

        Raises UserError for a label that the model does not have, and for a file that it cannot read.
        """
        every = list(items)
        pairs: list[tuple[int, int]] = []
        for entry, found in zip(every, self.run(every), strict=True):
            if found.problem is not None:
                raise InputError(f"{entry.place}: {found.problem}")
            right, guessed = self.tokenizer.numbers([entry.answer.strip(), found.label], place=entry.place)
            pairs.append((right, guessed))
        return LabelScores.of(self.tokenizer.labels, pairs)

    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        """See `LoadedModel.inspect`. text: the name of a file. The pooling is attention of the label."""
        require_no_target(target)
        frames, found = self._single(text)
        inputs = padded_frames([frames], self.device)
        count = -(-len(frames) // self.network.config.stride)
        require_shown(count, "file", topic="drawing")
        places = word_tokens([str(number) for number in range(1, count + 1)])
        record = inspect_reading(
            self.network,
            lambda: self.network.encode(inputs),
            places,
            [found.label],
            text=Path(text).name,
            name=name,
        )
        picture = seen(self.frames.view(Path(text)), stride=self.network.config.stride)
        return replace(record, picture=picture, absent={**record.absent, "attributions": "frames"})

    def draw(self, file: str, out: Path) -> list[str]:
        """See `Predictor.draw`: what the pooling weighs, over the file's picture."""
        frames, found = self._single(file)
        with torch.inference_mode(), record_attention(self.network) as recorded:
            self.network.encode(padded_frames([frames], self.device))
        maps = [replace(one, weights=one.weights[0].float().cpu()) for one in recorded.values()]
        view, stride = self.frames.view(Path(file)), self.network.config.stride
        return draw_over(view, maps, [found.label], stride=stride, title=found.label, out=out)

    def _single(self, file: str) -> tuple[Frames, LabelledFile]:
        require_text(file, "file")
        entries = entries_of([file])
        [one] = self._read(entries).frames
        [found] = self.run(entries)
        if one is None:
            raise InputError(found.problem or "")
        return one, found

    def _read(self, entries: Sequence[Entry]) -> ReadFiles:
        return ReadFiles.of(entries, self.frames, limit=self.network.max_source_length)

    @torch.inference_mode()
    def _probabilities(self, frames: Sequence[Frames]) -> list[list[float]]:
        """The probability of each label for each of some files."""
        logits = self.network.output(self.network.encode(padded_frames(frames, self.device)))
        found: list[list[float]] = logits.float().softmax(-1).tolist()
        return found
