"""Folders that look like a known kind and are another: refused with what was found and what was expected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from saccade.errors import UserError
from saccade.interop.importing import import_folder
from saccade.model_folder.checkpoint import load_model, save_model
from saccade.use.translator import Translator
from tests.interop.published import many, opus
from tests.interop.test_refusals import change, weights, write

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("published")
    opus(place / "opus", codes=[">>deu<<", ">>fra<<"])
    many(place / "many")
    many(place / "nllb", nllb=True)
    return place


def table(change_ids: Callable[[dict[str, int]], object], name: str = "vocab.json") -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        ids = json.loads((folder / name).read_text())
        change_ids(ids)
        (folder / name).write_text(json.dumps(ids))

    return apply


def swap(first: str, second: str) -> Callable[[Path], None]:
    return table(lambda ids: ids.update({first: ids[second], second: ids[first]}))


def added(**tokens: int) -> Callable[[Path], None]:
    return write("added_tokens.json", json.dumps(tokens).encode())


def decoder_tokens(**tokens: str) -> Callable[[Path], None]:
    listed = {number: {"content": content} for number, content in tokens.items()}
    return change("tokenizer_config.json", added_tokens_decoder=listed)


def positions(name: str, *, rows: int) -> Callable[[Path], None]:
    return weights(**{f"model.encoder.embed_positions.{name}": torch.randn(rows, 32)})


def other_head(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["model.shared.weight"] + 1
    save_file(tensors, path)


def config(**values: object) -> Callable[[Path], None]:
    return change("config.json", **values)


EITHER: list[tuple[str, Callable[[Path], None], str]] = [
    ("another class", config(architectures=["MBartForConditionalGeneration"]), "architectures = .*expected"),
    ("an unknown key", config(rotary_base=10_000), "rotary_base = 10000 is not a known setting"),
    ("a norm of embeddings", config(normalize_embedding=True), "normalize_embedding = true"),
    ("learned positions", config(static_position_embeddings=False), "static_position_embeddings = false"),
    ("a decoder alone", config(is_decoder=True), "is_decoder = true"),
    ("no encoder", config(is_encoder_decoder=False), "is_encoder_decoder = false"),
    ("pruned heads", config(pruned_heads={"0": [1]}), "pruned_heads"),
    ("a prefix", config(prefix="translate: "), "prefix = "),
    ("few bits", config(quantization_config={"bits": 4}), "quantization_config"),
    ("code of its own", config(auto_map={"AutoModel": "x.Y"}), "code of its own"),
    ("a Python file", write("tokenization_own.py", b""), r"code of its own \(tokenization_own.py\)"),
    (
        "another tokeniser",
        change("tokenizer_config.json", tokenizer_class="MBartTokenizer"),
        "MBartTokenizer",
    ),
    ("a tokeniser named elsewhere", config(tokenizer_class="T5Tokenizer"), "T5Tokenizer"),
    ("another unknown piece", change("tokenizer_config.json", unk_token="[UNK]"), r"unk_token = .*\[UNK\]"),
    (
        "lower case",
        change("tokenizer_config.json", do_lower_case=True),
        "do_lower_case = true is not a known",
    ),
    ("sampling", change("tokenizer_config.json", sp_model_kwargs={"alpha": 0.1}), "sp_model_kwargs"),
    ("an added token", added(**{"<custom>": 5}), "the added token '<custom>'"),
    ("a listed token", decoder_tokens(**{"7": "<custom>"}), "the added token '<custom>' with number 7"),
    ("a special piece elsewhere", decoder_tokens(**{"9": "</s>"}), "'</s>' with number 9"),
    ("another head", other_head, "lm_head.weight differs from model.shared.weight"),
    ("learned table", positions("weight", rows=64), "holds other positions; sinusoids were expected"),
    ("another end", config(eos_token_id=7), "7"),
    ("another end in decoding", change("generation_config.json", eos_token_id=7), "eos_token_id = 7"),
    ("another start in decoding", change("generation_config.json", decoder_start_token_id=9), "= 9, but"),
    (
        "another forced end",
        change("generation_config.json", forced_eos_token_id=9),
        "forced_eos_token_id = 9",
    ),
    ("a forced beginning", change("generation_config.json", forced_bos_token_id=9), "forced_bos_token_id"),
]
OPUS = [
    ("norms before", config(normalize_before=True), "normalize_before = true .*false was expected"),
    ("a last norm", config(add_final_layer_norm=True), "add_final_layer_norm = true"),
    ("another unknown", swap("<unk>", "</s>"), "</s> is number 1; number 0 was expected"),
    ("an id of two pieces", table(lambda ids: ids.update({"<unk>": 5})), "an id has several pieces"),
    ("padding is a piece", config(pad_token_id=9, decoder_start_token_id=9), "<pad> is number"),
]
MANY = [
    ("norms behind", config(normalize_before=False), "normalize_before = false .*true was expected"),
    ("another unknown", swap("<unk>", "<s>"), "is number 3; number 0 was expected"),
    ("a bias of logits", weights(final_logits_bias=torch.ones(1, 9)), "final_logits_bias"),
    ("SMaLL-100", config(_name_or_path="alirezamsh/small100"), "SMaLL-100, which puts the target language"),
    (
        "SMaLL-100 by its tokeniser",
        change("tokenizer_config.json", tokenizer_class="SMALL100Tokenizer"),
        "SMALL100Tokenizer",
    ),
    (
        "other languages",
        change("tokenizer_config.json", additional_special_tokens=["__xx__", "__yy__"]),
        r"names other languages than M2M-100 \(xx\)",
    ),
    (
        "languages in another order",
        change("tokenizer_config.json", additional_special_tokens=["__de__", "__en__"]),
        "names other languages than M2M-100",
    ),
    ("other codes", change("tokenizer_config.json", language_codes="wmt21"), "language_codes 'wmt21'"),
    ("more ids than languages", config(vocab_size=900), "ids for languages; 100 languages and 8 unused"),
    (
        "a language that is a piece",
        added(__de__=10),
        "number 10 is the language de and the piece",
    ),
]
CASES = [
    *[("opus", *case) for case in EITHER + OPUS],
    *[("many", *case) for case in EITHER + MANY],
]


@pytest.mark.parametrize(
    ("kind", "name", "alter", "message"), CASES, ids=[f"{case[0]}, {case[1]}" for case in CASES]
)
def test_it_is_refused_with_what_it_was(
    published: Path, tmp_path: Path, kind: str, name: str, alter: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "published"
    shutil.copytree(published / kind, folder)
    import_folder(folder)
    alter(folder)
    with pytest.raises(UserError, match=message) as caught:
        import_folder(folder)
    assert "\n" not in str(caught.value)


HARMLESS = [
    config(
        _num_labels=3,
        classif_dropout=0.0,
        extra_pos_embeddings=400,
        torch_dtype="float16",
        num_hidden_layers=2,
    ),
    config(id2label={"0": "a"}, task_specific_params={"x": {}}, max_length=512, num_beams=4, prefix=None),
    config(
        add_bias_logits=False, normalize_embedding=False, static_position_embeddings=True, unknown_key=None
    ),
    change("tokenizer_config.json", model_max_length=10**30, special_tokens_map_file="x", use_fast=True),
    change("tokenizer_config.json", unk_token={"content": "<unk>"}, sp_model_kwargs={}, auto_map=None),
    change("generation_config.json", temperature=0.7, top_k=50, use_cache=True),
]


@pytest.mark.parametrize("kind", ["opus", "many", "nllb"])
def test_settings_without_influence_are_accepted(published: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "published"
    shutil.copytree(published / kind, folder)
    for alter in HARMLESS:
        alter(folder)
    first, second = import_folder(published / kind), import_folder(folder)
    lines = ["A dog runs.", "Ein Hund"]
    if kind == "opus":
        assert first.model.tokenizer.encode_source(lines) == second.model.tokenizer.encode_source(lines)
    assert not [note for note in second.notes if "not a known" in note]


def test_stored_sinusoids_are_accepted(published: Path, tmp_path: Path) -> None:
    from saccade.nn.positions import sinusoids

    for kind, layout, skipped in (("opus", "halves", 0), ("many", "fairseq", 2)):
        folder = tmp_path / kind
        shutil.copytree(published / kind, folder)
        stored = torch.cat([torch.zeros(skipped, 32), sinusoids(50, 32, layout=layout)]).half()  # type: ignore[arg-type]
        weights(**{"model.decoder.embed_positions.weights": stored})(folder)
        import_folder(folder)


def test_a_forced_language_becomes_the_default(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    shutil.copytree(published / "many", folder)
    number = import_folder(folder).model.tokenizer.config.languages["de"]  # type: ignore[attr-defined]
    change("generation_config.json", forced_bos_token_id=number)(folder)
    assert import_folder(folder).model.tokenizer.config.target_language == "de"  # type: ignore[attr-defined]


def test_an_unknown_setting_of_decoding_is_noted(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "opus"
    shutil.copytree(published / "opus", folder)
    change("generation_config.json", magic=3, guidance_scale=2.0)(folder)
    notes = " ".join(import_folder(folder).notes)
    assert "magic is not a known setting" in notes
    assert "guidance_scale = 2.0 has no counterpart" in notes


# --- target languages of Marian -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def multilingual(published: Path) -> Translator:
    return Translator.of(import_folder(published / "opus").model)


def test_an_unknown_code_is_named_with_those_that_the_model_has(multilingual: Translator) -> None:
    lines = [">>deu<< A dog.", ">>xx<< A dog.", ">> no code", ""]
    good, bad, text, empty = multilingual.translate(lines, max_length=5, beam=1)
    assert not good.failed and not text.failed and not empty.failed and bad.failed
    assert bad.text == ""
    assert bad.problem == (
        "not translated: >>xx<< is none of the model's languages; it has >>deu<<, >>fra<<."
    )


def test_a_target_language_adds_its_code_to_lines_without_one(
    multilingual: Translator, tmp_path: Path
) -> None:
    encode = multilingual.tokenizer.encode_source
    into = multilingual.between(target="fra")
    assert into.tokenizer.encode_source(["A dog."]) == encode([">>fra<<A dog."])
    assert into.tokenizer.encode_source([">>deu<< A dog."]) == encode([">>deu<< A dog."])
    assert multilingual.between(target=">>fra<<").tokenizer.encode_source(["A"]) == encode([">>fra<<A"])
    assert into.tokenizer.encode_target(["A dog."]) == multilingual.tokenizer.encode_target(["A dog."])
    into.tokenizer.save(tmp_path)
    assert type(into.tokenizer).load(tmp_path).encode_source(["A"]) == encode([">>fra<<A"])  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="spa: this model does not know the language; it has deu, fra"):
        multilingual.between(target="spa")
    with pytest.raises(UserError, match="no source languages to choose from"):
        multilingual.between(source="eng")


def test_the_default_language_of_an_import_is_kept(published: Path, tmp_path: Path) -> None:
    model = import_folder(published / "opus", target_language="fra").model
    save_model(tmp_path / "model", model)
    found = load_model(tmp_path / "model").tokenizer
    assert found.encode_source(["A dog."]) == model.tokenizer.encode_source([">>fra<<A dog."])


def test_a_model_that_needs_a_language_says_so(published: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from saccade.__main__ import app

    save_model(tmp_path / "model", import_folder(published / "opus").model)
    command = ["translate", str(tmp_path / "model"), "--max-length", "3", "--beam", "1"]
    result = CliRunner().invoke(app, command, input="A dog.\n")
    assert result.exit_code == 0
    assert "has 2 target languages: lines that do not begin with one of >>deu<<, >>fra<<" in result.stderr
    assert "--target-language" in result.stderr
    result = CliRunner().invoke(app, [*command, "--target-language", "deu"], input="A dog.\n")
    assert result.exit_code == 0
    assert "target languages" not in result.stderr
