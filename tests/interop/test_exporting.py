"""Other engines give the same translations, and what they can't express is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from saccade.decoding.options import DecodingConfig
from saccade.errors import UserError
from saccade.interop import exporting
from saccade.interop.ctranslate2 import convert_and_open, vocabularies
from saccade.interop.exported import Target
from saccade.interop.exporting import export_model, open_exported, sample_lines, store_model
from saccade.model_folder.checkpoint import Model
from saccade.models.transformer import Transformer
from saccade.native.fork import ThisProcess
from saccade.use.translator import Translator
from tests import kinds
from tests.continuous import alone, as_they_come, jobs
from tests.tiny import LINES, Words, model, sentence_pieces

TARGETS: tuple[Target, ...] = ("ctranslate2", "onnx")
VARIANTS: dict[str, dict[str, Any]] = {
    "post": {},
    "pre": {"norm": "pre", "activation": "gelu"},
    "learned": {"positions": "learned", "max_positions": 70, "activation": "silu"},
    "halves": {"sinusoid_layout": "halves", "output_bias": True, "scaled_embeddings": False},
    "fairseq": {"sinusoid_layout": "fairseq", "norm": "pre", "encoder_layers": 1},
    "none": {"positions": "none", "tied_embeddings": "none"},
}
SOME = ["", *LINES[:20], "  ", "Ωmega", "a"]


def tiny(**changes: Any) -> Model:
    found = model(dtype=torch.float32, **changes)
    decoding = {"length_penalty": "power", "alpha": 1.0, "max_length": 24, "early_stopping": True}
    return Model(found.network, found.config, found.tokenizer, decoding)


def texts(translator: Translator, lines: list[str], **options: Any) -> list[str]:
    return [one.text for one in translator.translate(lines, **options)]


def same(ours: Translator, theirs: Translator, *, close: bool = True, **options: Any) -> None:
    first, second = (one.translate(SOME, **options) for one in (ours, theirs))
    assert [x.text for x in first] == [x.text for x in second]
    assert [[y.text for y in x.alternatives] for x in first] == [
        [y.text for y in x.alternatives] for x in second
    ]
    if close:
        scores = torch.tensor([[x.score, y.score] for x, y in zip(first, second, strict=True)])
        torch.testing.assert_close(scores[:, 0], scores[:, 1], rtol=0, atol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_ctranslate2_translates_the_same(variant: str) -> None:
    pytest.importorskip("ctranslate2")
    ours = tiny(**VARIANTS[variant])
    same(Translator.of(ours), convert_and_open(ours, device="cpu", threads=1), beam=1, close=False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_ctranslate2_searches_the_same(variant: str) -> None:
    """A bias makes translations end: at the greatest length it counts no end symbol, and ranks otherwise."""
    pytest.importorskip("ctranslate2")
    ours = tiny(**{**VARIANTS[variant], "output_bias": True})
    with torch.no_grad():
        assert isinstance(ours.network, Transformer)
        ours.network.output.bias[ours.tokenizer.end] = 6.0
    theirs = convert_and_open(ours, device="cpu", threads=1)
    # It never writes padding either, and takes it out before the softmax.
    options = {"beam": 4, "nbest": 2, "min_length": 5, "max_length": 60, "rules": "renormalized"}
    same(Translator.of(ours), theirs, **options)
    lengths = [len(one.tokens) for one in theirs.translate(SOME, **options) if one.tokens]
    assert min(lengths) >= 5 and max(lengths) < 59, "all should end by themselves"


def test_ctranslate2_with_separate_vocabularies() -> None:
    pytest.importorskip("ctranslate2")
    ours = tiny(tokenizer=sentence_pieces(joint=False))
    same(Translator.of(ours), convert_and_open(ours, device="cpu", threads=1), beam=1, close=False)


def test_ctranslate2_follows_prefixes_and_limits() -> None:
    pytest.importorskip("ctranslate2")
    ours = Translator.of(tiny())
    theirs = convert_and_open(tiny(), device="cpu", threads=1)
    lines = LINES[:6]
    for options in (
        {"prefixes": ["A DOG ", "", "THE", "", "", "OUR HOUSE"]},
        {"max_length": 3},
        {"max_length": None, "max_ratio": 0.5, "max_extra": 2},
        {"min_length": 6},
        {"banned": [9, 20, 31]},
    ):
        first, second = (texts(one, lines, beam=1, **options) for one in (ours, theirs))
        assert first == second, options


@pytest.mark.parametrize(
    ("options", "message"),
    [({"sample": True, "beam": 1}, "decoding.sample"), ({"length_penalty": "gnmt"}, "only has power")],
)
def test_what_ctranslate2_does_not_have_is_refused(options: dict[str, Any], message: str) -> None:
    pytest.importorskip("ctranslate2")
    theirs = convert_and_open(tiny(), device="cpu", threads=1)
    with pytest.raises(UserError, match=message):
        theirs.translate(["a"], **options)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_onnx_translates_the_same_under_every_setting(variant: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    ours = tiny(**VARIANTS[variant])
    checked = export_model(ours, tmp_path / "out", target="onnx", lines=LINES[:8])
    assert set(checked.same.values()) == {8}
    theirs = open_exported(tmp_path / "out", threads=1)
    for options in ({"beam": 1}, {"beam": 4, "nbest": 3}, {"sample": True, "nbest": 3, "beam": 1}):
        same(Translator.of(ours), theirs, **options)
    same(Translator.of(ours), theirs, beam=2, length_penalty="gnmt", early_stopping=False)


class OnePosition:
    """A decoder graph of an earlier version: one position for all."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def run(self, names: None, inputs: dict[str, Any]) -> Any:
        assert inputs["position"].shape == ()
        position = np.broadcast_to(inputs["position"], inputs["token"].shape).copy()
        return self.session.run(names, {**inputs, "position": position})


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [False, True])
def test_sentences_come_and_go_in_onnx_too(earlier: bool, tmp_path: Path) -> None:
    """In graphs of earlier versions nobody can join, and each addition takes its own steps."""
    pytest.importorskip("onnxruntime")
    ours = tiny()
    export_model(ours, tmp_path / "out", target="onnx", lines=LINES[:8])
    graphs: Any = cast(Any, open_exported(tmp_path / "out", threads=1)).decoder.engine
    assert graphs.joins
    if earlier:
        graphs.joins, graphs._decoder = False, ThisProcess(OnePosition(graphs._decoder.get()))
    work = jobs(8, seed=7)
    found = as_they_come(graphs, work, seed=7, cancelled={2})
    for number, hypotheses in found.items():
        expected = alone(ours.network, work[number])
        assert [one.tokens for one in hypotheses] == [one.tokens for one in expected]


