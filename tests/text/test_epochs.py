from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saccade.errors import UserError
from saccade.text.cache import EncodedLines
from saccade.text.corpus import DataConfig
from saccade.text.epochs import epoch_lines
from saccade.text.numbers import words
from saccade.text.prepare import Prepared, prepare
from saccade.text.tokenizer import TokenizerConfig

Write = Callable[[str, bytes | str | list[str]], Path]

ENGLISH = [words(n, language="en") for n in range(100, 1100, 5)]
GERMAN = [words(n, language="de") for n in range(100, 1100, 5)]


@pytest.fixture
def config(write: Write) -> DataConfig:
    source, target = write("a.en", [*ENGLISH, "", "one"]), write("a.de", [*GERMAN, "leer", "eins"])
    return DataConfig(source=(source,), target=(target,), max_length=60)


def text_of(prepared: Prepared, pairs: EncodedLines) -> list[tuple[str, str]]:
    source, target = (
        [prepared.tokenizer.decode(pairs[side].line(i).tolist()) for i in range(len(pairs))]
        for side in ("source", "target")
    )
    return list(zip(source, target, strict=True))


def equal(first: EncodedLines, second: EncodedLines) -> bool:
    return all(np.array_equal(first[side].values, second[side].values) for side in ("source", "target"))


def test_without_sampling_every_epoch_reads_the_one_cache(config: DataConfig, tmp_path: Path) -> None:
    prepared = prepare(config, TokenizerConfig(vocab_size=400), out=tmp_path / "out")
    pairs = epoch_lines(config, prepared.tokenizer, out=tmp_path / "out", epoch=3, seed=1)
    assert pairs.folder == prepared.train.folder


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_sampled_epochs_hold_the_same_text_in_other_pieces(
    config: DataConfig, tmp_path: Path, model: str
) -> None:
    out = tmp_path / "out"
    tokenizer_config = TokenizerConfig.model_validate({"vocab_size": 320, "sampling": 0.3, "model": model})
    prepared = prepare(config, tokenizer_config, out=out)
    first = epoch_lines(config, prepared.tokenizer, out=out, epoch=0, seed=1)
    second = epoch_lines(config, prepared.tokenizer, out=out, epoch=1, seed=1)
    expected = text_of(prepared, prepared.train)
    assert text_of(prepared, first) == text_of(prepared, second) == expected
    assert prepared.report.train.dropped == {"empty": 1} and len(expected) == 197  # four held out
    assert not equal(first, second) and not equal(first, prepared.train)


def test_an_epoch_is_a_function_of_seed_and_epoch_alone(config: DataConfig, tmp_path: Path) -> None:
    epochs = {}
    for name, order in (("a", [(0, 1), (1, 1)]), ("b", [(1, 1), (0, 1), (0, 2)])):
        out = tmp_path / name
        prepared = prepare(config, TokenizerConfig(vocab_size=400, sampling=0.3), out=out)
        for epoch, seed in order:
            epochs[name, epoch, seed] = epoch_lines(
                config, prepared.tokenizer, out=out, epoch=epoch, seed=seed
            )
    for epoch in (0, 1):
        assert equal(epochs["a", epoch, 1], epochs["b", epoch, 1])
    assert not equal(epochs["b", 0, 1], epochs["b", 0, 2])


def test_an_epoch_that_is_there_is_opened_and_older_ones_are_removed(
    config: DataConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepared = prepare(config, TokenizerConfig(vocab_size=400, sampling=0.3), out=out)
    for epoch in (0, 1, 2):
        epoch_lines(config, prepared.tokenizer, out=out, epoch=epoch, seed=1)
    (folder,) = out.glob("sampled-*")
    written = (folder / "cache.json").stat().st_mtime_ns
    assert epoch_lines(config, prepared.tokenizer, out=out, epoch=2, seed=1).folder == folder
    assert (folder / "cache.json").stat().st_mtime_ns == written


def test_sampling_never_makes_a_sentence_longer_than_allowed(config: DataConfig, tmp_path: Path) -> None:
    tight = config.model_copy(update={"max_length": 14, "max_dropped": 1.0})
    out = tmp_path / "out"
    prepared = prepare(tight, TokenizerConfig(vocab_size=400, sampling=0.6), out=out)
    pairs = epoch_lines(tight, prepared.tokenizer, out=out, epoch=0, seed=1)
    assert max(pairs["source"].lengths.max(), pairs["target"].lengths.max()) <= 14
    assert pairs["target"].lengths.sum() > prepared.train["target"].lengths.sum()


def test_text_that_changed_in_between_is_noticed(config: DataConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared = prepare(config, TokenizerConfig(vocab_size=400, sampling=0.3), out=out)
    for path in (*config.source, *config.target):
        path.write_bytes(path.read_bytes() + b"more\n")
    with pytest.raises(UserError, match="changed since"):
        epoch_lines(config, prepared.tokenizer, out=out, epoch=0, seed=1)
    assert not list(out.glob("sampled-*"))
