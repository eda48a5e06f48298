import errno
import gzip
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saccade.errors import UserError
from saccade.text.corpus import DataConfig
from saccade.text.encode import CHUNK
from saccade.text.numbers import words
from saccade.text.prepare import Prepared, open_prepared, prepare
from saccade.text.report import DataReport
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig

Write = Callable[[str, bytes | str | list[str]], Path]

ENGLISH = [words(n, language="en") for n in range(100, 1100, 5)]
GERMAN = [words(n, language="de") for n in range(100, 1100, 5)]
SMALL = TokenizerConfig(vocab_size=400)


def config(**settings: object) -> DataConfig:
    return DataConfig.model_validate(settings)


@pytest.fixture
def corpus(write: Write) -> dict[str, Path]:
    return {"source": write("train.en", ENGLISH), "target": write("train.de", GERMAN)}


def text_of(prepared: Prepared) -> list[tuple[str, str]]:
    """The training pairs as text, from the ids."""
    tokenizer, train = prepared.tokenizer, prepared.train
    assert tokenizer.shared
    source, target = train["source"], train["target"]
    return [
        (
            tokenizer.decode(source.line(i).tolist()),
            tokenizer.decode(target.line(i).tolist()),
        )
        for i in range(len(train))
    ]


def test_two_files_become_ids_of_the_same_text(corpus: dict[str, Path], tmp_path: Path) -> None:
    prepared = prepare(config(**corpus, holdout=0), SMALL, out=tmp_path / "out")
    assert text_of(prepared) == list(zip(ENGLISH, GERMAN, strict=True))
    assert prepared.valid is None
    report = prepared.report
    assert (report.train.read, report.train.kept, report.train.dropped) == (200, 200, {})
    assert report.train.source.max_length == prepared.train["source"].lengths.max()
    assert report.train.target.pieces == prepared.train["target"].lengths.sum() - 200
    assert report.train.source.unknown_share == 0.0
    assert report.files == {str(path): report.files[str(path)] for path in corpus.values()}


def test_what_was_prepared_can_be_opened_later(corpus: dict[str, Path], tmp_path: Path) -> None:
    first = prepare(config(**corpus), SMALL, out=tmp_path / "out")
    later = open_prepared(tmp_path / "out")
    assert later.report == first.report
    assert text_of(later) == text_of(first)
    assert later.valid is not None and first.valid is not None and len(later.valid) == len(first.valid) == 4


