"""What a run needs to train a translator: pairs of sentences, and translations to be scored."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from saccade.checkpoint import vocabulary_of
from saccade.config import Section
from saccade.errors import ConfigError
from saccade.text.cache import EncodedPairs
from saccade.text.corpus import DataConfig, read_lines
from saccade.text.epochs import epoch_pairs
from saccade.text.language_codes import require_code
from saccade.text.m2m import ManyLanguagesTokenizer
from saccade.text.prepare import Prepared, open_prepared, prepare
from saccade.text.report import DataReport
from saccade.text.tokenizer import Tokenizer, TokenizerConfig
from saccade.training.data import TrainingPairs
from saccade.training.distributed import Group
from saccade.training.evaluate import ValidationConfig, ValidationData, validate
from saccade.training.fits import decoding_section
from saccade.training.plan import Experiment, Material, named


class TranslationTask:
    """See `Task`."""

    def sections(self, model: Section) -> dict[str, type[Section]]:
        """See `Task.sections`."""
        return {
            "data": DataConfig,
            "tokenizer": TokenizerConfig,
            "validation": ValidationConfig,
            "decoding": decoding_section(model),
        }

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        if not cast(DataConfig, data).train_files:
            raise ConfigError(
                "no training text: set data.source and data.target, or data.pairs.", topic="no-text"
            )

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Tokenizer | None) -> DataReport:
        """See `Task.prepare`."""
        config, pieces = cast(DataConfig, plan.data), cast(TokenizerConfig, plan.tokenizer)
        if isinstance(tokenizer, ManyLanguagesTokenizer):
            tokenizer = tokenizer.between(config.source_language, config.target_language)
        else:
            for side, code in config.languages.items():
                require_code(code, key=f"data.{side}_language")
        batch_tokens = plan.training.batch_tokens
        return prepare(config, pieces, out=out, tokenizer=tokenizer, batch_tokens=batch_tokens).report

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """See `Task.material`."""
        prepared = open_prepared(out)
        training = plan.training

        def data(_: Any) -> TrainingPairs:
            return TrainingPairs(
                pairs_of=_pairs_of(plan, prepared, out, group),
                vocabulary=vocabulary_of(prepared.tokenizer),
                batch_tokens=training.batch_tokens,
                accumulate=training.accumulate,
                seed=training.seed,
            )

        found = _validation_data(prepared, out)
        check = None
        if found is not None:
            check = partial(
                validate,
                data=found,
                config=cast(ValidationConfig, plan.validation),
                device=group.device,
                batch_tokens=training.batch_tokens,
            )
        provenance = {"data": named(prepared.report.files), "pairs": prepared.report.train.kept}
        if languages := cast(DataConfig, plan.data).languages:
            provenance["languages"] = languages
        return Material(prepared.tokenizer, data, check, provenance)


def _pairs_of(plan: Experiment, prepared: Prepared, out: Path, group: Group) -> Callable[[int], EncodedPairs]:
    """The encoded pairs of an epoch; with sub-word sampling the leader segments them anew first."""
    seed, config = plan.training.seed, cast(DataConfig, plan.data)

    def pairs(epoch: int) -> EncodedPairs:
        group.wait()  # everybody is done with the epoch before, whose files may go
        if not group.leads:
            group.wait()
        encoded = epoch_pairs(config, prepared.tokenizer, out=out, epoch=epoch, seed=seed)
        if group.leads:
            group.wait()
        return encoded

    return pairs


def _validation_data(prepared: Prepared, folder: Path) -> ValidationData | None:
    if prepared.valid is None:
        return None
    return ValidationData(prepared.valid, *(_text(folder / f"valid.{side}") for side in ("source", "target")))


def _text(path: Path) -> Sequence[str]:
    return [line or "" for _, line in read_lines(path)]
