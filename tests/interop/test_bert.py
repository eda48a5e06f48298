"""BERT against transformers: encoder, head, pooler and tokeniser; what is imported, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.interop.importing import import_folder
from saccade.model_folder.checkpoint import load_model, save_model
from saccade.text.wordpiece import WordPieceConfig, WordPieceTokenizer, words_of
from saccade.use.mask_filler import MaskFiller

transformers = pytest.importorskip("transformers")

PIECES = [
    *(
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "town",
        "sleep",
        "##s",
        "##ing",
        ".",
        ",",
        "$",
        "-",
    ),
    *(
        "old",
        "e",
        "##e",
        "é",
        "##é",
        "na",
        "##ï",
        "##ive",
        "##i",
        "i",
        "a",
        "##a",
        "b",
        "##b",
        "老",
        "城",
        "睡",
    ),
]
SIZES = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
}
LINES = ["The old town sleeps.", "sleeping", "the old , old town", "老城 睡"]


def published(folder: Path, cls: str, *, tokenizer: dict[str, Any] | None = None, shard: str = "1GB") -> Any:
    """A folder with random weights and the network that wrote it."""
    torch.manual_seed(0)
    network = getattr(transformers, cls)(transformers.BertConfig(vocab_size=len(PIECES), **SIZES)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    network.save_pretrained(folder, max_shard_size=shard)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    about = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, **(tokenizer or {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return network


def theirs(network: Any, ids: list[list[int]]) -> Any:
    longest = max(map(len, ids))
    values = torch.tensor([[*own, *[0] * (longest - len(own))] for own in ids])
    mask = torch.tensor([[1] * len(own) + [0] * (longest - len(own)) for own in ids])
    with torch.no_grad():
        return network(input_ids=values, attention_mask=mask)


@pytest.mark.parametrize("shard", ["1GB", "4KB"])
@pytest.mark.parametrize("cls", ["BertForMaskedLM", "BertForPreTraining"])
def test_encoder_and_head_equal_transformers(tmp_path: Path, cls: str, shard: str) -> None:
    reference = published(tmp_path / "published", cls, shard=shard)
    assert len(list((tmp_path / "published").glob("*.safetensors"))) == 1 or shard == "4KB"
    imported = import_folder(tmp_path / "published")
    save_model(tmp_path / "model", imported.model)
    filler = MaskFiller(load_model(tmp_path / "model"))
    ids = filler.tokenizer.encode_source(LINES)
    states = theirs(reference.bert, ids).last_hidden_state
    found = theirs(reference, ids)
    logits = found.logits if cls == "BertForMaskedLM" else found.prediction_logits
    with torch.no_grad():
        own = filler.network.encode(filler._column(ids))
        own_logits = filler.network.output(filler.network.hidden(own))
    for row, one in enumerate(ids):
        torch.testing.assert_close(own[row, : len(one)], states[row, : len(one)], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own_logits[row, : len(one)], logits[row, : len(one)], atol=1e-5, rtol=1e-5)
    pooled = filler.network.pooled(own)
    if cls == "BertForPreTraining":
        assert pooled is not None
        expected = theirs(reference.bert, ids).pooler_output
        torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)
    else:
        assert pooled is None and imported.notes


def test_a_gap_is_filled_with_the_most_probable_pieces(tmp_path: Path) -> None:
    reference = published(tmp_path, "BertForMaskedLM")
    filler = MaskFiller(import_folder(tmp_path).model)
    [place] = filler.fill("the [MASK] town", top=3)
    ids = filler.tokenizer.encode_source(["the [MASK] town"])
    assert ids == [[2, 5, 4, 6, 3]]
    best = theirs(reference, ids).logits[0, 2].softmax(-1).topk(3)
    assert [one.piece for one in place] == [PIECES[number] for number in best.indices.tolist()]
    assert [one.probability for one in place] == pytest.approx(best.values.tolist(), abs=1e-6)
    assert place[0].text.replace(" ", "") == f"the{place[0].piece.removeprefix('##')}town"


def test_vectors_are_those_of_the_encoder_alone_as_in_bulk(tmp_path: Path) -> None:
    reference = published(tmp_path, "BertForMaskedLM")
    filler = MaskFiller(import_folder(tmp_path).model)
    for line, one in zip(LINES, filler.embed(LINES), strict=True):
        [ids] = filler.tokenizer.encode_source([line])
        states = theirs(reference.bert, [ids]).last_hidden_state[0]
        torch.testing.assert_close(one.states, states, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one.vector, states.mean(0), atol=1e-5, rtol=1e-5)
        assert len(one.pieces) == len(ids)


TEXTS = st.text(
    st.sampled_from("abe town THE sleepsing.,$- éÉïÏ老城睡\t\u00a0\u200d\ufffd\u0301`"), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.booleans(), st.sampled_from([None, True, False]), st.booleans())
def test_pieces_are_those_of_transformers(text: str, lower: bool, strip: bool | None, chinese: bool) -> None:
    config = WordPieceConfig(lowercase=lower, strip_accents=strip, chinese_characters=chinese)
    own = WordPieceTokenizer(PIECES, config)
    normal = transformers.models.bert.tokenization_bert_legacy.BasicTokenizer(
        do_lower_case=lower, strip_accents=strip, tokenize_chinese_chars=chinese
    )
    pieces = transformers.models.bert.tokenization_bert_legacy.WordpieceTokenizer(
        {piece: number for number, piece in enumerate(PIECES)}, unk_token="[UNK]"
    )
    words = normal.tokenize(text)
    assert words_of(text, config) == words
    expected = [PIECES.index(piece) for word in words for piece in pieces.tokenize(word)]
    assert own.cut(text) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "gelu_new"}, 'hidden_act = "gelu_new" is not supported'),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder = true is not supported"),
        ({"architectures": ["BertForTokenClassification"]}, "architectures"),
        ({"hidden_size": 24}, "the files do not belong together"),
        ({"num_hidden_layers": 1}, "which does not belong to a model of config.json"),
        ({"num_hidden_layers": 3}, "lacks encoder.layer.2"),
        ({"vocab_size": 5}, "pieces, but config.json has vocab_size 5"),
        ({"num_attention_heads": 5}, "width 12 is not a multiple of heads 5"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    published(tmp_path, "BertForMaskedLM")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError) as caught:
        import_folder(tmp_path)
    assert message in str(caught.value)


def test_an_encoder_without_its_head_gives_vectors_and_fills_no_gaps(tmp_path: Path) -> None:
    theirs = published(tmp_path / "theirs", "BertModel")
    imported = import_folder(tmp_path / "theirs")
    assert [note.split(";")[0] for note in imported.notes] == [
        "the folder has no head that predicts masked pieces"
    ]
    save_model(tmp_path / "ours", imported.model)
    filler = MaskFiller(load_model(tmp_path / "ours"))
    [found] = filler.embed(["The old town sleeps."])
    ids = torch.tensor(filler.tokenizer.encode_source(["The old town sleeps."]))
    with torch.no_grad():
        expected = theirs(ids)
    torch.testing.assert_close(found.states, expected.last_hidden_state[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.vector, expected.pooler_output[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="without the head that predicts masked pieces"):
        filler.fill("The old [MASK]")


def test_a_vocabulary_without_a_mask_is_damaged(tmp_path: Path) -> None:
    published(tmp_path, "BertForMaskedLM")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    with pytest.raises(UserError, match=r"vocab\.txt: damaged: the vocabulary lacks \[MASK\]"):
        import_folder(tmp_path)
