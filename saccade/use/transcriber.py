"""Using recognisers: files of pictures or sounds in, their text out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, Unpack

import torch
from torch import Tensor

from saccade.config import build
from saccade.decoding.autoregressive import Autoregressive
from saccade.decoding.ctc_head import ctc_hypotheses
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.keywords import DecodingOptions
from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError, InputError, Unsupported
from saccade.inspection.overlay import draw_over
from saccade.inspection.recognition import inspect_recognition
from saccade.inspection.record import Inspection
from saccade.inspection.seen import seen
from saccade.machine import chosen_device
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models.families import Recogniser
from saccade.models.recording import AttentionMap
from saccade.text.examples import SOURCE
from saccade.text.framed import FrameTokenizer
from saccade.text.lines import require_lines, require_text
from saccade.text.manifest import Entry, read_manifest
from saccade.use.loaded import require_no_target
from saccade.use.predictor import Predictor
from saccade.use.recorded import ReadFiles, entries_of, padded_frames
from saccade.use.transcript_scores import TranscriptScores

Head = Literal["attention", "ctc"]


@dataclass(frozen=True)
class Transcript:
    """The text of a file. log_prob: its log-probability in nats, end symbol included.

    problem: the reason why it has none.
    """

    file: str
    text: str = ""
    log_prob: float = 0.0
    problem: str | None = None

    def lines(self) -> list[str]:
        """The file, a tab and its text, as in a manifest."""
        return [f"{self.file}\t{self.text}"]

    def as_dict(self) -> dict[str, Any]:
        """The transcript in JSON types."""
        return vars(self)


class Transcriber(Predictor):
    """A recogniser that is ready to read files, with the search of translation.

    head: what writes the text. attention: the decoder; ctc: the encoder's own output layer, by the likeliest
    path or, with a beam, by a search over prefixes. What is inspected and drawn is always the decoder.
    """

    family = Recogniser
    network: Recogniser
    unit = "files"
    sections = ("decoding",)

    def __init__(self, model: Model, *, device: torch.device | str = "cpu", head: Head = "attention") -> None:
        """Raises UserError for a model that is not a recogniser, or has no such head."""
        super().__init__(model, device=device)
        assert isinstance(model.tokenizer, FrameTokenizer)
        self.tokenizer, self.settings, self.head = model.tokenizer, dict(model.decoding), head
        if head not in ("attention", "ctc"):
            raise ConfigError(f"head = {head!r}: allowed are attention, ctc.")
        if head == "ctc" and self.network.ctc is None:
            raise Unsupported("this model has no output layer for CTC: train one with model.ctc above 0.")
        body = self.network.body
        self.decoder = Autoregressive(body, lambda: body)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: torch.device | str | None = None, head: Head = "attention"
    ) -> Self:
        """Loads a model folder or a run folder (its best checkpoint). device: unset: a GPU if available."""
        place = chosen_device(device)
        made = cls(load_model(Path(folder)), device=place, head=head)
        made.reopen = partial(cls.load, Path(folder).absolute(), device=place, head=head)
        return made

    def _with_settings(self, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        other = self._changed("with_settings", sections)
        other.settings = {**self.settings, **sections.get("decoding", {})}
        other.options()
        return other

    def options(self, **changes: Unpack[DecodingOptions]) -> DecodingConfig:
        """The model's own decoding settings with `changes`; raises UserError for an invalid one."""
        options = build(DecodingConfig, {**self.settings, **changes}, where="decoding")
        self.decoder.check(options)
        return options

    def predict(self, files: Sequence[str], **options: Unpack[DecodingOptions]) -> list[Transcript]:
        """The texts of files, by their names; options as in `DecodingConfig` (beam=5, ...).

        A file that cannot be read, or is too long, gets a `problem`.
        """
        return self._transcribe(entries_of(require_lines(files, "files")), **options)

    def read(self, path: Path, *, answers: bool) -> Iterator[Entry]:
        """See `Predictor.read`: a manifest, or a picture or sound itself."""
        return read_manifest(path, answers=answers)

    def run(self, items: Sequence[Entry]) -> list[Transcript]:
        """See `Predictor.run`."""
        return self._transcribe(items)

    def score(self, items: Iterable[Entry]) -> TranscriptScores:
        """Compares transcripts with the texts of a manifest. Raises UserError for a file without one."""
        every = list(items)
        pairs = []
        for entry, found in zip(every, self.run(every), strict=True):
            if found.problem is not None:
                raise InputError(f"{entry.place}: {found.problem}")
            pairs.append((entry.answer, found.text))
        return TranscriptScores.of(pairs)

    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        """See `LoadedModel.inspect`. text: the name of a file."""
        require_no_target(target)
        batch = self._single(text)
        record = inspect_recognition(
            self.decoder, self.tokenizer, *batch, options=self.options(), text=Path(text).name, name=name
        )
        return replace(
            record, picture=seen(self.tokenizer.view(Path(text)), stride=self.network.config.stride)
        )

    def attention(self, file: str) -> tuple[str, list[AttentionMap]]:
        """The text of a file, and the maps of all attention modules while it is written.

        Weights are (heads, query, key); positions of the source are those behind the convolutions.
        """
        batch = self._single(file)
        found = self._decode(*batch, options=self.options())[0]
        target = [*found.tokens, self.decoder.vocabulary.end] if found else [self.decoder.vocabulary.end]
        with torch.inference_mode():
            maps = self.decoder.attention(*batch, target)
        single = [AttentionMap(one.kind, one.layer, one.weights[0].float().cpu()) for one in maps]
        return self.tokenizer.decode(target), single

    def draw(self, file: str, out: Path) -> list[str]:
        """See `Predictor.draw`: where the model looked as it wrote each character."""
        text, maps = self.attention(file)
        marks = [*self.tokenizer.target_pieces(self.tokenizer.encode_target([text])[0][:-1]), "end"]
        view = self.tokenizer.view(Path(file))
        stride: int = self.network.config.stride
        return draw_over(view, maps, marks, stride=stride, title=text, out=out)

    def transcribe_frames(self, source: Tensor, lengths: Tensor, options: DecodingConfig) -> list[str]:
        """The texts of frames (rows, positions, width) with lengths (rows,)."""
        return [
            self.tokenizer.decode(found.tokens) if found else ""
            for found in self._decode(source, lengths, options=options)
        ]

    def _transcribe(self, entries: Sequence[Entry], **options: Unpack[DecodingOptions]) -> list[Transcript]:
        decoding = self.options(**options)
        files = ReadFiles.of(entries, self.tokenizer, limit=self._limit(decoding))
        found = [
            Transcript(entry.name, problem=problem or None)
            for entry, problem in zip(entries, files.problems, strict=True)
        ]
        for rows, frames in files.batches(
            most=max(4 * decoding.batch_tokens // decoding.rows_per_sentence, 1)
        ):
            source = padded_frames(frames, self.device)[SOURCE]
            for row, best in zip(
                rows, self._decode(source.values, source.lengths, options=decoding), strict=True
            ):
                if best is None:
                    found[row] = Transcript(
                        entries[row].name, problem="no text within the length limits was found."
                    )
                else:
                    found[row] = Transcript(
                        entries[row].name, self.tokenizer.decode(best.tokens), best.log_prob
                    )
        return found

    def _decode(self, source: Tensor, lengths: Tensor, *, options: DecodingConfig) -> list[Hypothesis | None]:
        """The best hypothesis of each row of frames."""
        if self.head == "ctc":
            return [found[0] if found else None for found in self._paths(source, lengths, beam=options.beam)]
        rows = range(source.size(0))
        found = self.decoder.decode(source, lengths, options=options, lines=rows, prefixes=[()] * len(rows))
        return [hypotheses[0] if hypotheses else None for hypotheses in found]

    @torch.inference_mode()
    def _paths(self, source: Tensor, lengths: Tensor, *, beam: int) -> list[list[Hypothesis]]:
        """The hypotheses of the CTC head for each row of frames."""
        vocabulary, ctc = self.network.vocabulary, self.network.ctc
        assert ctc is not None
        memory = self.network.body.encode(source, lengths)
        return ctc_hypotheses(
            ctc(memory.states),
            self.network.positions(lengths),
            blank=vocabulary.pad,
            never=(self.tokenizer.unknown, vocabulary.start, vocabulary.end),
            beam=beam,
        )

    def _single(self, file: str) -> tuple[Tensor, Tensor]:
        require_text(file, "file")
        frames = ReadFiles.of(entries_of([file]), self.tokenizer, limit=self._limit(self.options()))
        [problem], [one] = frames.problems, frames.frames
        if one is None:
            raise InputError(problem)
        column = padded_frames([one], self.device)[SOURCE]
        return column.values, column.lengths

    def _limit(self, options: DecodingConfig) -> int | None:
        limits = [limit for limit in (self.network.max_source_length, options.max_source_length) if limit]
        return min(limits, default=None)
