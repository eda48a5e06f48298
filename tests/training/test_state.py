"""What a checkpoint keeps of a run besides the model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from saccade.checkpoint import save_model
from saccade.training.state import Counters, read_state, write_state
from tests import tiny


def test_a_state_of_an_older_run_comes_back_under_todays_names(tmp_path: Path) -> None:
    save_model(tmp_path, tiny.model())
    network = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters())
    write_state(
        tmp_path,
        Counters(step=7, micro_batches=4),
        network=network,
        optimizer=optimizer,
        generators=[],
        raw_weights=None,
        data={"0/0": torch.ones(3)},
    )
    description = json.loads((tmp_path / "training.json").read_text())
    description["counters"]["pieces"] = description["counters"].pop("micro_batches")
    (tmp_path / "training.json").write_text(json.dumps(description))
    state = read_state(tmp_path, network=network, optimizer=optimizer, rank=0)
    assert state.counters == Counters(step=7, micro_batches=4)
    assert torch.equal(state.data["0/0"], torch.ones(3))
