"""Every kind of model that reads, in processes of its own: killed and resumed, and in two at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from saccade.model_folder.checkpoint import read_tensors
from tests.readers import READERS
from tests.trained import EVERYTHING, Trained, lines_of
from tests.training.conftest import quick_drive
from tests.training.test_resume import assert_same_run

EXACT = (
    *("model.dropout=0", "model.attention_dropout=0", "model.word_dropout=0", "training.accumulate=2"),
    # A bias of the keys cannot change attention: its gradient is rounding noise, which Adam would blow up to
    # whole steps but for a large epsilon.
    "training.epsilon=1e-3",
)
CASES = {**{name: (name, ()) for name in READERS}, "tagger, lstm": ("tagger", ("model.encoder=lstm",))}
"""What the test is called, the reader, and further settings."""
QUICK = {"tagger, crf"}
"""What is killed in `make test`; there, `tests/test_readers.py` stops and resumes the others in-process."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("readers"))


def own_settings(trained: Trained, name: str) -> list[str]:
    """The settings of a reader that `drive.py` does not set: it knows where the files lie."""
    files = READERS[name].files(trained.data(name))
    return [one for one in trained.settings(name) if one not in files]


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in CASES]
)
def test_killed_and_resumed_it_is_the_same_run(trained: Trained, case: str) -> None:
    name, changes = CASES[case]
    settings = (*own_settings(trained, name), *READERS[name].existing(EVERYTHING), *changes)
    whole, cut = (trained.data(name) / f"{part}-{case}" for part in ("whole", "cut"))
    assert quick_drive(whole, *settings) == 0
    assert quick_drive(cut, "--kill-at", "8", *settings) == -9  # 3 updates after the last save
    assert quick_drive(cut, "--resume") == 0
    assert_same_run(whole, cut)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_two_processes_train_the_weights_that_one_trains(trained: Trained, name: str) -> None:
    data, exact = trained.data(name), READERS[name].existing(EXACT)
    for run, processes in (("one", 1), ("two", 2)):
        assert quick_drive(data / run, *own_settings(trained, name), *exact, processes=processes) == 0
    one, two = ([line["loss"] for line in lines_of(data / run, "train")] for run in ("one", "two"))
    assert two == pytest.approx(one, abs=1e-5)
    expected, got = (weights(data / run) for run in ("one", "two"))
    for key, tensor in expected.items():
        torch.testing.assert_close(got[key], tensor, atol=2e-5, rtol=1e-4, msg=key)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints" / "last" / "model.safetensors")
