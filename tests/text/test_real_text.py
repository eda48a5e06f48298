"""The same on real text, where the data sets are at hand."""

from pathlib import Path

from saccade.text.corpus import DataConfig, read_aligned
from saccade.text.prepare import prepare
from saccade.text.tokenizer import TokenizerConfig


def test_multi30k_is_kept_whole_with_little_padding(data: Path, tmp_path: Path) -> None:
    folder = data / "multi30k"
    config = DataConfig(
        source=(folder / "train.en",),
        target=(folder / "train.de",),
        valid_source=(folder / "val.en",),
        valid_target=(folder / "val.de",),
        test_source=(folder / "test_2016_flickr.en",),
        test_target=(folder / "test_2016_flickr.de",),
    )
    report = prepare(config, TokenizerConfig(vocab_size=8000), out=tmp_path / "out", batch_tokens=4096).report
    assert report.train.read == 29_000 and report.train.kept >= 28_990
    assert report.padding < 0.03
    assert report.train.source.bytes == report.train.target.unknown == 0
    assert report.duplicates["test"].pairs == 0


def test_chinese_works_without_any_setting_and_comes_back(data: Path, tmp_path: Path) -> None:
    folder = data / "classical-modern-zh"
    config = DataConfig(source=(folder / "dev.lzh",), target=(folder / "dev.zh",), holdout=0)
    prepared = prepare(config, TokenizerConfig(), out=tmp_path / "out")
    pairs = list(read_aligned(config.train_files))
    assert len(prepared.train) == len(pairs)
    for i in range(0, len(pairs), 50):
        assert (
            prepared.tokenizer.decode(prepared.train["target"].line(i).tolist()) == pairs[i].texts["target"]
        )
    assert prepared.report.train.source.unknown_share == 0.0
    assert prepared.report.train.source.byte_share < 0.1
