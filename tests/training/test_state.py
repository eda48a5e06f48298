"""What a checkpoint keeps of a run besides the model: what was written comes back, and nothing else does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saccade.errors import DamagedFile
from saccade.model_folder.checkpoint import read_tensors, save_model, write_tensors
from saccade.training.counters import Counters, read_counters
from saccade.training.state import TrainingState, generator_states, read_state, write_state
from tests import tiny

STEP = 7


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network after STEP updates, and its optimiser."""
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters())
    for _ in range(STEP):
        network(torch.randn(3, 2)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network, optimizer


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state") / "last"
    save_model(folder, tiny.model())
    network, optimizer = trained()
    write_state(
        folder,
        Counters(step=STEP, micro_batches=4, kept=[2, 4]),
        network=network,
        optimizer=optimizer,
        generators=[generator_states(torch.device("cpu"))],
        raw_weights=None,
        data={"0/0": torch.ones(3)},
    )
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "last"))


def read(folder: Path, *, rank: int = 0) -> TrainingState:
    network = nn.Linear(2, 1)
    return read_state(folder, network=network, optimizer=torch.optim.Adam(network.parameters()), rank=rank)


def test_a_state_comes_back_bit_for_bit(folder: Path) -> None:
    network, optimizer = trained()
    again = torch.optim.Adam(network.parameters())
    state = read_state(folder, network=network, optimizer=again, rank=0)
    assert state.counters == Counters(step=STEP, micro_batches=4, kept=[2, 4])
    assert torch.equal(state.data["0/0"], torch.ones(3))
    assert state.generators.keys() == {"cpu"}
    for parameter in network.parameters():
        for key, value in optimizer.state[parameter].items():
            assert torch.equal(again.state[parameter][key], value)


def test_a_state_of_an_older_run_comes_back_under_todays_names(folder: Path) -> None:
    def age(counters: dict[str, Any]) -> None:
        counters["pieces"] = counters.pop("micro_batches")
        for name in ("best_loss", "unscored"):
            del counters[name]

    tamper(folder, age)
    assert read(folder).counters == Counters(step=STEP, micro_batches=4, kept=[2, 4])


def test_a_process_that_a_run_did_not_have_starts_with_its_own_generators(folder: Path) -> None:
    assert read(folder, rank=1).generators == {}