def test_preparing_twice_gives_the_same_bytes(corpus: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare(config(**corpus), SMALL, out=tmp_path / name)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path


def test_the_report_survives_json(corpus: dict[str, Path], tmp_path: Path) -> None:
    report = prepare(config(**corpus), SMALL, out=tmp_path / "out").report
    assert DataReport.from_dict(json.loads(json.dumps(report.as_dict()))) == report


class TestValidation:
    def test_without_validation_files_pairs_are_held_out_and_not_trained_on(
        self, corpus: dict[str, Path], tmp_path: Path
    ) -> None:
        prepared = prepare(config(**corpus, holdout=50), SMALL, out=tmp_path / "out")
        sources = (tmp_path / "out" / "valid.source").read_text().split("\n")[:-1]
        targets = (tmp_path / "out" / "valid.target").read_text().split("\n")[:-1]
        held_out = list(zip(sources, targets, strict=True))
        assert prepared.valid is not None and len(prepared.valid) == 50 == len(held_out)
        assert sorted([*text_of(prepared), *held_out]) == sorted(zip(ENGLISH, GERMAN, strict=True))
        assert prepared.report.train.held_out == 50
        assert prepared.report.train.read == 200 == prepared.report.train.kept + 50

    def test_the_pairs_held_out_come_from_the_whole_text(self, write: Write, tmp_path: Path) -> None:
        random.Random(0).shuffle(lines := ENGLISH * 30)
        numbered = [f"{i} {line}" for i, line in enumerate(lines)]
        paths = {"source": write("train.en", numbered), "target": write("train.de", numbered)}
        prepare(config(**paths), SMALL, out=tmp_path / "out")
        held_out = (tmp_path / "out" / "valid.source").read_text().split("\n")[:-1]
        places = [int(line.split()[0]) for line in held_out]
        assert len(places) == 0.02 * len(lines) and places == sorted(places)
        assert abs(np.mean(places) / len(lines) - 0.5) < 5 * 0.29 / np.sqrt(len(places))

    def test_holding_out_more_than_there_is_is_refused(self, corpus: dict[str, Path], tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"data\.holdout = 200: there are only 200 usable"):
            prepare(config(**corpus, holdout=200), SMALL, out=tmp_path / "out")

    def test_held_out_pairs_that_cannot_be_used_are_no_reason_to_refuse(
        self, write: Write, tmp_path: Path
    ) -> None:
        lines = ENGLISH[:60]
        paths = {"source": write("a.en", lines), "target": write("a.de", lines)}
        first = prepare(config(**paths), SMALL.model_copy(update={"vocab_size": 290}), out=tmp_path / "out")
        assert first.valid is not None and len(first.valid) == 1
        longest = int(first.valid["source"].lengths[0])
        shorter = config(**paths, max_length=longest - 1, max_dropped=1.0)
        second = prepare(shorter, SMALL, out=tmp_path / "out", tokenizer=first.tokenizer)
        assert second.valid is None and open_prepared(tmp_path / "out").valid is None
        assert second.report.valid is not None and second.report.valid.dropped == {"too long": 1}

    def test_validation_files_are_used_when_given(
        self, corpus: dict[str, Path], write: Write, tmp_path: Path
    ) -> None:
        valid = write("valid.tsv", ["seven\tsieben", "eight\t ", "nine\tneun"])
        prepared = prepare(config(**corpus, valid_pairs=valid), SMALL, out=tmp_path / "out")
        assert prepared.valid is not None and len(prepared.valid) == 2
        assert (tmp_path / "out" / "valid.target").read_text() == "sieben\nneun\n"
        assert prepared.report.valid is not None and prepared.report.valid.dropped == {"empty": 1}
        assert len(prepared.train) == 200

    def test_validation_text_without_a_usable_pair_is_refused(
        self, corpus: dict[str, Path], write: Write, tmp_path: Path
    ) -> None:
        valid = write("valid.tsv", ["seven", "eight"])
        with pytest.raises(
            UserError, match=r"no validation pair can be used:\n.*columns: 2 .*valid\.tsv:1, 2"
        ):
            prepare(config(**corpus, valid_pairs=valid), SMALL, out=tmp_path / "out")


class TestDropping:
    def test_every_cause_is_counted_with_its_lines(self, write: Write, tmp_path: Path) -> None:
        source = [*ENGLISH, "", "bad", "one", "word " * 50, "too " * 100]
        target = [*GERMAN, "leer", "bad", " ", "wort", "zu " * 100]
        paths = {
            "source": write("train.en", "\n".join(source).encode().replace(b"bad", b"\xff")),
            "target": write("train.de", target),
            "pairs": write("more.tsv", "five\tfünf\nsix\nseven\tsieben\tsept\n"),
        }
        report = prepare(config(**paths, holdout=0, max_length=80), SMALL, out=tmp_path / "out").report
        assert report.train.dropped == {
            "empty": 2,
            "bad UTF-8": 1,
            "length ratio": 1,
            "too long": 1,
            "columns": 2,
        }
        assert report.train.places == {
            "empty": [f"{paths['source']}:201", f"{paths['target']}:203"],
            "bad UTF-8": [f"{paths['source']}:202"],
            "length ratio": [f"{paths['source']}:204"],
            "too long": [f"{paths['source']}:205"],
            "columns": [f"{paths['pairs']}:2", f"{paths['pairs']}:3"],
        }
        assert report.train.read == 208 == report.train.kept + 7
        assert report.train.dropped_share == pytest.approx(7 / 208)

    def test_at_most_ten_lines_a_cause_are_named(self, write: Write, tmp_path: Path) -> None:
        paths = {"source": write("a.en", ENGLISH + [""] * 15), "target": write("a.de", GERMAN + ["x"] * 15)}
        report = prepare(config(**paths), SMALL, out=tmp_path / "out").report
        assert len(report.train.places["empty"]) == 10
        assert f"empty: 15 ({paths['source']}:201, 202, 203" in "\n".join(report.summary())

    def test_losing_more_than_allowed_is_refused_with_causes_and_lines(
        self, write: Write, tmp_path: Path
    ) -> None:
        paths = {"source": write("a.en", ENGLISH + [""] * 50), "target": write("a.de", GERMAN + ["x"] * 50)}
        with pytest.raises(
            UserError, match=r"20\.0% of the training pairs .* data\.max_dropped = 0\.1"
        ) as caught:
            prepare(config(**paths), SMALL, out=tmp_path / "out")
        assert f"empty: 50 ({paths['source']}:201, 202" in str(caught.value)
        with pytest.raises(UserError, match="no prepared data"):
            open_prepared(tmp_path / "out")
        assert (
            len(prepare(config(**paths, max_dropped=0.2, holdout=0), SMALL, out=tmp_path / "out").train)
            == 200
        )

    def test_a_text_of_which_nothing_is_left_is_refused_whatever_is_allowed(
        self, corpus: dict[str, Path], tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match="no training pair can be used"):
            prepare(config(**corpus, max_length=2, max_dropped=1.0), SMALL, out=tmp_path / "out")

    def test_short_sentences_may_differ_in_length(self, write: Write, tmp_path: Path) -> None:
        paths = {"source": write("a.en", [*ENGLISH, "o"]), "target": write("a.de", [*GERMAN, "qqqqqq"])}
        assert prepare(config(**paths, holdout=0), SMALL, out=tmp_path / "out").report.train.dropped == {}

    def test_text_that_normalisation_leaves_nothing_of_is_empty(self, write: Write, tmp_path: Path) -> None:
        paths = {"source": write("a.en", [*ENGLISH, "\x01"]), "target": write("a.de", [*GERMAN, "x"])}
        tokenizer_config = TokenizerConfig(vocab_size=400, normalization="nmt_nfkc")
        report = prepare(config(**paths, holdout=0), tokenizer_config, out=tmp_path / "out").report
        assert report.train.places == {"empty": [f"{paths['source']}:201"]}


class TestReport:
    def test_pairs_of_the_test_text_found_in_the_training_text_are_counted(
        self, corpus: dict[str, Path], write: Write, tmp_path: Path
    ) -> None:
        test = write(
            "test.tsv", [f"{ENGLISH[7]}\t{GERMAN[7]}", f"{ENGLISH[8]}\tanders", "neu\tnew", "broken"]
        )
        report = prepare(config(**corpus, test_pairs=test, holdout=0), SMALL, out=tmp_path / "out").report
        found = report.duplicates["test"]
        assert (found.checked, found.pairs, found.sources) == (4, 1, 2)
        assert found.places == [f"{test}:1 = {corpus['source']}:8"]
        assert "test: of 4 pairs 1 occur in the training text (source side alone: 2)" in "\n".join(
            report.summary()
        )

    def test_pairs_held_out_are_looked_up_too(self, write: Write, tmp_path: Path) -> None:
        paths = {"source": write("a.en", ENGLISH * 2), "target": write("a.de", GERMAN * 2)}
        found = prepare(config(**paths, holdout=5), SMALL, out=tmp_path / "out").report.duplicates["valid"]
        assert found.checked == 5 and found.pairs >= 3  # the other copy is held out only by chance

    def test_unknown_and_byte_pieces_are_counted(self, write: Write, tmp_path: Path) -> None:
        valid = write("valid.tsv", ["two 你\tzwei"])
        paths = {"source": write("a.en", ENGLISH), "target": write("a.de", GERMAN), "valid_pairs": valid}
        with_bytes = prepare(config(**paths), SMALL, out=tmp_path / "bytes").report.valid
        assert with_bytes is not None
        assert (with_bytes.source.unknown, with_bytes.source.bytes, with_bytes.target.bytes) == (0, 3, 0)
        assert with_bytes.source.byte_share == 3 / with_bytes.source.pieces
        without = TokenizerConfig(vocab_size=200, byte_fallback=False)
        report = prepare(config(**paths), without, out=tmp_path / "none").report.valid
        assert report is not None and (report.source.unknown, report.source.bytes) == (1, 0)

    def test_the_summary_names_the_figures_people_look_for(
        self, corpus: dict[str, Path], tmp_path: Path
    ) -> None:
        prepared = prepare(
            config(**corpus), TokenizerConfig(vocab_size=290, joint=False), out=tmp_path / "out"
        )
        text = "\n".join(prepared.report.summary())
        for expected in (
            "training: 200 pairs read, 196 kept, 4 held out",
            "validation: 4 pairs read",
            "290 source and 290 target pieces",
            r"\d+ an epoch at 4,096 tokens, \d+\.\d% padding",
            "mean length",
        ):
            assert re.search(expected, text), expected


def test_a_tokeniser_that_is_given_is_used_and_kept(
    corpus: dict[str, Path], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    prepared = prepare(config(**corpus), SMALL, out=tmp_path / "out", tokenizer=tokenizer)
    assert prepared.tokenizer.encode_source(ENGLISH) == tokenizer.encode_source(ENGLISH)


def test_the_vocabulary_is_not_learned_from_the_pairs_held_out(write: Write, tmp_path: Path) -> None:
    paths = {"source": write("a.en", ENGLISH), "target": write("a.de", GERMAN)}
    prepared = prepare(config(**paths, holdout=40), SMALL, out=tmp_path / "out")
    kept = text_of(prepared)
    alone = SentencePieceTokenizer.learn(SMALL, (s for s, _ in kept), (t for _, t in kept))
    alone.save(tmp_path / "alone")
    assert (tmp_path / "alone" / "tokenizer.model").read_bytes() == (
        tmp_path / "out" / "tokenizer" / "tokenizer.model"
    ).read_bytes()


def test_a_text_of_several_chunks_keeps_its_order(write: Write, tmp_path: Path) -> None:
    numbers = [str(n) for n in range(2 * CHUNK + 5)]
    content = gzip.compress("".join(f"{n}\tno {n}\n" for n in numbers).encode(), compresslevel=1)
    messages: list[str] = []
    prepared = prepare(
        config(pairs=write("a.tsv.gz", content), holdout=3),
        SMALL,
        out=tmp_path / "out",
        progress=messages.append,
    )
    held_out = set((tmp_path / "out" / "valid.source").read_text().split())
    sample = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1]
    expected = [n for n in numbers if n not in held_out]
    for i in sample:
        assert prepared.tokenizer.decode(prepared.train["source"].line(i).tolist()) == expected[i]
        assert prepared.tokenizer.decode(prepared.train["target"].line(i).tolist()) == f"no {expected[i]}"
    assert messages[0] == "reading the files" and messages[-1] == f"encoding: {len(numbers):,} pairs"


class TestErrors:
    def test_no_training_text_says_what_to_set(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"set data\.source and data\.target"):
            prepare(config(), SMALL, out=tmp_path / "out")

    def test_a_missing_test_file_is_found_before_anything_is_written(
        self, corpus: dict[str, Path], tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match=r"nowhere\.tsv: no such file"):
            prepare(config(**corpus, test_pairs="nowhere.tsv"), SMALL, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_unequal_counts_are_found_before_the_vocabulary_is_learned(
        self, write: Write, tmp_path: Path
    ) -> None:
        paths = {"source": write("a.en", ENGLISH), "target": write("a.de", GERMAN[:-1])}
        with pytest.raises(UserError, match="has 200 lines, .* has 199 lines"):
            prepare(config(**paths), SMALL, out=tmp_path / "out")

    def test_a_vocabulary_too_large_for_the_text_is_a_user_error(
        self, corpus: dict[str, Path], tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match="supports at most"):
            prepare(config(**corpus), TokenizerConfig(vocab_size=30_000), out=tmp_path / "out")

    def test_a_full_disk_is_a_user_error_and_leaves_nothing_that_opens(
        self, corpus: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        prepare(config(**corpus), SMALL, out=tmp_path / "out")
        monkeypatch.setattr(np, "save", full)
        with pytest.raises(UserError, match="No space left"):
            prepare(config(**corpus), SMALL, out=tmp_path / "out")
        monkeypatch.undo()
        with pytest.raises(UserError, match="no prepared data"):
            open_prepared(tmp_path / "out")

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"train": 3}'])
    def test_a_damaged_report_is_a_user_error(
        self, corpus: dict[str, Path], tmp_path: Path, content: str
    ) -> None:
        prepare(config(**corpus), SMALL, out=tmp_path / "out")
        (tmp_path / "out" / "report.json").write_text(content)
        with pytest.raises(UserError, match="damaged"):
            open_prepared(tmp_path / "out")
