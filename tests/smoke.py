"""Every kind of model once, on this Python: train a few updates, be killed, resume, and be used.

    python tests/smoke.py [FOLDER]

Uses what `saccade` itself needs and no test tools, so that it runs in a plain environment. The kinds come
from the tables of `saccade.models` and from `tests/readers/`: a new one is run without being entered here.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Children are forked, so that torch is imported once; no library may have started threads before.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import saccade
from saccade.__main__ import app
from saccade.models import KINDS
from saccade.models.families import LanguageModel, NonAutoregressive, TranslationModel
from saccade.models.nonautoregressive import SCHEMES
from saccade.text.numbers import write_corpus
from saccade.text.reading import read_text
from saccade.use.generator import TextGenerator
from tests.readers import READERS, STEPS, Reader

UPDATES = 8
RUN = {"training.steps": UPDATES, "training.save_every": 1, "validation.every": UPDATES}
SETTINGS = {**RUN, "model.preset": "tiny", "training.batch_tokens": 256, "training.warmup": 2}
SECONDS = 300
"""Longest that one command may take."""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="saccade-smoke-") as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_corpus(folder, train=300, valid=10, test=4)
        print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, saccade {saccade.__version__}")
        failed = []
        for name, settings in systems(folder):
            started, run = time.perf_counter(), folder / name
            try:
                smoke(run, settings, folder)
            except Exception as error:  # noqa: BLE001 - the other kinds are tried all the same
                failed.append(name)
                print(
                    f"{name}: FAILED: {error!r}"
                    if not isinstance(error, Failure)
                    else f"{name}: FAILED: {error}"
                )
            else:
                print(
                    f"{name}: trained, killed, resumed, used ({time.perf_counter() - started:.0f} s)",
                    flush=True,
                )
        if failed:
            sys.exit(f"failed on Python {sys.version.split()[0]}: {', '.join(failed)}")


def systems(folder: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Each kind and each decoder by name, with its settings; the first one is the teacher of students."""
    teacher = None
    text = {"data.text": folder / "train.en", "data.valid_text": folder / "valid.en"}
    pairs = {
        f"data.{split}{side}": folder / f"{name}.{language}"
        for split, name in (("", "train"), ("valid_", "valid"))
        for side, language in (("source", "en"), ("target", "de"))
    }
    for kind, record in KINDS.items():
        if record.family is LanguageModel:
            yield kind, {**SETTINGS, **text, "model.segment": 16, "model.kind": kind}
        if not issubclass(record.family, TranslationModel):
            continue
        own = {**SETTINGS, **pairs, "model.kind": kind, "data.max_dropped": 1.0}
        if record.family is not NonAutoregressive:
            teacher = teacher or folder / kind
            yield kind, {**own}
            continue
        for decoder in SCHEMES:
            yield f"{kind}-{decoder}", {**own, "model.decoder": decoder, "training.teacher": teacher}
    for name, reader in READERS.items():
        data = folder / f"data-{name}"
        data.mkdir()
        reader.write_all(data)
        words = (*reader.files(data), *STEPS, *reader.settings)
        start = {} if reader.starts_from is None else {"training.encoder_from": folder / reader.starts_from}
        given = dict(word.split("=", 1) for word in words)
        yield name, {**RUN, **given, **start, "model.kind": reader.kind}


def fertilities(teacher: object, folder: Path) -> dict[str, object]:
    for split in ("train", "valid"):
        sides = ("--source", folder / f"{split}.en", "--target", folder / f"{split}.de")
        command("align", teacher, *sides, "--fertilities", folder / f"{split}.fert")
    return {"data.fertilities": folder / "train.fert", "data.valid_fertilities": folder / "valid.fert"}


def smoke(run: Path, settings: dict[str, object], folder: Path) -> None:
    if settings.get("model.decoder") == "fertility":
        settings = {**settings, **fertilities(settings["training.teacher"], folder)}
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    kill(run, "train", *words, "--out", run)
    resumed = command("train", "--resume", run)
    require(f"{UPDATES} steps" in resumed, f"the run was not resumed to its end: {resumed}")
    require(re.split("[-,]", run.name)[0] in command("info", run), "saccade info does not name the kind")
    if run.name in READERS:
        use_reader(run, READERS[run.name], folder / f"data-{run.name}")
    else:
        use = use_text if "data.text" in settings else use_translator
        use(run, folder)


def use_translator(run: Path, folder: Path) -> None:
    source, target = folder / "test.en", folder / "test.de"
    lines = read_text(source)
    printed = command("translate", run, source).split("\n")[:-1]
    translator = saccade.load(run, device="cpu")
    require(printed == [one.text for one in translator.translate(lines)], "command and library differ")
    require("chrF" in command("evaluate", run, "--source", source, "--reference", target), "no scores")
    command("score", run, "--source", source, "--target", target, unless="cannot score a target")
    translated = translator.translate(lines[:1])[0].text
    maps = translator.attention(lines[0], translated)
    require(bool(maps) and all(bool(torch.isfinite(one.weights).all()) for one in maps), "no attention")


def use_reader(run: Path, reader: Reader, data: Path) -> None:
    labelled = data / reader.file("valid")
    given = reader.given(labelled)
    printed = command("predict", run, given)
    predictor = saccade.load(run, device="cpu")
    found = predictor.run(list(predictor.read(given, answers=False)))
    require(
        printed == "".join(f"{line}\n" for one in found for line in one.lines()), "command and library differ"
    )
    if reader.scored is not None:
        require(command("predict", run, labelled, "--score").startswith(reader.scored), "no scores")
    require(bool(predictor.inspect(reader.shown(labelled)).tokens), "no record")


def use_text(run: Path, folder: Path) -> None:
    require("per token" in command("perplexity", run, "--text", folder / "test.en"), "no perplexity")
    words = ("--prompt", "one hundred", "--tokens", "7", "--seed", "3")
    written = command("generate", run, *words)
    [found] = TextGenerator.load(run, device="cpu").generate("one hundred", tokens=7, seed=3)
    require(written == f"{found.prompt}{found.text}\n", "command and library differ")


# --- commands as forked processes ------------------------------------------------------------------


class Failure(Exception):  # noqa: N818
    """What a kind could not do."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Failure(what)


def command(*words: object, unless: str | None = None) -> str:
    """What a command prints on standard output; Failure where it fails, except for the reason `unless`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = start(words, out.fileno(), errors.fileno())
        code = os.waitstatus_to_exitcode(wait(child, lambda: False))
        out.seek(0), errors.seek(0)
        printed, reason = out.read().decode(), errors.read().decode()
    excused = unless is not None and code == 2 and unless in reason
    require(code == 0 or excused, f"saccade {' '.join(map(str, words))}: exit code {code}\n{reason}")
    return printed


def kill(run: Path, *words: object) -> None:
    """Start a command and kill it once the run has a checkpoint."""
    with tempfile.TemporaryFile() as errors:
        child = start(words, errors.fileno(), errors.fileno())
        status = wait(child, (run / "checkpoints" / "last").exists)
        errors.seek(0)
        reason = errors.read().decode()
    require(os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"ended before it was killed:\n{reason}")


def start(words: tuple[object, ...], out: int, errors: int) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(errors, 2)
        app([str(word) for word in words], prog_name="saccade")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001 - it is for the parent to report
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(child: int, doomed: Callable[[], bool]) -> int:
    """The status of a child that has ended; it is killed when `doomed` says so, or takes too long."""
    deadline = time.monotonic() + SECONDS
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        if doomed() or time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        time.sleep(0.005)


if __name__ == "__main__":
    main()
