"""What is looked for in parallel training text while it is encoded."""

from collections.abc import Iterable, Mapping, Sequence

from saccade.text.corpus import Line
from saccade.text.folding import Folding
from saccade.text.language_id import LanguageSample
from saccade.text.overlap import DuplicateFinder
from saccade.text.repeats import RepeatFinder


class Findings:
    """Pairs of small texts that occur in the training text, repeated pairs, and the languages of it."""

    def __init__(self, small: Mapping[str, Sequence[Line]], *, sides: Iterable[str] = ()) -> None:
        """small: texts whose pairs should not occur, by name; sides: those whose language is asked for."""
        self._fold = Folding()
        self.duplicates = DuplicateFinder(small, self._fold)
        self.repeats = RepeatFinder()
        self.languages = LanguageSample(sides)

    def look_at(self, pairs: Sequence[Line]) -> None:
        """Looks at a part of the training text."""
        fold = self._fold
        folded = [(fold(pair.texts["source"]), fold(pair.texts["target"])) for pair in pairs]
        self.duplicates.look_at(pairs, folded)
        self.repeats.look_at(pairs, folded)
        self.languages.look_at(pairs)
