"""Recognition: writing the text of pictures or sounds, trained like translation, scored by error rates."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import PositiveInt

from saccade.config import Section
from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError
from saccade.frames.settings import FramesConfig
from saccade.model_folder.checkpoint import Model
from saccade.models.recogniser import RecogniserConfig
from saccade.tasks.interface import Experiment, Material, Report, Task, named
from saccade.tasks.labelling import require_reader_settings
from saccade.tasks.recorded import recorded_advice, require_manifest
from saccade.text.batching import plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.columns import Column
from saccade.text.corpus import Line
from saccade.text.encode import TextColumn
from saccade.text.framed import FrameTokenizer
from saccade.text.preprocessor import Preprocessor
from saccade.text.recorded import (
    ANSWER,
    FrameTokenizers,
    RecordedConfig,
    RecordedReport,
    open_prepared_recorded,
    prepare_recorded,
)
from saccade.text.translation import SIDES, collate_translation
from saccade.training.data import TrainingLines
from saccade.training.distributed import Group
from saccade.training.objective import LABEL_SMOOTHING, Objective
from saccade.training.recognition import TranscriptLoss
from saccade.training.validation import ValidationSchedule, ValidationScores
from saccade.use.transcriber import Transcriber
from saccade.use.transcript_scores import TranscriptScores


class RecognitionValidationConfig(ValidationSchedule):
    """When and how to validate a recogniser; validation picks the best checkpoint and may end training
    early."""

    metric: Literal["accuracy", "loss"] = "accuracy"
    """Score that decides which checkpoint is the best. accuracy: 100 minus the character error rate in
    percent, at least 0."""
    beam: PositiveInt = 1
    """Beam size for the transcripts that are scored."""
    max_files: PositiveInt | None = None
    """Number of files to transcribe, from the start of the validation manifest; unset: all."""


_LEAST_WIDTH = 4  # special ids are below both sizes of a vocabulary, and that of the source is the width


SECTIONS: dict[str, type[Section]] = {
    "data": RecordedConfig,
    "tokenizer": FramesConfig,
    "validation": RecognitionValidationConfig,
    "decoding": DecodingConfig,
}
"""The sections of the configuration that the task defines."""


@dataclass(frozen=True)
class RecognitionValidation(ValidationScores):
    """The scores of a recogniser. loss: nats per character; accuracy: 100 - cer, at least 0; cer, wer: error
    rates of characters and words in percent; exact: share of transcripts without an error, 0 to 100."""

    accuracy: float
    cer: float
    wer: float
    exact: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        return f"loss {self.loss:.3f}  CER {self.cer:.2f}%  WER {self.wer:.2f}%  exact {self.exact:.1f}%"


class Recognition(Task):
    """The task of recognisers."""

    use = "read"

    def sections(self, model: Section) -> dict[str, type[Section]]:
        """See `Task.sections`."""
        return SECTIONS

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        require_reader_settings(plan)
        width = cast(FramesConfig, plan.tokenizer).frame_width
        if plan.start.init_from is None and width < _LEAST_WIDTH:
            raise ConfigError(
                f"frames of {width} values: a recogniser reads at least {_LEAST_WIDTH}. Join several "
                "positions."
            )

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        require_manifest(data)

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> RecordedReport:
        """See `Task.prepare`."""
        config = cast(FramesConfig, plan.tokenizer)

        def learn(lines: Callable[[], Iterator[Line]]) -> FrameTokenizers:
            if isinstance(tokenizer, FrameTokenizer):
                return tokenizer
            return FrameTokenizer.learn(config, (line.texts[ANSWER] for line in lines()))

        data = cast(RecordedConfig, plan.data)
        return prepare_recorded(data, out=out, learn=learn, answers=_text_column, what="characters")

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """See `Task.material`."""
        prepared, training = open_prepared_recorded(out), plan.training

        def data(_: Any) -> TrainingLines:
            return TrainingLines(
                lines_of=lambda _: prepared.train,
                collate=partial(collate_translation, start=prepared.tokenizer.start),
                sides=SIDES,
                batch_tokens=training.batch_tokens,
                accumulate=training.accumulate,
                seed=training.seed,
            )

        check = None
        if prepared.valid is not None:
            check = partial(
                validate_recognition,
                lines=prepared.valid,
                config=cast(RecognitionValidationConfig, plan.validation),
                objective=TranscriptLoss(),
                device=group.device,
                batch_tokens=training.batch_tokens,
            )
        provenance = {"data": named(prepared.report.files), "pairs": prepared.report.train.examples}
        return Material(prepared.tokenizer, data, check, provenance)

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        given = plan.training.label_smoothing
        smoothing = LABEL_SMOOTHING if given is None else given
        return TranscriptLoss(smoothing, ctc=cast(RecogniserConfig, plan.model).ctc)

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """See `Task.batches_an_epoch`: an estimate, because the length of a batch's examples varies."""
        assert isinstance(report, RecordedReport)
        return max(1, -(-report.train.positions // plan.training.batch_tokens))

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """See `Task.advice`."""
        assert isinstance(report, RecordedReport)
        return recorded_advice(plan, report, batches=self.batches_an_epoch(plan, report))


@torch.no_grad()
def validate_recognition(
    model: Model,
    lines: EncodedLines,
    *,
    config: RecognitionValidationConfig,
    objective: Objective,
    device: torch.device,
    batch_tokens: int,
) -> RecognitionValidation:
    """Scores a model with its present weights; it is left in evaluation mode."""
    model.network.eval()
    use = Transcriber(model, device=device)
    options = use.options(beam=config.beam, nbest=1)
    start, end = model.network.vocabulary.start, model.network.vocabulary.end
    plan = plan_batches(*(lines[side].lengths for side in SIDES), batch_tokens=batch_tokens, seed=0, epoch=0)
    total, tokens, pairs = 0.0, 0, []
    for indices in plan:
        batch = collate_translation(lines, indices, start=start).to(device)
        total += float(objective(model.network, batch))
        tokens += batch.target_tokens
        chosen = [
            row for row, index in enumerate(indices) if config.max_files is None or index < config.max_files
        ]
        if not chosen:
            continue
        source = batch.take(chosen)["source"]
        texts = use.transcribe_frames(source.values, source.lengths, options)
        for row, text in zip(chosen, texts, strict=True):
            ids = lines["target"].line(int(indices[row])).tolist()
            pairs.append((use.tokenizer.decode(ids[: ids.index(end)]), text))
    loss, scores = total / tokens, TranscriptScores.of(pairs)
    return RecognitionValidation(
        loss,
        math.exp(min(loss, 100.0)),
        max(0.0, 100 - 100 * scores.cer),
        100 * scores.cer,
        100 * scores.wer,
        100 * scores.exact / scores.count,
    )


def _text_column(tokenizer: FrameTokenizers) -> TextColumn:
    def ids(lines: Sequence[Line]) -> list[list[int]]:
        return tokenizer.encode_target([line.texts[ANSWER] for line in lines])

    return TextColumn(Column.ids("target", vocab_size=tokenizer.target_vocab_size, pad=tokenizer.pad), ids)
