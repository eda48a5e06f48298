"""Blocks of text for masked language models, and the choice of what is masked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from saccade.errors import UserError
from saccade.text.batching import PaddedColumn
from saccade.text.masked import (
    MaskedTextConfig,
    MaskedTokenizerConfig,
    Masking,
    open_prepared_blocks,
    prepare_blocks,
)
from saccade.training.masked_text import MaskedBlocks

LINES = ["the old town sleeps", "", "a town , the sleepers and the old", "sleeping"] * 30


def prepared(tmp_path: Path, **changes: int) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{line}\n" for line in LINES))
    config = MaskedTextConfig(text=(tmp_path / "a.txt",), valid_text=(tmp_path / "a.txt",), block=16)
    prepare_blocks(config, MaskedTokenizerConfig(**changes), out=tmp_path / "out", tokenizer=None)


def test_blocks_hold_the_whole_text_in_order(tmp_path: Path) -> None:
    prepared(tmp_path)
    found = open_prepared_blocks(tmp_path / "out")
    source = found.train["source"]
    text = [number for row in range(len(found.train)) for number in source.line(row)[1:-1].tolist()]
    assert text == [number for line in LINES for number in found.tokenizer.cut(line)]
    assert found.report.train.tokens == len(text)
    for row in range(len(found.train)):
        assert (source.line(row)[0], source.line(row)[-1]) == (found.tokenizer.start, found.tokenizer.end)
    assert set(source.lengths[:-1].tolist()) == {16}


def column(rows: int = 400, length: int = 42) -> PaddedColumn:
    values = torch.arange(10, 10 + rows * length).view(rows, length)
    return PaddedColumn(values, torch.full((rows,), length), 0, rows * length)


def test_15_percent_are_chosen_and_hidden_80_10_10() -> None:
    source = column()
    batch = Masking(4, 1 << 30).apply(source, np.random.default_rng(0))
    places, gold, shown = batch["places"].values, batch["gold"].values, batch["source"].values
    assert batch["gold"].lengths.tolist() == [6] * 400  # of 40 pieces without the symbols at the ends
    assert torch.equal(gold, source.values.gather(1, places))
    assert int(places.min()) >= 1 and int(places.max()) <= 40
    at = shown.gather(1, places)
    count = at.numel()
    assert abs(int((at == 4).sum()) / count - 0.8) < 0.03
    assert abs(int((at == gold).sum()) / count - 0.1) < 0.02
    untouched = torch.ones_like(shown, dtype=torch.bool).scatter_(1, places, False)
    assert torch.equal(shown[untouched], source.values[untouched])
    assert batch.target_tokens == count


def test_short_blocks_have_one_masked_piece_and_padding_none() -> None:
    values = torch.tensor([[2, 7, 3, 0, 0, 0], [2, 7, 8, 9, 7, 3]])
    source = PaddedColumn(values, torch.tensor([3, 6]), 0, 9)
    batch = Masking(4, 10).apply(source, np.random.default_rng(0))
    assert batch["gold"].lengths.tolist() == [1, 1]
    assert batch["places"].values[0].tolist() == [1]


def test_masks_differ_between_epochs_and_are_the_same_again(tmp_path: Path) -> None:
    prepared(tmp_path)
    found = open_prepared_blocks(tmp_path / "out")
    masking = Masking(found.tokenizer.mask, found.tokenizer.source_vocab_size)
    data = MaskedBlocks(found.train, masking, batch_tokens=64, accumulate=2, seed=3)
    first, again, other = (list(data.epoch(epoch, done=0)) for epoch in (0, 0, 1))
    later = list(data.epoch(0, done=1))
    assert len(later) == len(first) - 1

    def shown(updates: list[object]) -> list[list[int]]:
        return [batch["source"].values.tolist() for update in updates for batch in update]  # type: ignore

    assert shown(first) == shown(again) != shown(other)
    assert shown(first)[2:] == shown(later)


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(UserError, match="cannot be learned: the text is empty"):
        prepare_blocks(
            MaskedTextConfig(text=(tmp_path / "a.txt",)),
            MaskedTokenizerConfig(),
            out=tmp_path / "out",
            tokenizer=None,
        )
