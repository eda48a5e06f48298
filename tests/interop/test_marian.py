"""OPUS-MT folders made here, imported, and compared with transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.interop.importing import import_folder
from saccade.model_folder.checkpoint import load_model, save_model
from saccade.models.transformer import Transformer
from saccade.use.translator import Translator
from tests.interop.published import generated, opus, teach, text

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")

LINES = [
    *text("en", 40),
    "",
    "  two  blanks ",
    "Zürich – 東京 🙂",
    ">>deu<< A dog.",
    ">>xx<< A dog.",
    ">> no code",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("published") / "opus"
    opus(place, codes=[">>deu<<", ">>fra<<"])
    return place


def their_tokenizer(folder: Path) -> Any:
    return transformers.MarianTokenizer.from_pretrained(folder)


def their_model(folder: Path) -> Any:
    return transformers.MarianMTModel.from_pretrained(folder).eval()


def largest_difference(folder: Path) -> float:
    """Of the logits, for a padded batch."""
    tokenizer, model = their_tokenizer(folder), their_model(folder)
    inputs = tokenizer(text("en", 6), return_tensors="pt", padding=True)
    target = tokenizer(text_target=text("de", 6), return_tensors="pt", padding=True)["input_ids"]
    shifted = torch.cat([torch.full((6, 1), model.config.decoder_start_token_id), target[:, :-1]], 1)
    ours = import_folder(folder).model.network
    assert isinstance(ours, Transformer)
    lengths = inputs["attention_mask"].sum(1)
    with torch.no_grad():
        expected = model(**inputs, decoder_input_ids=shifted).logits
        found = ours(shifted, ours.encode(inputs["input_ids"], lengths))
    return float((expected - found)[target != model.config.pad_token_id].abs().max())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation_function": "relu", "scale_embedding": False},
        {"activation_function": "gelu", "encoder_layers": 1, "decoder_layers": 3, "d_model": 24},
    ],
    ids=["as published", "relu unscaled", "gelu other sizes"],
)
def test_logits_are_theirs(tmp_path: Path, settings: dict[str, Any]) -> None:
    opus(tmp_path / "opus", **settings)
    assert largest_difference(tmp_path / "opus") < 1e-5


def test_separate_embeddings_are_read(tmp_path: Path) -> None:
    opus(tmp_path / "opus", share_encoder_decoder_embeddings=False)
    assert largest_difference(tmp_path / "opus") < 1e-5


def test_each_side_may_have_a_table_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "opus"
    opus(folder, share_encoder_decoder_embeddings=False)
    source = json.loads((folder / "vocab.json").read_text())
    usual = [piece for piece in source if not piece.startswith("<")]
    swapped = dict(zip(usual, reversed(usual), strict=True))
    target = {swapped.get(piece, piece): number for piece, number in source.items()}
    (folder / "target_vocab.json").write_text(json.dumps(target))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "separate_vocabs": True}))
    tokenizer, model = their_tokenizer(folder), import_folder(folder).model
    assert not model.tokenizer.shared
    assert model.tokenizer.encode_source(LINES) == tokenizer(LINES)["input_ids"]
    # Theirs looks codes up in the source's table even there.
    assert model.tokenizer.encode_target(LINES[:40]) == tokenizer(text_target=LINES[:40])["input_ids"]
    assert largest_difference(folder) < 1e-5
    save_model(tmp_path / "model", model)
    found = Translator.of(load_model(tmp_path / "model")).translate(text("en", 16), max_length=19)
    ids = [[target[token] for token in one.tokens] for one in found]
    inputs = tokenizer(text("en", 16), return_tensors="pt", padding=True)
    with torch.inference_mode():
        expected = their_model(folder).generate(**inputs, max_length=20)
    assert ids == [[int(token) for token in row if token not in (0, target["<pad>"])] for row in expected]


def test_a_pickle_of_tensors_gives_the_same_model(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    ours, pickled = (import_folder(place).model.network.state_dict() for place in (folder, tmp_path))
    assert all(torch.equal(ours[name], pickled[name]) for name in ours)


def test_half_precision_becomes_float32(folder: Path, tmp_path: Path) -> None:
    their_model(folder).half().save_pretrained(tmp_path)
    for name in ("source.spm", "target.spm", "vocab.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert {x.dtype for x in import_folder(tmp_path).model.network.parameters()} == {torch.float32}


def test_ids_and_texts_are_theirs(folder: Path) -> None:
    tokenizer, ours = their_tokenizer(folder), import_folder(folder).model.tokenizer
    ids = tokenizer(LINES)["input_ids"]
    assert ours.encode_source(LINES) == ids
    targets = tokenizer(text_target=LINES)["input_ids"]
    assert ours.encode_target(LINES) == targets
    for row in [*ids, *targets]:
        assert ours.decode(row) == tokenizer.decode(row, skip_special_tokens=True)


def test_a_code_of_a_language_is_one_piece(folder: Path) -> None:
    ours = import_folder(folder).model.tokenizer
    [known, unknown] = ours.encode_source([">>fra<< A dog.", ">>xx<< A dog."])
    assert ours.source_pieces(known)[0] == ">>fra<<"
    assert unknown == [ours.unknown, *known[1:]]


def test_text_that_spells_a_special_piece_is_text(folder: Path) -> None:
    ours = import_folder(folder).model.tokenizer
    assert ours.encode_source(["a </s> b"])[0].count(ours.end) == 1


@pytest.mark.parametrize(
    ("beam", "generation"),
    [
        (1, {}),
        (4, {}),
        (6, {}),
        (4, {"renormalize_logits": False}),
        (4, {"early_stopping": True}),
        (3, {"length_penalty": 0.0, "min_length": 5}),
        (1, {"no_repeat_ngram_size": 2}),
        (4, {"no_repeat_ngram_size": 3, "repetition_penalty": 1.3}),
        (4, {"repetition_penalty": 0.8, "renormalize_logits": False}),
    ],
)
def test_translations_are_theirs(tmp_path: Path, beam: int, generation: dict[str, Any]) -> None:
    """Short limits, so that both ways of ending occur: by themselves and at the greatest length."""
    folder = tmp_path / "opus"
    opus(folder, scale=0.3, to_end=1.0, generation={"num_beams": beam, "max_length": 24, **generation})
    lines = text("en", 64)
    expected = generated(their_model(folder), their_tokenizer(folder), lines)
    found = Translator.of(import_folder(folder).model).translate(lines)
    assert [one.text for one in found] == expected


def test_settings_of_generation_are_stored(tmp_path: Path) -> None:
    generation = {"num_beams": 6, "length_penalty": 0.8, "max_length": 100, "no_repeat_ngram_size": 3}
    generation |= {"repetition_penalty": 1.1, "diversity_penalty": 0.5}
    opus(tmp_path / "opus", generation=generation)
    imported = import_folder(tmp_path / "opus")
    options = Translator.of(imported.model).options()
    assert (options.beam, options.length_penalty, options.alpha) == (6, "power", 0.8)
    assert (options.max_length, options.rules) == (99, "renormalized")
    assert options.banned == (imported.model.network.vocabulary.pad,)
    assert (options.no_repeat_ngram_size, options.repetition_penalty) == (3, 1.1)
    assert len(imported.notes) == 1 and "diversity_penalty" in imported.notes[0]


def test_old_folders_have_these_settings_in_config_json(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **generation}))
    assert import_folder(tmp_path).model.decoding == import_folder(folder).model.decoding


def test_an_imported_model_is_a_model_as_any_other(folder: Path, tmp_path: Path) -> None:
    imported = import_folder(folder).model
    save_model(tmp_path / "model", imported)
    loaded = load_model(tmp_path / "model")
    lines = text("en", 5)
    assert loaded.tokenizer.encode_source(LINES) == imported.tokenizer.encode_source(LINES)
    first, second = (Translator.of(model).translate(lines, max_length=20) for model in (imported, loaded))
    assert first == second
    maps = Translator.of(loaded).attention("A dog runs.", "Ein Hund rennt.")
    assert len(maps) == 6 and all(torch.isfinite(one.weights).all() for one in maps)


@pytest.mark.slow
def test_a_trained_model_on_many_real_lines(tmp_path: Path) -> None:
    """10,000 lines of ids; 1,000 lines of translations, greedy and with beams of 4 and 6."""
    folder = tmp_path / "opus"
    sizes = {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    model = opus(folder, size=1500, scale=0.0, to_end=0.0, **sizes)
    tokenizer = their_tokenizer(folder)
    sources, targets = text("en", 4000), text("de", 4000)
    teach(model, tokenizer, list(zip(sources, targets, strict=True)), steps=300)
    model.save_pretrained(folder)
    imported = import_folder(folder).model
    many = text("en", 10_000)
    assert imported.tokenizer.encode_source(many) == tokenizer(many)["input_ids"]
    assert largest_difference(folder) < 1e-5
    lines = text("en", 9000)[8000:]
    for beam in (1, 4, 6):
        expected = generated(model, tokenizer, lines, num_beams=beam, max_length=80)
        found = [one.text for one in Translator.of(imported).translate(lines, beam=beam, max_length=79)]
        different = [(x, y) for x, y in zip(found, expected, strict=True) if x != y]
        assert len(set(expected)) > 200, "translations should differ from each other"
        assert not different, f"beam {beam}: {len(different)} lines differ, the first: {different[0]}"


@pytest.mark.parametrize("options", [{}, {"rules": "plain"}, {"beam": 2, "nbest": 2, "min_length": 4}])
def test_a_given_translation_gets_the_score_that_it_was_written_with(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    opus(tmp_path / "opus", scale=0.3, to_end=1.0)
    ours = Translator.of(import_folder(tmp_path / "opus").model)
    options, lines, round_trips = {"max_length": 12, **options}, text("en", 24), 0
    for line, one in zip(lines, ours.translate(lines, **options), strict=True):
        for found in one.alternatives:
            pieces = ours.tokenizer.target_pieces(ours.tokenizer.encode_target([found.text])[0][:-1])
            if tuple(pieces) == found.tokens:
                round_trips += 1
                [again] = ours.score_targets([line], [found.text], **options)
                assert again.log_prob == pytest.approx(found.log_prob, abs=1e-4)
                assert again.score == pytest.approx(found.score, abs=1e-4)
    assert round_trips
