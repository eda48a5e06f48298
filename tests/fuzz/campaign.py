"""What a campaign is: numbered cases, each of which its number and the seed alone decide."""

from __future__ import annotations

import json
import os
import random
import selectors
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """How a case ended: a word for the table, and what was wrong, if anything was."""

    word: str
    fault: str | None = None


class Campaign(ABC):
    """Cases that are tried one by one. place: a folder of its own, which exists. brief: fewer things are made
    for the cases, so that they are others."""

    name: str
    alone = False
    """Whether a case keeps several processors busy by itself, so that no other is tried at the same time."""

    def __init__(self, seed: int, place: Path, *, brief: bool = False) -> None:
        self.seed, self.place, self.brief = seed, place, brief

    @abstractmethod
    def full(self) -> int:
        """How many cases there are."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Makes what all cases share."""

    @abstractmethod
    def case(self, number: int) -> Outcome:
        """Tries one."""

    def random(self, number: int) -> random.Random:
        """The draws of a case."""
        return random.Random(f"{self.seed}/{self.name}/{number}")


@dataclass
class Tally:
    """What came of a campaign."""

    name: str
    planned: int
    words: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of all processors together, in this process and its children."""

    @property
    def done(self) -> int:
        return self.words.total()


def run(campaign: Campaign, *, count: int, workers: int, deadline: float) -> Tally:
    """Runs the first `count` cases, shared among processes, as long as there is time.

    deadline: of time.monotonic().
    """
    tally = Tally(campaign.name, count)
    workers = 1 if campaign.alone else min(workers, count)
    with selectors.DefaultSelector() as waiting:
        children = []
        for worker in range(workers):
            read, write = os.pipe()
            child = os.fork()
            if not child:
                os.close(read)
                _work(campaign, range(worker, count, workers), write, deadline=deadline)
            os.close(write)
            children.append(child)
            waiting.register(os.fdopen(read, encoding="utf-8"), selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                if not _taken(tally, key.fileobj.readline()):
                    waiting.unregister(key.fileobj)
                    key.fileobj.close()
        for child in children:
            os.waitpid(child, 0)
    return tally


def _taken(tally: Tally, line: str) -> bool:
    if not line:
        return False
    number, word, fault = json.loads(line)
    tally.words[word] += 1
    if fault is not None:
        tally.faults[number] = fault
        shown = fault if len(fault) <= 1600 else f"{fault[:300]} ... {fault[-1300:]}"
        print(f"FAULT {tally.name}/{number}: {word}: {shown}", file=sys.stderr, flush=True)
    return True


def _work(campaign: Campaign, numbers: Iterator[int] | range, write: int, *, deadline: float) -> None:
    """A worker process, which ends here."""
    try:
        with os.fdopen(write, "w", encoding="utf-8") as results:
            for number in numbers:
                if time.monotonic() > deadline:
                    break
                outcome = tried(campaign, number)
                results.write(json.dumps([number, outcome.word, outcome.fault]) + "\n")
                results.flush()
    finally:
        os._exit(0)


def tried(campaign: Campaign, number: int) -> Outcome:
    """One case; a mistake of the campaign's own is a fault, too."""
    try:
        return campaign.case(number)
    except Exception:  # noqa: BLE001
        return Outcome("campaign failed", traceback.format_exc())
