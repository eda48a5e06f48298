"""Each kind of model learns the built-in corpus: English number words to German ones, unseen numbers."""

import json
from pathlib import Path

import pytest

from saccade.experiment import read_experiment, start_run
from saccade.text.numbers import write_corpus
from saccade.training.distributed import process_group

SETTINGS = [
    "tokenizer.vocab_size=300",
    "model.dropout=0.1",
    "training.batch_tokens=2048",
    "training.steps=600",
    "training.peak_rate=2e-3",
    "training.schedule=cosine",
    "training.warmup=100",
    "training.clip_norm=1.0",
    "training.label_smoothing=0.05",
    "validation.every=600",
    "validation.tokenize=char",
]
RECURRENT = [
    "model.kind=recurrent",
    "model.width=128",
    "model.embedding=64",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "training.peak_rate=4e-3",
]
CONVOLUTIONAL = [
    "model.kind=convolutional",
    "model.width=96",
    "model.embedding=64",
    "model.encoder_layers=4",
    "model.decoder_layers=3",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param([*RECURRENT], id="additive"),
        pytest.param([*RECURRENT, "model.attention=dot"], id="dot"),
        pytest.param([*RECURRENT, "model.attention=general", "model.cell=lstm"], id="general, lstm"),
        pytest.param(
            [*RECURRENT, "model.attention=concat", "model.input_feeding=false"], id="concat, not fed"
        ),
        pytest.param([*RECURRENT, "model.attention=none"], id="one fixed vector"),
        pytest.param(CONVOLUTIONAL, id="convolutional"),
    ],
)
def test_nine_of_ten_unseen_numbers_are_translated_without_a_mistake(
    tmp_path: Path, settings: list[str]
) -> None:
    write_corpus(tmp_path, train=12_000, valid=300, test=1)
    data = {
        "source": str(tmp_path / "train.en"),
        "target": str(tmp_path / "train.de"),
        "valid_source": str(tmp_path / "valid.en"),
        "valid_target": str(tmp_path / "valid.de"),
    }
    with process_group() as group:
        plan = read_experiment(tables={"data": data}, overrides=[*SETTINGS, *settings])
        start_run(plan, tmp_path / "run", group)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    results = [line for line in map(json.loads, filter(None, lines)) if line["kind"] == "valid"]
    assert results[-1]["exact"] >= 0.9
