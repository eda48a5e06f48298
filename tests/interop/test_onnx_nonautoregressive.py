"""Models that write all words at once, as ONNX graphs and in 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.errors import UserError
from saccade.interop.exporting import export_model, open_exported, store_model
from saccade.model_folder.checkpoint import Model, save_model
from saccade.use.translator import Translator
from tests import tiny
from tests.decoding.test_strategy import model as non_autoregressive
from tests.models.test_nonautoregressive import DECODERS
from tests.tiny import LINES, sentence_pieces

VARIANTS: dict[str, dict[str, Any]] = {
    "post": {},
    "pre": {"norm": "pre", "activation": "gelu", "tied_embeddings": "none"},
}
SOME = ["", *LINES[:20], "  ", "Ωmega", "a"]


def model(decoder: str, **changes: Any) -> Model:
    found = non_autoregressive(decoder, sentence_pieces(), **changes)
    found.network.float()
    if decoder == "fertility":
        with torch.no_grad():
            found.network.get_parameter("predictor.bias")[1] += 3.0
    return found


def same(ours: Translator, theirs: Translator, **options: Any) -> None:
    first, second = (one.translate(SOME, **options) for one in (ours, theirs))
    assert [one.text for one in first] == [one.text for one in second]
    scores = torch.tensor([[x.score, y.score] for x, y in zip(first, second, strict=True)])
    torch.testing.assert_close(scores[:, 0], scores[:, 1], rtol=0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_onnx_writes_the_same(decoder: str, variant: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    ours = model(decoder, **VARIANTS[variant])
    checked = export_model(ours, tmp_path / "out", target="onnx", lines=LINES[:8])
    assert checked.same == {"one candidate": 8}
    theirs = open_exported(tmp_path / "out", threads=1)
    ways: dict[str, list[dict[str, Any]]] = {
        # Cut to half of the source, "a" becomes one piece, which sees nobody.
        "fertility": [{}, {"fertilities": "average"}, {"max_ratio": 0.5, "max_extra": 0}],
        "mask-predict": [{"iterations": 1}, {"iterations": 4, "candidates": 3}],
        "ctc": [{}, {"candidates": 4}],
    }
    for options in ways[decoder]:
        same(Translator.of(ours), theirs, **options)
    if decoder == "fertility":
        assert len(theirs.translate(["a"], max_ratio=0.5, max_extra=0)[0].tokens) == 1
    teacher = tiny.model(dtype=torch.float32)
    save_model(tmp_path / "teacher", teacher)
    judged = open_exported(tmp_path / "out", threads=1, reranker=tmp_path / "teacher")
    same(Translator.of(ours, reranker=teacher), judged, candidates=3)
    with pytest.raises(UserError, match="means nothing to this non-autoregressive model"):
        theirs.translate(["a"], beam=2)


def test_ctranslate2_has_no_such_models(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nonautoregressive: export to ctranslate2 supports only"):
        export_model(model("ctc"), tmp_path / "out", target="ctranslate2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("decoder", DECODERS)
def test_int8_is_stored_and_counted(decoder: str, tmp_path: Path) -> None:
    ours = model(decoder, width=32, heads=2, feed_forward=64)
    checked = store_model(ours, tmp_path / "int8", precision="int8", lines=LINES[:20])
    store_model(ours, tmp_path / "float32", lines=LINES[:20])
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("float32", "int8")]
    assert sizes[1] < 0.4 * sizes[0]
    texts = [
        [one.text for one in translator.translate(LINES[:20], candidates=1)]
        for translator in (Translator.of(ours), Translator.load(tmp_path / "int8", device="cpu"))
    ]
    equal = sum(x == y for x, y in zip(*texts, strict=True))
    assert checked.same == {"one candidate": equal}
    assert equal > 5, "random weights: some near ties turn"