def test_an_exported_folder_needs_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    ours = tiny()
    checked = export_model(ours, tmp_path / "out", target="ctranslate2")
    assert checked.lines == 32 and checked.same == {"greedy search": 32, "beam 4": 32}
    theirs = open_exported(tmp_path / "out", device="cpu", threads=1)
    assert theirs.options() == DecodingConfig(**ours.decoding)
    same(Translator.of(ours), theirs, close=False)
    with pytest.raises(UserError, match="can only translate"):
        theirs.score(["a"], ["b"])
    with pytest.raises(UserError, match="exported for ctranslate2, not for onnx"):
        open_exported(tmp_path / "out", target="onnx")
    settings = tmp_path / "out" / "tokenizer.json"
    settings.write_text(f"{settings.read_text()}\n")
    with pytest.raises(UserError, match=r"tokenizer.json: not the file that the model was saved with"):
        open_exported(tmp_path / "out")
    settings.write_text(settings.read_text()[:-1])
    (tmp_path / "out" / "model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="cannot load it"):
        open_exported(tmp_path / "out")
    (tmp_path / "out" / "export.json").write_text("{}")
    with pytest.raises(UserError, match=r"export.json: damaged"):
        open_exported(tmp_path / "out")


def test_int8_is_smaller_and_its_changes_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    ours, lines = tiny(width=64, heads=4, feed_forward=64), [*LINES[:30], "a", "Ωmega"]
    export_model(ours, tmp_path / "float32", target="ctranslate2", lines=lines)
    before = [weight.clone() for weight in ours.network.parameters()]
    checked = export_model(ours, tmp_path / "int8", target="ctranslate2", precision="int8", lines=lines)
    pairs = zip(before, ours.network.parameters(), strict=True)
    assert all(torch.equal(old, weight) for old, weight in pairs), "the model itself is not rounded"
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("float32", "int8")]
    assert sizes[1] < 0.6 * sizes[0]
    theirs = open_exported(tmp_path / "int8", device="cpu", threads=1)
    for name, beam in (("greedy search", 1), ("beam 4", 4)):
        first, second = (texts(one, lines, beam=beam, max_length=64) for one in (Translator.of(ours), theirs))
        assert checked.same[name] == sum(x == y for x, y in zip(first, second, strict=True))
    assert 0 < checked.same["greedy search"] < 32, "random weights: some near ties turn"


