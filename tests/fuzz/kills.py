"""Small runs that are killed again and again, and end as if they had never been."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

from tests.fuzz import subjects
from tests.fuzz.campaign import Campaign, Outcome
from tests.fuzz.isolation import Ended, isolated
from tests.fuzz.warming import import_what_training_imports

_ALL = {"training.ema": 0.9, "training.average": 2, "training.accumulate": 2}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "transformer": ("transformer", {}),
    "everything": ("transformer", {**_ALL, "tokenizer.sampling": 0.1}),
    "ctc": ("nonautoregressive", {}),
    "recurrent": ("recurrent", {}),
    "text": ("transformer-xl", _ALL),
}
"""What is trained: a kind, and settings."""

KILLS = 5
"""Of one run, one after another."""


class Kills(Campaign):
    """Each case is a run that is killed five times at moments drawn at random, or meets full disks."""

    name = "kills"

    def full(self) -> int:
        """Enough for more than a hundred kills of single processes, some of two, and some full disks."""
        return 36

    def prepare(self) -> None:
        """Trains each run once, unkilled."""
        self.place = self.place.resolve()
        import_what_training_imports(self.place)
        self.whole, self.seconds = {}, {}
        for name, (kind, changes) in RUNS.items():
            started = time.monotonic()
            self.whole[name] = end_of(subjects.finished_run(kind, self.place, name, **changes))
            self.seconds[name] = time.monotonic() - started
        self.pair = end_of(self._pair(self.place / "pair", "unkilled"))

    def case(self, number: int) -> Outcome:
        """One run."""
        draws, run = self.random(number), self.place / f"case-{number}"
        name = draws.choice(sorted(RUNS))
        expected = self.whole[name]
        if number % 9 == 4:
            word, expected = self._killed_pair(run, draws), self.pair
        elif number % 9 == 7:
            word = self._full_disk(run, name, draws)
        else:
            word = self._killed(run, name, draws)
        if word.fault is None and (fault := difference(run, expected)):
            word = Outcome("fault", f"{name}: {fault}")
        if word.fault is None:
            shutil.rmtree(run)
        return word

    def _killed(self, run: Path, name: str, draws: random.Random) -> Outcome:
        killed = 0
        for _ in range(8 * KILLS):
            # The first moments, in which text is prepared, as well as the last ones.
            after = draws.uniform(0.0, 0.7) * self.seconds[name]
            killed += self._go_on(run, name, kill_after=after).code == -signal.SIGKILL
            if killed == KILLS:
                break
            if finished(run):  # there is nothing more to kill: another one is begun
                word = self._to_the_end(run, name, "")
                if fault := word.fault or difference(run, self.whole[name]):
                    return Outcome("fault", f"{name}: {fault}")
                shutil.rmtree(run)
        return self._to_the_end(run, name, f"times {killed} kills")

    def _full_disk(self, run: Path, name: str, draws: random.Random) -> Outcome:
        for _ in range(3):
            ended = self._go_on(run, name, file_bytes=draws.choice((0, 100, 3000, draws.randrange(200_000))))
            if fault := ended.fault():
                return Outcome("fault", f"{name}, {run}, on a full disk: {fault}")
        return self._to_the_end(run, name, "full disks")

    def _to_the_end(self, run: Path, name: str, word: str) -> Outcome:
        ended = self._go_on(run, name)
        if ended.code != 0 or ended.hung:
            return Outcome(
                "fault", f"{name}: {run} could not be resumed: {ended.fault() or ended.err[-1500:]}"
            )
        return Outcome(word)

    def _go_on(self, run: Path, name: str, **limits: Any) -> Ended:
        """The run goes on from where it is, or begins."""
        kind, changes = RUNS[name]
        words = ["train", "--resume", run]
        if not (run / "config.toml").exists():
            words = ["train", *subjects.training(kind, subjects.corpus(self.place), **changes), "--out", run]
        return isolated(lambda: subjects.call(*words), place=self.place, seconds=120, **limits)

    def _killed_pair(self, run: Path, draws: random.Random) -> Outcome:
        """Two processes, as torchrun starts them; one dies, and torchrun ends the other."""
        for _ in range(2):
            self._pair(run, draws.uniform(0.2, 1.5) * max(self.seconds.values()))
        try:
            self._pair(run, "unkilled")
        except RuntimeError as error:
            return Outcome("fault", f"{run}: {error}")
        return Outcome("times 2 kills of two processes")

    def _pair(self, run: Path, kill_after: float | str) -> Path:
        words = ["train", "--resume", run]
        if not (run / "config.toml").exists():
            text = subjects.training("transformer", subjects.corpus(self.place))
            words = ["train", *text, "--out", run]
        port, errors = str(free_port()), self.place / f"{run.name}.errors"
        children = [started(words, rank, port, errors) for rank in range(2)]
        limit = kill_after if isinstance(kill_after, float) else 600.0
        deadline, left, codes = time.monotonic() + limit, dict.fromkeys(children), []
        while left:
            for child in list(left):
                found, status = os.waitpid(child, os.WNOHANG)
                if found:
                    del left[child]
                    codes.append(os.waitstatus_to_exitcode(status))
            if time.monotonic() > deadline or any(codes):
                for child in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
            time.sleep(0.01)
        if kill_after == "unkilled" and codes != [0, 0]:
            raise RuntimeError(
                f"two processes ended with {codes}: {errors.read_text(errors='replace')[-1500:]}"
            )
        return run


def started(words: list[Any], rank: int, port: str, errors: Path) -> int:
    """A process of two, with the variables that torchrun sets."""
    child = os.fork()
    if child:
        return child
    try:
        stream = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1), os.dup2(stream, 2)
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        code = 1
        try:
            subjects.call(*words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(code)


def finished(run: Path) -> bool:
    """Whether the run has come to its end, after which there is nothing to kill."""
    path = run / "checkpoints" / "last" / "training.json"
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["counters"]["finished"])
    except (OSError, ValueError):
        return False


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def difference(run: Path, expected: dict[str, Any]) -> str | None:
    """What is not as in the run that nobody killed, or None."""
    end = end_of(run)
    different = sorted(key for key in end.keys() | expected.keys() if end.get(key) != expected.get(key))
    return f"{run} ends differently: {different}" if different else None


def end_of(run: Path) -> dict[str, Any]:
    """What two runs must have in common to the bit: weights, training state, and metrics without times."""
    found: dict[str, Any] = {}
    for path in sorted((run / "checkpoints").rglob("*.safetensors")):
        found[str(path.relative_to(run))] = path.read_bytes()
    counters = json.loads((run / "checkpoints" / "last" / "training.json").read_text())["counters"]
    found["counters"] = {name: value for name, value in counters.items() if name != "seconds"}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [
        {name: record.get(name) for name in ("kind", "step", "loss", "bleu", "chrf")}
        for record in records
        if record.get("kind") in ("train", "valid")
    ]
    return found
