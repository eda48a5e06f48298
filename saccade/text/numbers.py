"""The built-in corpus: number words in English and German, with the reordering of a real language pair
("four hundred and twenty-three", "vierhundertdreiundzwanzig"). The words come from num2words."""

import random
from collections.abc import Iterable
from pathlib import Path

from num2words import num2words

from saccade.storage.files import write_text

SPLITS = ("train", "valid", "test")

_BELOW_ALWAYS_SEEN = 100  # all other numbers are composed of these words
_DIGITS, _WEIGHTS = (3, 4, 5, 6), (1, 2, 3, 4)  # a uniform draw would give nine of ten numbers six digits
_ROUND = 0.2
_MOST = 500_000  # pairs; drawing more unused numbers would take long


def write_corpus(
    folder: Path, *, train: int = 20_000, valid: int = 500, test: int = 1_000, seed: int = 1
) -> None:
    """Writes train.en, train.de, valid.en, ... test.de; equal arguments give equal files.

    The numbers are from 0 to 999,999 and none is used twice, so that those of the test text are unseen. All
    below 100 are in the training text (if `train` allows); of the others 10% have three digits, 20% four, 30%
    five and 40% six while there are unused ones, and every fifth ends in zeros, as is common in real text.
    Raises ValueError for a negative count and for more than 500,000 pairs.
    """
    if min(train, valid, test) < 0 or train + valid + test > _MOST:
        raise ValueError(f"{train} + {valid} + {test} pairs: 0 to {_MOST:,} together are possible")
    generator = random.Random(seed)
    used: set[int] = set()
    numbers = {"test": _draw(test, used, generator), "valid": _draw(valid, used, generator)}
    small = list(range(min(_BELOW_ALWAYS_SEEN, train)))
    numbers["train"] = small + _draw(train - len(small), used, generator)
    generator.shuffle(numbers["train"])
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        for language in ("en", "de"):
            _write(folder / f"{split}.{language}", (words(n, language=language) for n in numbers[split]))


def words(number: int, *, language: str) -> str:
    """The words of a number in a language, "en" or "de"."""
    return str(num2words(number, lang=language))


def _draw(count: int, used: set[int], generator: random.Random) -> list[int]:
    """Draws unused numbers of 100 and more, in random order, and marks them as used."""
    drawn: list[int] = []
    while len(drawn) < count:
        digits = generator.choices(_DIGITS, _WEIGHTS)[0]
        number = generator.randrange(10 ** (digits - 1), 10**digits)
        if generator.random() < _ROUND:
            number -= number % 10 ** generator.randrange(1, digits)
        if number not in used:
            used.add(number)
            drawn.append(number)
    return drawn


def _write(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
