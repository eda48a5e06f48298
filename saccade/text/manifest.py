"""Manifests, which name a file on each line, and after a tab what it holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from saccade.errors import InputError
from saccade.frames.reading import SUFFIXES
from saccade.text.opening import is_standard_input, shown
from saccade.text.reading import numbered_lines


class Entry(NamedTuple):
    """A file of a manifest. name: as the manifest has it; answer: its label or text; place: file:line."""

    name: str
    path: Path
    answer: str
    place: str


def read_manifest(path: Path, *, answers: bool) -> Iterator[Entry]:
    """Yields the files of a manifest, whose names are relative to its folder; or a picture or sound itself.

    answers: whether each line must have a tab and an answer behind the name. Raises UserError, with the line,
    for one without a name or an answer.
    """
    if path.suffix.lower() in SUFFIXES:
        if answers:
            raise InputError(
                f"{shown(path)}: a file by itself has no answer; give a manifest, a file and its "
                "answer on each line with a tab between them."
            )
        yield Entry(str(path), path, "", shown(path))
        return
    folder = Path() if is_standard_input(path) else path.parent
    with numbered_lines(path) as lines:
        for number, line in lines:
            place = f"{shown(path)}:{number}"
            name, tab, answer = line.partition("\t")
            if not name.strip() or "\t" in answer or (answers and not answer.strip()):
                wanted = (
                    "a file, a tab and its answer" if answers else "a file, or a file, a tab and its answer"
                )
                raise InputError(
                    f"{place}: {1 + line.count(chr(9)) if tab else 1} columns; a line must be {wanted}."
                )
            yield Entry(name, folder / name, answer, place)