def write_instead(other: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion to CTranslate2 that writes another model than it is given."""
    key: Any = ("ctranslate2", Transformer)
    exporter = exporting.EXPORTERS[key]
    wrong = replace(exporter, write=lambda _, folder: exporter.write(other, folder))
    monkeypatch.setitem(exporting.EXPORTERS, key, wrong)


def test_int8_of_a_wrong_conversion_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ctranslate2")
    write_instead(tiny(seed=5), monkeypatch)
    with pytest.raises(UserError, match="lines differently"):
        export_model(tiny(), tmp_path / "out", target="ctranslate2", precision="int8", lines=LINES[:3])
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_translations_differ_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ctranslate2")
    write_instead(tiny(seed=5), monkeypatch)
    with pytest.raises(UserError, match="of 3 lines differently"):
        export_model(tiny(), tmp_path / "out", target="ctranslate2", lines=LINES[:3])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "changes", [{"positions": "relative"}, {"positions": "alibi"}, {"window": 2}], ids=str
)
def test_what_can_not_be_expressed_is_refused(
    target: Target, changes: dict[str, Any], tmp_path: Path
) -> None:
    [name] = changes
    with pytest.raises(UserError, match=rf"model\.{name} = \w+: {target} export cannot express it"):
        export_model(tiny(**changes), tmp_path / "out", target=target)
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    ours = kinds.model("recurrent, additive")
    with pytest.raises(UserError, match=r"model\.kind = recurrent"):
        export_model(ours, tmp_path / "out", target="onnx")


@pytest.mark.parametrize(("package", "extra"), [("ctranslate2", "ctranslate2"), ("onnxscript", "onnx")])
def test_a_missing_package_is_named(
    package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    target: Target = "ctranslate2" if extra == "ctranslate2" else "onnx"
    with pytest.raises(UserError, match=rf"pip install -e '.*\[{extra}\]'"):
        export_model(tiny(), tmp_path / "out", target=target)
    assert list(tmp_path.iterdir()) == []


def test_names_of_ids_are_unique() -> None:
    class Repeating(Words):
        def source_pieces(self, ids: Any) -> list[str]:
            return ["a" if token % 2 else "" for token in ids]

        target_pieces = source_pieces

    source, target = vocabularies(Repeating())
    assert len(set(source)) == 13 and source[1] == "a" and source[3] == "<unused3>"
    assert source == target


def test_sample_lines_are_readable_text_and_always_the_same() -> None:
    lines = sample_lines(sentence_pieces())
    assert lines == sample_lines(sentence_pieces()) and len(lines) == 32
    assert all(line and "\u2581" not in line and "<0x" not in line for line in lines)


def test_other_kinds_are_not_stored_anew(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.kind = recurrent: only transformer and nonautoreg"):
        store_model(kinds.model("recurrent, additive"), tmp_path / "out", precision="int8")
    assert list(tmp_path.iterdir()) == []
