"""What the tasks share whose examples are pictures, sounds or arrays: a manifest, and advice."""

from collections.abc import Iterator
from typing import cast

from saccade.config import Section
from saccade.errors import ConfigError
from saccade.tasks.advice import RARE, SEEN, on_training
from saccade.tasks.interface import Experiment
from saccade.text.recorded import RecordedConfig, RecordedReport


def require_manifest(data: Section) -> None:
    """Raises UserError if a section names no training manifest."""
    if not cast(RecordedConfig, data).text:
        raise ConfigError("no training manifest: set data.text.")


def recorded_advice(plan: Experiment, report: RecordedReport, *, batches: int) -> list[str]:
    """Warnings for a model that reads pictures or sounds. batches: number of batches in an epoch."""
    return [*_on_recorded(report), *on_training(plan, batches)]


def _on_recorded(report: RecordedReport) -> Iterator[str]:
    train, valid = report.train, report.valid
    if valid is None:
        yield "no validation manifest: the last model will count as the best. Set data.valid_text."
    elif valid.seen and valid.seen > SEEN * valid.examples:
        yield (
            f"{valid.seen:,} of {valid.examples:,} validation files are also in the training set: scores on "
            "them are too high. Remove them from the training manifest."
        )
    if report.test_seen is not None and report.test_seen[1] > SEEN * report.test_seen[0]:
        count, seen = report.test_seen
        yield f"{seen:,} of {count:,} test files are also in the training set: scores are too high."
    if valid is not None and valid.unknown:
        yield (
            f"{valid.unknown:,} characters of the validation texts do not occur in training; the model "
            "cannot write them."
        )
    rare = [answer for answer, number in train.answers.items() if number < RARE]
    if rare:
        yield (
            f"{report.what} with fewer than {RARE} training examples: {', '.join(map(repr, rare[:10]))}"
            f"{', ...' if len(rare) > 10 else ''}. They will hardly be learned."
        )
