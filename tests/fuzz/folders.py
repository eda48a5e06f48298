"""Damaged and hostile model folders and run folders: each is used, or refused with one message."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

from tests.fuzz import subjects
from tests.fuzz.campaign import Campaign, Outcome
from tests.fuzz.isolation import isolated
from tests.fuzz.mutations import mutate
from tests.fuzz.subjects import Subject
from tests.fuzz.warming import import_what_training_imports

_LINES = "\n".join(subjects.TEXT) + "\n"


class Folders(Campaign):
    """Each case is a copy of a folder with one to three changes, and one command that reads it.

    It ends well, or with exit code 2 and one message, within the limits of `isolation`. Nothing outside the
    folder is touched, and the folder itself only by a command that resumes it.
    """

    name = "folders"

    def full(self) -> int:
        """As many as the acceptance asks for, and some."""
        return 2400

    def prepare(self) -> None:
        """Trains and writes the folders that are damaged."""
        ready = self.place / "subjects"
        ready.mkdir()
        import_what_training_imports(ready)
        self.subjects = [*subjects.models(ready), *subjects.runs(ready, brief=self.brief)]
        self.text = subjects.corpus(ready)

    def case(self, number: int) -> Outcome:
        """One folder."""
        draws = self.random(number)
        subject = draws.choice([one for one in self.subjects if one.run is (draws.random() < 0.5)])
        case = self.place / f"case-{number}"
        folder, outside, scratch = case / subject.name, case / "outside", case / "scratch"
        shutil.copytree(subject.folder, folder)
        (outside / "victim").mkdir(parents=True)
        scratch.mkdir()
        for name in ("secret", "model.json", "training.json"):
            (outside / "victim" / name).write_text("{}", encoding="utf-8")
        what = mutate(folder, draws, outside)
        words, writes = self._use(subject, folder, draws)
        before, around = state(folder), state(outside)
        ended = isolated(lambda: subjects.call(*words), place=scratch, stdin=_LINES.encode())
        fault = ended.fault()
        if "not enough memory" in ended.err:
            fault = f"asks for memory: {ended.err[-300:]}"
        if state(outside) != around or {path.name for path in case.iterdir()} != SIBLINGS | {subject.name}:
            fault = f"touches what is outside: {sorted(case.rglob('*'))[:20]}"
        elif not writes and state(folder) != before:
            fault = "changes the folder that it reads"
        elif not {path.name for path in scratch.iterdir()} <= {"out"}:
            fault = f"leaves {[path.name for path in scratch.iterdir()]} in the current folder"
        if fault is None:
            shutil.rmtree(case)
            return Outcome("used" if ended.code == 0 else "refused")
        command = " ".join(map(str, words))
        return Outcome("fault", f"{subject.name}: {what}: saccade {command}: {fault}")

    def _use(self, subject: Subject, folder: Path, draws: random.Random) -> tuple[list[object], bool]:
        """A command, and whether it may write to the folder."""
        if subject.run and draws.random() < 0.6:
            return ["train", "--resume", folder], True
        text = ("--source", self.text / "test.en", "--target", self.text / "test.de")
        common: list[list[object]] = [
            ["info", folder],
            ["info", folder, "--json"],
            ["export", folder, "--to", "saccade", "--precision", "int8", "--out", "out"],
        ]
        if subject.language_model:
            own: list[list[object]] = [
                ["perplexity", folder, "--text", self.text / "test.en"],
                ["generate", folder, "--prompt", "one", "--tokens", 5, "--seed", 1],
            ]
        else:
            steps = ("--set", "training.steps=1", "--set", "training.batch_tokens=128")
            own = [
                ["translate", folder],
                ["translate", folder, "--engine", "torch", "--json"],
                ["translate", folder, "--precision", "int8"],
                ["score", folder, *text],
                ["train", "--init-from", folder, *text, *steps, "--out", "out"],
            ]
        return draws.choice([*own, *own, *common]), False


SIBLINGS = {"outside", "scratch"}


def state(folder: Path) -> dict[str, object]:
    """Everything below a folder: kind, permissions and content."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = b""
        if path.is_symlink():
            content = bytes(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).digest()
        found[str(path.relative_to(folder))] = (about.st_mode, content)
    return found
