"""The text that the benchmark of non-autoregressive models translates."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.nonautoregressive import as_long


class Letters:
    """A piece for each letter of a word, and the end symbol."""

    def encode_source(self, lines: list[str]) -> list[list[int]]:
        return [[*map(ord, line.replace(" ", "")), 3] for line in lines]


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1), st.integers(10, 30))
def test_lines_are_as_long_as_they_can_be_and_no_word_is_lost_but_at_the_end(
    words: list[str], tokens: int
) -> None:
    letters: Any = Letters()
    lines = as_long([" ".join(words)], tokens, letters)
    kept = [word for line in lines for word in line.split(" ")]
    assert kept == words[: len(kept)]
    following = words[len(kept) :]
    sizes = [len(ids) for ids in letters.encode_source(lines)]
    starts = [*(line.split(" ")[0] for line in lines), following[0]]
    assert all(size <= tokens < size + len(word) for size, word in zip(sizes, starts[1:], strict=True))
