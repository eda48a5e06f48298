"""Saccade: a sequence-to-sequence toolkit. Two text files in, a translator out.

    import saccade
    translator = saccade.load("runs/model")
    for translation in translator.translate(["A dog runs."], beam=5):
        print(translation.text, translation.score)

Programs can rely on the names listed in `__all__`; torch is imported when one first needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.errors import UserError

if TYPE_CHECKING:
    from saccade.generator import TextGenerator
    from saccade.models.recording import AttentionMap
    from saccade.translator import Translation, Translator

__all__ = [
    "AttentionMap",
    "TextGenerator",
    "Translation",
    "Translator",
    "UserError",
    "__version__",
    "load",
]


def load(folder: str | Path, *, device: str | None = None, **options: Any) -> Any:
    """The model in a model folder or a run folder (its best model), ready for what it is for.

    A translation model is loaded as a `Translator`, a language model as a `TextGenerator`. device: "cpu",
    "cuda", "cuda:1"; unset: a GPU if there is one. Options of translation models: precision, "float32" or
    "int8", which is faster on a CPU and rounds the weights (unset: as the folder stores them); reranker, a
    model folder, which picks among the candidates of a non-autoregressive model. Options of language models
    are settings that their weights do not depend on, such as memory.

    Raises UserError for a folder that is missing, damaged, foreign, or written by a newer Saccade.
    """
    from saccade.loading import load as load_folder

    return load_folder(folder, device=device, **options)


_HOMES = {
    "AttentionMap": "saccade.models.recording",
    "TextGenerator": "saccade.generator",
    "Translation": "saccade.translator",
    "Translator": "saccade.translator",
}


def __getattr__(name: str) -> Any:
    """The public names that need torch or the installed package's metadata, when they are first used."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from saccade.distribution import version

        return version()
    raise AttributeError(f"module 'saccade' has no attribute {name!r}")
