"""The demo, which trains a translator of number words from scratch and shows what it learned, in one folder.

DIR/  corpus/  demo.toml  model/ (a run folder)  translations.txt  curves.png  attention.png
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.config import dump_toml, load_toml
from saccade.errors import Conflict, StorageError
from saccade.evaluation import Scores, evaluate
from saccade.inspection.curves import draw_curves
from saccade.inspection.picture import draw_attention
from saccade.runs import experiment
from saccade.storage.files import write_text
from saccade.storage.folders import disk_error
from saccade.text.corpus import read_parallel
from saccade.text.numbers import write_corpus
from saccade.training.distributed import Group
from saccade.use.translator import Translator

SETTINGS = Path(__file__).with_name("demo.toml")
_MARKER = ".made-by-saccade-demo"
_MADE = ("corpus", "model", "demo.toml", "translations.txt", "curves.png", "attention.png", _MARKER)
_SIDES = ("source", "en"), ("target", "de")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Example:
    """The translation of a number that is not in the training text."""

    source: str
    text: str
    reference: str


@dataclass(frozen=True)
class Demo:
    """The results: scores on unseen numbers, some translations, and pictures (none without matplotlib)."""

    scores: Scores
    examples: tuple[Example, ...]
    pictures: tuple[Path, ...]


def make_folder(out: Path, *, fresh: bool, steps: int | None) -> None:
    """Makes an empty demo folder, or accepts one of an interrupted demo, which will be resumed.

    fresh: removes the files of an earlier demo. Raises UserError for a folder that the demo did not make, so
    that other files are never touched.
    """
    ours = (out / _MARKER).is_file()
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise Conflict(f"{out}: exists and was not made by the demo.", topic="out")
    if ours and fresh:
        for name in _MADE:
            _remove(out / name)
    elif ours and steps is not None:
        raise Conflict(f"{out}: holds a demo with its own number of steps.", topic="demo-steps")
    try:
        out.resolve().mkdir(parents=True, exist_ok=True)
        (out / _MARKER).touch()
    except OSError as error:
        raise disk_error(out, error) from error


def settings(corpus: Path, *, steps: int | None = None) -> dict[str, Any]:
    """The demo's configuration for a corpus folder; with other `steps`, warm-up and validation are scaled."""
    tables = load_toml(SETTINGS)
    tables["data"] = {
        f"{prefix}{side}": str(corpus / f"{split}.{language}")
        for prefix, split in (("", "train"), ("valid_", "valid"), ("test_", "test"))
        for side, language in _SIDES
    }
    if steps is not None:
        training, validation = tables["training"], tables["validation"]
        training["warmup"] = min(training["warmup"], steps // 10)
        validation["every"] = max(min(validation["every"], steps // 4), 1)
        training["steps"] = steps
    return tables


def train_demo(out: Path, group: Group, *, steps: int | None = None, say: Say) -> None:
    """Writes the corpus and the configuration and trains, or resumes an interrupted run."""
    run, config = out / "model", out / "demo.toml"
    if (run / "config.toml").is_file():
        experiment.resume_run(run, group, say=say)
        return
    try:
        write_corpus(out / "corpus")
        write_text(config, dump_toml(settings(out / "corpus", steps=steps)))
    except OSError as error:
        raise disk_error(out, error) from error
    experiment.start_run(experiment.read_experiment(config), run, group, say=say)


def show_demo(out: Path, *, examples: int = 6) -> Demo:
    """Evaluates the trained model on the unseen numbers, writes their translations and draws pictures."""
    translator = Translator.load(out / "model")
    sources, references = read_parallel(out / "corpus" / "test.en", out / "corpus" / "test.de")
    # A German number is a single word, but BLEU counts sequences of up to four tokens.
    scores, translations = evaluate(translator, sources, references, tokenize="char")
    lines = [f"{translation.text}\n" for translation in translations]
    write_text(out / "translations.txt", "".join(lines))
    shown = [
        Example(source, translation.text, reference)
        for source, translation, reference in zip(sources, translations, references, strict=True)
    ][:examples]
    return Demo(
        scores, tuple(shown), _pictures(out, translator, max(shown, key=lambda example: len(example.text)))
    )


def _pictures(out: Path, translator: Translator, example: Example) -> tuple[Path, ...]:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return ()
    draw_curves(out / "model" / "metrics.jsonl", out=out / "curves.png")
    maps = translator.attention(example.source, example.text)
    draw_attention(maps, *translator.pieces(example.source, example.text), out=out / "attention.png")
    return out / "curves.png", out / "attention.png"


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be removed: {error.strerror or error}.") from error
