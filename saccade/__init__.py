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
    from saccade.native.quantise import Precision
    from saccade.translator import Engine, Translation, Translator
    from saccade.writer import Writer

__all__ = ["Translation", "Translator", "UserError", "Writer", "__version__", "load"]


def load(
    folder: str | Path,
    *,
    device: str | None = None,
    precision: "Precision | None" = None,
    teacher: str | Path | None = None,
    engine: "Engine" = "saccade",
) -> "Translator":
    """A translator from a model folder or a run folder (its best model).

    device: "cpu", "cuda", "cuda:1"; unset: a GPU where there is one. precision: "float32", or "int8",
    which is faster on a CPU and rounds the weights; unset: as the folder stores them. teacher: the model
    that picks among the candidates of a non-autoregressive one. engine: "torch" decodes with the network
    itself where Saccade has a faster engine.

    Raises UserError for a folder that is missing, damaged, foreign, or written by a newer Saccade.
    """
    from saccade.translator import Translator

    return Translator.load(folder, device=device, precision=precision, teacher=teacher, engine=engine)


def __getattr__(name: str) -> Any:
    """The public names that need torch or the installed package's metadata, when they are first used."""
    if name in ("Translation", "Translator"):
        from saccade import translator

        return getattr(translator, name)
    if name == "Writer":
        from saccade.writer import Writer

        return Writer
    if name == "__version__":
        from saccade.distribution import version

        return version()
    raise AttributeError(f"module 'saccade' has no attribute {name!r}")