def tamper(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "training.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content["counters"])
    path.write_text(json.dumps(content), encoding="utf-8")


COUNTS = [
    *("step", "epoch", "done", "tokens", "seconds", "best_step", "stale", "unscored"),
    *("skipped", "skipped_in_row", "micro_batches", "finished"),
]
WRONG: dict[str, Any] = {
    "negative": -1,
    "huge": 10**30,
    "a fraction": 0.5,
    "text": "3",
    "null": None,
    "nan": float("nan"),
    "infinite": float("inf"),
    "a list": [3],
    "nested": {"step": 3},
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_that_no_run_can_have_written_is_refused_by_name(folder: Path, name: str) -> None:
    before = (folder / "training.json").read_bytes()
    for kind, value in WRONG.items():
        if (name, kind) != ("seconds", "a fraction"):
            tamper(folder, lambda counters, value=value: counters.update({name: value}))
            refuses(folder, name if kind not in ("nan", "infinite") else None)
            (folder / "training.json").write_bytes(before)
    tamper(folder, lambda counters: counters.pop(name))
    if name == "unscored":  # runs of earlier versions have none
        assert read_counters(folder / "training.json").unscored == 0
    else:
        refuses(folder, name)


def refuses(folder: Path, name: str | None) -> None:
    """name: None for a file that is not JSON, because it has NaN or infinity."""
    reason = "damaged: .* is not a number" if name is None else f"damaged training state: counters.*{name}"
    with pytest.raises(DamagedFile, match=rf"training\.json: {reason}"):
        read_counters(folder / "training.json")


BROKEN: dict[str, tuple[str, Any]] = {
    "a kept path": ("kept", ["x/../../../victim"]),
    "a kept fraction": ("kept", [2.5]),
    "kept before the first step": ("kept", [0]),
    "kept after the last step": ("kept", [STEP + 1]),
    "kept twice": ("kept", [3, 3]),
    "kept as a number": ("kept", 3),
    "a best score in words": ("best", "12.5"),
    "no window": ("window", None),
    "a window with more": ("window", {"loss": 0.0, "norm": 0.0, "tokens": 0, "updates": 0, "x": 1}),
    "a window of fewer updates than none": ("window", {"loss": 0, "norm": 0, "tokens": 0, "updates": -1}),
    "more epochs than steps": ("epoch", STEP + 1),
    "more updates in an epoch than steps": ("done", STEP + 1),
    "a best step to come": ("best_step", STEP + 1),
    "parts that no splitting makes": ("micro_batches", 3),
    "an unknown counter": ("luck", 1),
}


@pytest.mark.parametrize("case", BROKEN)
def test_counters_that_contradict_each_other_are_refused(folder: Path, case: str) -> None:
    name, value = BROKEN[case]
    tamper(folder, lambda counters: counters.update({name: value}))
    with pytest.raises(DamagedFile, match=r"training\.json: damaged training state: counters"):
        read_counters(folder / "training.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"counters": 3}', '{"counters": []}', "{}"])
def test_a_file_that_holds_no_counters_is_refused(folder: Path, content: str) -> None:
    (folder / "training.json").write_text(content)
    with pytest.raises(DamagedFile, match=r"training\.json: damaged"):
        read_counters(folder / "training.json")


Tensors = dict[str, Tensor]
MEAN, SQUARE, COUNT = (f"optimizer/weight/{key}" for key in ("exp_avg", "exp_avg_sq", "step"))
DAMAGE: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "a larger moment": (lambda t: t.update({MEAN: torch.zeros(1, 3)}), MEAN),
    "a scalar moment": (lambda t: t.update({SQUARE: torch.tensor(1.0)}), SQUARE),
    "a moment of another axis": (lambda t: t.update({MEAN: torch.zeros(2, 1)}), MEAN),
    "a moment in half": (lambda t: t.update({MEAN: torch.zeros(1, 2).half()}), MEAN),
    "a moment in whole numbers": (lambda t: t.update({MEAN: torch.zeros(1, 2).long()}), MEAN),
    "a missing moment": (lambda t: t.pop(SQUARE), SQUARE),
    "a parameter without moments": (lambda t: [t.pop(n) for n in (MEAN, SQUARE, COUNT)], "weight is missing"),
    "an unknown moment": (lambda t: t.update({"optimizer/weight/more": torch.zeros(2)}), "weight/more"),
    "an unknown parameter": (
        lambda t: t.update({"optimizer/other/step": torch.zeros(())}),
        "optimizer/other",
    ),
    "a moment that is no number": (lambda t: t[MEAN].fill_(float("nan")), MEAN),
    "an endless moment": (lambda t: t[SQUARE].fill_(float("inf")), SQUARE),
    "a negative square": (lambda t: t[SQUARE].fill_(-1), SQUARE),
    "other updates": (lambda t: t[COUNT].fill_(3), COUNT),
    "a row of updates": (lambda t: t.update({COUNT: torch.full((2,), 7.0)}), COUNT),
    "a short generator": (lambda t: t.update({"generator/0/cpu": torch.zeros(5).byte()}), ""),
    "a generator of floats": (lambda t: t.update({"generator/0/cpu": torch.zeros(5056)}), "row of bytes"),
    "an impossible generator": (lambda t: t["generator/0/cpu"].fill_(255), ""),
    "no generator": (lambda t: t.pop("generator/0/cpu"), "generator is missing"),
    "a foreign tensor": (lambda t: t.update({"other": torch.zeros(2)}), "unknown tensor other"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_tensor_that_does_not_belong_to_the_state_is_refused_by_name(folder: Path, case: str) -> None:
    change, name = DAMAGE[case]
    tensors = {key: tensor.clone() for key, tensor in read_tensors(folder / "training.safetensors").items()}
    change(tensors)
    write_tensors(folder / "training.safetensors", tensors)
    with pytest.raises(DamagedFile, match=rf"training\.safetensors: damaged training state: .*{name}"):
        read(folder)
