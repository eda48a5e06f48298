"""Records of imported models: Marian, M2M-100 and NLLB attend as any Transformer does."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("transformers")

from saccade.errors import Unsupported
from saccade.interop.exporting import export_model, open_exported
from saccade.interop.importing import import_folder
from saccade.use.translator import Translator
from tests.interop.published import many, opus
from tests.tiny import model


def test_marian_shows_three_kinds_of_attention(tmp_path: Path) -> None:
    opus(tmp_path / "opus", codes=[">>deu<<"])
    found = Translator.of(import_folder(tmp_path / "opus").model).inspect(
        ">>deu<< A dog runs.", "Ein Hund rennt."
    )
    assert {one.kind for one in found.maps} == {"encoder", "decoder", "cross"}
    assert found.tokens["source"].words[0] == ">>deu<<"
    assert not found.absent


@pytest.mark.parametrize("nllb", [False, True])
def test_the_tokens_of_languages_are_words_of_their_own(tmp_path: Path, nllb: bool) -> None:
    many(tmp_path / "many", nllb=nllb)
    source, target = ("eng_Latn", "deu_Latn") if nllb else ("en", "de")
    made = import_folder(tmp_path / "many", source_language=source, target_language=target).model
    translator = Translator.of(made)
    found = translator.inspect("A dog runs.", max_length=12)
    assert found.output == translator.translate(["A dog runs."], max_length=12)[0].text
    assert found.tokens["source"].words[0] == source and found.tokens["target"].words[0] == target
    assert len(found.tokens["read"].pieces) == len(found.tokens["target"].pieces)


def test_an_exported_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    export_model(model(), tmp_path / "exported", target="ctranslate2")
    with pytest.raises(Unsupported, match="use the model that it was exported from"):
        open_exported(tmp_path / "exported").inspect("the dog", beam=1)
