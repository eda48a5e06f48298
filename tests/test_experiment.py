"""Composing a run: what is refused leaves nothing behind, and each problem is told once."""

from pathlib import Path

import pytest

from saccade.errors import UserError
from saccade.runs.experiment import read_experiment, start_run
from saccade.training.distributed import Group
from tests.training.conftest import drive, write_corpus


def test_data_that_cannot_be_prepared_leave_the_run_folder_as_it_was(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    files = [f"data.source={tmp_path / 'train.en'}", f"data.target={tmp_path / 'train.de'}"]
    experiment = read_experiment(overrides=[*files, "tokenizer.vocab_size=5000"])
    with pytest.raises(UserError, match=r"tokenizer\.vocab_size = 5000"):
        start_run(experiment, tmp_path / "runs" / "first", Group())
    assert not (tmp_path / "runs").exists()


def test_text_without_one_readable_line_says_why_and_where(tmp_path: Path) -> None:
    for language in ("en", "de"):
        (tmp_path / f"train.{language}").write_bytes(b"\xff\n" * 3)
    files = [f"data.source={tmp_path / 'train.en'}", f"data.target={tmp_path / 'train.de'}"]
    with pytest.raises(UserError, match=r"UTF-8[\s\S]*train\.en:1"):
        start_run(read_experiment(overrides=files), tmp_path / "run", Group())


def test_other_processes_leave_the_message_to_the_first(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    refused = drive(tmp_path / "run", "tokenizer.vocab_size=5000", processes=2)
    assert refused.returncode != 0
    assert refused.stderr.count("tokenizer.vocab_size = 5000") == 1
    assert "Connection closed" not in refused.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("validation.tokenize=13b", r"validation\.tokenize"),
        ("model.preset=huge", r"model\.preset"),
        ("model.kind=transfromer", r"model\.kind"),
        ("training.stepz=3", r"training\.steps"),
        ("trainig.steps=3", r"training"),
        ("training.ema=1.5", r"training\.ema"),
    ],
)
def test_a_wrong_setting_is_named_as_the_user_wrote_it(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_experiment(overrides=[setting])
