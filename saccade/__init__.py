"""Saccade, a sequence-to-sequence toolkit: two text files in, a translator out.

    import saccade
    translator = saccade.load("runs/model")
    for translation in translator.translate(["A dog runs."], beam=5):
        print(translation.text, translation.score)

The names listed in `__all__` are the public interface; torch is imported when one of them first needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saccade.models.recording import AttentionMap
    from saccade.use.classifier import TextLabeller
    from saccade.use.frame_labeller import FrameLabeller
    from saccade.use.generator import TextGenerator
    from saccade.use.mask_filler import MaskFiller
    from saccade.use.pointer import InputPointer
    from saccade.use.table_ranker import TableRanker
    from saccade.use.tagger import WordLabeller
    from saccade.use.transcriber import Transcriber
    from saccade.use.translator import Translation, Translator

__all__ = [
    "AttentionMap",
    "FrameLabeller",
    "InputPointer",
    "MaskFiller",
    "TableRanker",
    "TextGenerator",
    "TextLabeller",
    "Transcriber",
    "Translation",
    "Translator",
    "UserError",
    "WordLabeller",
    "__version__",
    "load",
]


def load(folder: "str | Path | Sequence[str | Path]", *, device: str | None = None, **options: Any) -> Any:
    """Loads the model in a model folder or a run folder (its best model), ready for use.

    A translation model is loaded as a `Translator`, a language model as a `TextGenerator`, a tagger as a
    `WordLabeller`, a classifier as a `TextLabeller`, a masked language model as a `MaskFiller`, a pointer
    network as an `InputPointer`, a recogniser of pictures or sounds as a `Transcriber`, a classifier of them
    as a `FrameLabeller`, a ranker as a `TableRanker`. A list of folders makes an ensemble: a `Translator`
    that averages the probabilities of models with one vocabulary.

    device: "cpu", "cuda", "cuda:1"; unset: a GPU if one is available. Options of translation models:
    precision, "float32", "int8", which is faster on CPUs but quantises the weights, "bfloat16" or "float16"
    on a GPU (unset: as stored in the folder); reranker, a model folder, which picks among the candidates of a
    non-autoregressive model. Options of language models are settings that their weights do not depend on,
    such as memory; those of pointer networks are keys of `[decoding]`, such as beam.

    Raises UserError for a folder that is missing, damaged, of a foreign format, or from a newer Saccade.
    """
    from saccade.use.loading import load as load_folder

    return load_folder(folder, device=device, **options)


_HOMES = {
    "AttentionMap": "saccade.models.recording",
    "FrameLabeller": "saccade.use.frame_labeller",
    "InputPointer": "saccade.use.pointer",
    "MaskFiller": "saccade.use.mask_filler",
    "TableRanker": "saccade.use.table_ranker",
    "TextGenerator": "saccade.use.generator",
    "TextLabeller": "saccade.use.classifier",
    "Transcriber": "saccade.use.transcriber",
    "Translation": "saccade.use.translator",
    "Translator": "saccade.use.translator",
    "WordLabeller": "saccade.use.tagger",
}


def __getattr__(name: str) -> Any:
    """Imports the public names that need torch when they are first used."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from saccade.distribution import version

        return version()
    raise AttributeError(f"module 'saccade' has no attribute {name!r}")
