"""Loading a model folder as the class that uses it: the one place where this depends on the family."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from saccade.machine import chosen_device
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models import kind_of
from saccade.models.families import (
    Classifier,
    FrameClassifier,
    LanguageModel,
    MaskedLanguageModel,
    Network,
    NonAutoregressive,
    Pointer,
    Ranker,
    Recogniser,
    Seq2Seq,
    Tagger,
)
from saccade.use.classifier import TextLabeller
from saccade.use.frame_labeller import FrameLabeller
from saccade.use.generator import TextGenerator
from saccade.use.mask_filler import MaskFiller
from saccade.use.pointer import InputPointer
from saccade.use.predictor import Predictor
from saccade.use.table_ranker import TableRanker
from saccade.use.tagger import WordLabeller
from saccade.use.transcriber import Transcriber
from saccade.use.translator import Translator

Use = Translator | TextGenerator | Predictor
"""The classes that use a loaded model."""

USES: dict[type[Network], Callable[..., Use]] = {
    Seq2Seq: Translator.of,
    NonAutoregressive: Translator.of,
    LanguageModel: TextGenerator,
    Tagger: WordLabeller,
    Classifier: TextLabeller,
    MaskedLanguageModel: MaskFiller,
    FrameClassifier: FrameLabeller,
    Recogniser: Transcriber,
    Ranker: TableRanker,
    Pointer: InputPointer,
}
"""The class, or a function that makes it, for the models of each family."""


def load(folder: str | Path | Sequence[str | Path], *, device: str | None = None, **options: Any) -> Use:
    """Loads a model folder or a run folder (its best checkpoint), ready for use.

    Several folders make an ensemble of translation models. options: see `Translator.of`, `TextGenerator`
    and `InputPointer`.
    Raises UserError for a folder that cannot be read.
    """
    if not isinstance(folder, str | Path):
        return Translator.load(folder, device=device, **options)
    place = chosen_device(device)
    model: Model = load_model(Path(folder))
    use = USES[kind_of(model.config).family](model, device=place, **options)
    use.reopen = partial(load, Path(folder).absolute(), device=str(place), **options)
    return use
