"""A model folder of each format version, written by the version that introduced it, still translates."""

import json
from pathlib import Path

import pytest

from saccade.model_folder.checkpoint import FORMAT, load_model
from saccade.use.translator import Translator

FOLDERS = sorted((Path(__file__).parent / "data").glob("model-v*"))


def test_there_is_one_folder_for_each_format() -> None:
    assert [folder.name for folder in FOLDERS] == [f"model-v{version}" for version in range(1, FORMAT + 1)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_old_model_gives_the_translations_and_scores_that_it_gave(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    model = load_model(folder)
    translator = Translator.of(model)
    # Without compiled kernels, products of int8 weights are computed in float32.
    slack = 1e-4 if model.precision == "float32" else 0.05
    for beam, rows in expected.items():
        translations = translator.translate([row["source"] for row in rows], beam=int(beam))
        assert [translation.text for translation in translations] == [row["text"] for row in rows]
        for translation, row in zip(translations, rows, strict=True):
            assert translation.log_prob == pytest.approx(row["log_prob"], abs=slack)
