"""What several tests of the text folder need."""

from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.text.numbers import words
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig

DATA = Path(__file__).parents[3] / "shared" / "data"

ENGLISH = [words(n, language="en") for n in range(0, 3000, 7)]
GERMAN = [words(n, language="de") for n in range(0, 3000, 7)]


@pytest.fixture(scope="session")
def tokenizer() -> SentencePieceTokenizer:
    return SentencePieceTokenizer.learn(TokenizerConfig(vocab_size=400), ENGLISH, GERMAN)


@pytest.fixture
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"the data sets are not at {DATA}")
    return DATA


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes | str | list[str]], Path]:
    """Write a file into a fresh folder: bytes, text, or lines."""

    def write(name: str, content: bytes | str | list[str]) -> Path:
        if isinstance(content, list):
            content = "".join(f"{line}\n" for line in content)
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return write
