"""Translation token by token: training on sentence pairs, and scored translations for validation."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from saccade.config import Section
from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError, DamagedFile
from saccade.evaluation import Tokenize
from saccade.model_folder.checkpoint import Model
from saccade.models.nonautoregressive.config import SchemeName
from saccade.tasks.advice import translation_advice
from saccade.tasks.guidance import check_guidance, guided_heads
from saccade.tasks.interface import Experiment, Material, Report, Task, named
from saccade.tasks.translation_validation import ValidationConfig, ValidationData, validate
from saccade.text.cache import EncodedLines
from saccade.text.corpus import DataConfig
from saccade.text.epochs import epoch_lines
from saccade.text.language_codes import require_code
from saccade.text.lengths import SeenLengths
from saccade.text.m2m import ManyLanguagesTokenizer
from saccade.text.prepare import Prepared, open_prepared, prepare
from saccade.text.preprocessor import Preprocessor
from saccade.text.reading import read_lines
from saccade.text.report import DataReport
from saccade.text.shapes import Shapes
from saccade.text.tokenizer import Tokenizer, TokenizerConfig
from saccade.text.translation import SIDES, collate_translation
from saccade.training.data import TrainingLines
from saccade.training.distributed import Group
from saccade.training.guided import GuidedAlignment
from saccade.training.objective import LABEL_SMOOTHING, CrossEntropy, Objective
from saccade.training.r_drop import RDrop


class Translation(Task):
    """The task of translation models that write token by token."""

    use = "translate"

    def sections(self, model: Section) -> dict[str, type[Section]]:
        """See `Task.sections`."""
        return {
            "data": DataConfig,
            "tokenizer": TokenizerConfig,
            "validation": ValidationConfig,
            "decoding": DecodingConfig,
        }

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        self.refuse_schemes(plan, but=None)
        self.require_teacher(plan)
        check_guidance(plan)
        self.require_copyable(plan)
        if plan.training.init_encoder:
            raise ConfigError("training.init_encoder: only for non-autoregressive models; leave it out.")

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        if not cast(DataConfig, data).train_files:
            raise ConfigError(
                "no training text: set data.source and data.target, or data.pairs.", topic="no-text"
            )

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> DataReport:
        """See `Task.prepare`."""
        config, pieces = cast(DataConfig, plan.data), cast(TokenizerConfig, plan.tokenizer)
        if isinstance(tokenizer, ManyLanguagesTokenizer):
            tokenizer = tokenizer.between(config.source_language, config.target_language)
        else:
            for side, code in config.languages.items():
                require_code(code, key=f"data.{side}_language")
        return prepare(
            config,
            pieces,
            out=out,
            tokenizer=cast(Tokenizer | None, tokenizer),
            batch_tokens=plan.training.batch_tokens,
            tokenize=self.validation_of(plan).tokenize,
        ).report

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """See `Task.material`."""
        prepared = open_prepared(out)
        training = plan.training

        def data(_: Any) -> TrainingLines:
            return TrainingLines(
                lines_of=_lines_of(plan, prepared, out, group),
                collate=partial(collate_translation, start=prepared.tokenizer.start),
                sides=SIDES,
                batch_tokens=training.batch_tokens,
                accumulate=training.accumulate,
                seed=training.seed,
                shapes=self.shapes(prepared, batch_tokens=training.batch_tokens),
            )

        # The report holds what was chosen when the run began, so that a resumed run has the same scores.
        # Older reports have no such entry; their runs were scored with 13a.
        config = self.validation_of(plan)
        tokenize = config.tokenize or cast(Tokenize, prepared.report.tokenize or "13a")
        found = _validation_data(prepared, out)
        check = None
        if found is not None:
            check = partial(
                validate,
                data=found,
                config=config.model_copy(update={"tokenize": tokenize}),
                objective=self.validation_objective(plan),
                options=self.validation_options(plan),
                device=group.device,
                batch_tokens=training.batch_tokens,
            )
        provenance: dict[str, Any] = {
            "data": named(prepared.report.files),
            "pairs": prepared.report.train.kept,
            "lengths": _lengths(prepared.report).as_dict(),
        }
        if found is not None:
            provenance["bleu_tokenizer"] = tokenize
        if languages := cast(DataConfig, plan.data).languages:
            provenance["languages"] = languages
        return Material(prepared.tokenizer, data, check, provenance, guided_heads(plan))

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        given, strength = plan.training.label_smoothing, plan.training.r_drop
        smoothing = LABEL_SMOOTHING if given is None else given
        if strength:
            return RDrop(strength, smoothing)
        likelihood, guided = CrossEntropy(smoothing), guided_heads(plan)
        if guided is None:
            return likelihood
        [head] = guided.heads
        return GuidedAlignment(likelihood, plan.training.guided_alignment, guided.layer, head)

    def validation_objective(self, plan: Experiment) -> Objective:
        """The objective that training minimises, without smoothing."""
        return CrossEntropy()

    def validation_options(self, plan: Experiment) -> dict[str, object]:
        """Decoding options of validation.

        Checkpoints are ranked by their best translations, even if the finished model samples by default.
        """
        plain = {"nbest": 1, "sample": False, "temperature": 1.0, "top_k": None, "top_p": 1.0}
        return {"beam": self.validation_of(plan).beam, **plain}

    def shapes(self, prepared: Prepared, *, batch_tokens: int) -> Callable[[], Shapes] | None:
        """Makes the shapes of fixed batches, see `TrainingLines`."""
        lengths = [prepared.train[side].lengths for side in SIDES]
        return cache(partial(Shapes.of, *lengths, batch_tokens=batch_tokens))

    def validation_of(self, plan: Experiment) -> ValidationConfig:
        """The section `[validation]`."""
        return cast(ValidationConfig, plan.validation)

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """See `Task.batches_an_epoch`."""
        return cast(DataReport, report).batches

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """See `Task.advice`."""
        batches = self.batches_an_epoch(plan, report)
        return translation_advice(plan, cast(DataReport, report), parameters=parameters, batches=batches)

    def refuse_schemes(self, plan: Experiment, *, but: SchemeName | None) -> None:
        """Raises UserError for settings that belong to another scheme of non-autoregressive models."""
        training, data = plan.training, cast(DataConfig, plan.data)
        owned: dict[str, tuple[bool, tuple[SchemeName, ...]]] = {
            "training.glancing": (training.glancing is not None, ("ctc", "dag")),
            "training.fine_tuning": (training.fine_tuning > 0, ("fertility",)),
            "data.fertilities": (bool(data.fertilities), ("fertility",)),
            "data.valid_fertilities": (bool(data.valid_fertilities), ("fertility",)),
        }
        for name, (given, owners) in owned.items():
            if given and but not in owners:
                known = " or ".join(f'"{owner}"' for owner in owners)
                raise ConfigError(f"{name}: only for models with decoder = {known}; leave it out.")

    def require_copyable(self, plan: Experiment) -> None:
        """Raises UserError for settings that do not fit a model that copies from the source."""
        if not getattr(plan.model, "copying", False):
            return
        if plan.start.vocabulary_from is None and not cast(TokenizerConfig, plan.tokenizer).joint:
            raise ConfigError(
                "model.copying = true: what is copied has to mean the same in the target; leave "
                "tokenizer.joint at true."
            )
        if plan.training.r_drop:
            raise ConfigError("training.r_drop: not for models that copy (model.copying); leave it out.")

    def require_teacher(self, plan: Experiment) -> None:
        """Raises UserError for settings that need a teacher if there is none."""
        training, teacher = plan.training, plan.start.teacher
        if teacher is None and (training.init_encoder or training.fine_tuning):
            name = "init_encoder" if training.init_encoder else "fine_tuning"
            raise ConfigError(f"training.{name} needs a teacher: set training.teacher.")


def _lines_of(plan: Experiment, prepared: Prepared, out: Path, group: Group) -> Callable[[int], EncodedLines]:
    """The encoded lines of an epoch; with sub-word sampling the leader segments them first."""
    seed, config = plan.training.seed, cast(DataConfig, plan.data)

    def lines(epoch: int) -> EncodedLines:
        group.wait()  # all processes are done with the epoch before, whose files may now be deleted
        if not group.leads:
            group.wait()
        encoded = epoch_lines(config, prepared.tokenizer, out=out, epoch=epoch, seed=seed)
        if group.leads:
            group.wait()
        return encoded

    return lines


def _lengths(report: DataReport) -> SeenLengths:
    """The lengths of the training lines, for the model folder."""
    source, target = report.train.source, report.train.target
    return SeenLengths(source.max_length, target.max_length, source.mean_length, target.mean_length)


def _validation_data(prepared: Prepared, folder: Path) -> ValidationData | None:
    if prepared.valid is None:
        return None
    texts = {side: _text(folder / f"valid.{side}") for side in SIDES}
    for side, lines in texts.items():
        if len(lines) != len(prepared.valid):
            raise DamagedFile(
                f"{folder / f'valid.{side}'}: damaged: {len(lines)} lines instead of {len(prepared.valid)}. "
                f"Delete the folder {folder}; the text is prepared again."
            )
    return ValidationData(prepared.valid, texts["source"], texts["target"])


def _text(path: Path) -> Sequence[str]:
    return [line for line, _ in read_lines(path)]
