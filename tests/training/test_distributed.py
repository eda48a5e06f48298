"""Two processes train what one trains."""

from pathlib import Path

import pytest
import torch

from saccade.model_folder.checkpoint import read_tensors
from saccade.training.distributed import Group, process_group
from saccade.training.wrapping import Replicated, Unwrapped
from tests.tiny import batch
from tests.training.conftest import drive, quick_drive
from tests.training.test_resume import losses, weights

# A bias of the keys cannot change attention: its gradient is rounding noise, which Adam would blow up
# to whole steps but for a large epsilon.
EXACT = ("model.dropout=0", "training.accumulate=2", "training.epsilon=1e-3")


def test_two_processes_equal_one_on_the_same_global_batch(corpus: Path) -> None:
    settings = (*EXACT, "training.r_drop=2")
    assert quick_drive(corpus / "one", *settings) == 0
    two = drive(corpus / "two", *settings, processes=2)
    assert two.returncode == 0, two.stderr
    for (step, one), (other_step, other) in zip(losses(corpus / "one"), losses(corpus / "two"), strict=True):
        assert step == other_step
        assert abs(one - other) < 1e-5
    for name, tensor in weights(corpus / "one").items():
        torch.testing.assert_close(weights(corpus / "two")[name], tensor, atol=2e-5, rtol=1e-4)


@pytest.mark.slow
def test_two_processes_equal_one_when_the_model_copies(corpus: Path) -> None:
    settings = (*EXACT, "model.copying=true")
    assert quick_drive(corpus / "one", *settings) == 0
    assert quick_drive(corpus / "two", *settings, processes=2) == 0
    for (_, one), (_, other) in zip(losses(corpus / "one"), losses(corpus / "two"), strict=True):
        assert abs(one - other) < 1e-5
    for name, tensor in weights(corpus / "one").items():
        torch.testing.assert_close(weights(corpus / "two")[name], tensor, atol=2e-5, rtol=1e-4)


@pytest.mark.slow
def test_two_processes_carry_the_memory_that_one_carries(corpus: Path) -> None:
    settings = (*EXACT, "model.kind=transformer-xl")
    assert quick_drive(corpus / "one", *settings) == 0
    two = drive(corpus / "two", *settings, processes=2)
    assert two.returncode == 0, two.stderr
    for (_, one), (_, other) in zip(losses(corpus / "one"), losses(corpus / "two"), strict=True):
        assert abs(one - other) < 1e-5
    one, other = (
        read_tensors(corpus / name / "checkpoints" / "last" / "training.safetensors")
        for name in ("one", "two")
    )
    carried = [name for name in one if name.startswith("carried/")]
    assert len(carried) == 2 * 2  # batches, layers
    for name in carried:
        torch.testing.assert_close(other[name], one[name], atol=1e-4, rtol=1e-3)


def test_batches_with_fewer_rows_than_processes_leave_no_rank_waiting(corpus: Path) -> None:
    few = ("training.batch_tokens=4", "training.steps=3", "model.dropout=0")
    assert quick_drive(corpus / "one", *few) == 0
    assert quick_drive(corpus / "two", *few, processes=2) == 0
    for (_, one), (_, other) in zip(losses(corpus / "one"), losses(corpus / "two"), strict=True):
        assert abs(one - other) < 1e-5


def test_a_dead_rank_ends_all_with_its_own_message(corpus: Path) -> None:
    dead = drive(
        corpus / "run", "training.peak_rate=1e30", "training.max_skipped=2", "training.warmup=0", processes=2
    )
    assert dead.returncode != 0
    assert "training.peak_rate" in dead.stderr


def test_shares_of_a_batch_are_all_its_rows_once() -> None:
    rows = 7
    whole = batch([[5 + row] * (row + 1) for row in range(rows)], [[4]] * rows)
    for size in (1, 2, 3, 7, 9):
        shares = [Group(rank=rank, size=size).share(whole) for rank in range(size)]
        seen = [share.batch["source"].values[:, 0].tolist() for share in shares if share.weight]
        assert sorted(word for words in seen for word in words) == [5 + row for row in range(rows)]
        assert sum(share.weight == 0 for share in shares) == max(size - rows, 0)
        assert all(share.target_tokens == whole.target_tokens for share in shares)


def test_a_group_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with process_group() as group:
        assert (group.rank, group.size, group.local_rank, group.node) == (0, 1, 0, 0)
        assert isinstance(group.wrapping, Unwrapped)
    begun = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **_: begun.append(backend))
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: begun.append("ended"))
    local = 0 if torch.cuda.is_available() else 1
    announced = {"WORLD_SIZE": 8, "RANK": 5, "LOCAL_RANK": local, "GROUP_RANK": 2}
    for name, value in announced.items():
        monkeypatch.setenv(name, str(value))
    with process_group() as group:
        assert (group.rank, group.size, group.node) == (5, 8, 2)
        assert group.local_rank == local
        assert isinstance(group.wrapping, Replicated) and not group.leads
    assert len(begun) == 2 and begun[-1] == "ended"
