"""Each kind of model learns the built-in corpus: English number words to German ones, unseen numbers."""

from pathlib import Path

import pytest

from saccade.inspection.curves import read_metrics
from saccade.runs.experiment import read_experiment, start_run
from saccade.text.numbers import write_corpus
from saccade.training.distributed import process_group

SETTINGS = [
    "tokenizer.vocab_size=300",
    "model.dropout=0.1",
    "training.batch_tokens=2048",
    "training.steps=350",
    "training.peak_rate=2e-3",
    "training.schedule=cosine",
    "training.warmup=60",
    "training.clip_norm=1.0",
    "training.label_smoothing=0.05",
    "validation.every=350",
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


LOCAL = [
    "model.width=96",
    "model.heads=4",
    "model.feed_forward=192",
    "model.encoder_layers=3",
    "model.decoder_layers=3",
    "model.norm=pre",
    "model.positions=rotary",
    "model.window=8",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "least"),
    [
        pytest.param([*RECURRENT], 0.7, id="additive"),
        pytest.param([*RECURRENT, "model.attention=dot"], 0.7, id="dot"),
        pytest.param([*RECURRENT, "model.attention=general", "model.cell=lstm"], 0.7, id="general, lstm"),
        pytest.param(
            [*RECURRENT, "model.attention=concat", "model.input_feeding=false"], 0.7, id="concat, not fed"
        ),
        # All that it knows of a number is one vector: it learns more slowly, and that is its point.
        pytest.param([*RECURRENT, "model.attention=none"], 0.3, id="one fixed vector"),
        pytest.param(CONVOLUTIONAL, 0.7, id="convolutional"),
        pytest.param(LOCAL, 0.7, id="local attention, rotary"),
    ],
)
def test_most_unseen_numbers_are_translated_without_a_mistake(
    tmp_path: Path, settings: list[str], least: float
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
    results = read_metrics(tmp_path / "run" / "metrics.jsonl")["valid"]
    assert results[-1]["exact"] >= least
