"""A language model in use: likelihood of a text, and its continuation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.errors import UserError
from saccade.model_folder.checkpoint import Model, save_model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.text.tokenizer import Tokenizer
from saccade.text.words import ByteTokenizer, WordTokenizer
from saccade.use.generator import TextGenerator
from saccade.use.translator import Translator
from tests import tiny
from tests.models.test_language_models import KINDS
from tests.tiny import LINES, randomise, sentence_pieces

TEXT = ["the dog sees an apple .", "", " a cat eats seven  books !", "nobody paints"]


def words() -> WordTokenizer:
    return WordTokenizer.learn([line.lower() for line in LINES], vocab_size=None)


def model(kind: str, tokenizer: Tokenizer | None = None, **changes: Any) -> Model:
    tokenizer = tokenizer or words()
    torch.manual_seed(0)
    config = model_config({"dropout": 0.0, **KINDS[kind], **changes})
    network: Any = build_model(config, vocabulary_of(tokenizer))
    randomise(network)
    return Model(network.eval(), config, tokenizer)


@pytest.mark.parametrize("tokenizer", [words(), ByteTokenizer(), sentence_pieces()])
def test_a_score_is_the_sum_over_all_tokens_in_three_units(tokenizer: Tokenizer) -> None:
    made = model("transformer-xl", tokenizer, memory=200, segment=7)
    found = TextGenerator(made).score(TEXT)
    ids = [token for line in tokenizer.encode_target(TEXT) for token in line]
    network: Any = made.network
    hidden, _ = network.read(torch.tensor([[tokenizer.end, *ids[:-1]]]), network.start(1))
    log_probs = network.output(hidden).log_softmax(-1)[0].gather(1, torch.tensor(ids)[:, None])
    nats = -float(log_probs.sum().detach())
    assert found.nats == pytest.approx(nats, rel=1e-4)
    assert found.perplexity == pytest.approx(math.exp(nats / len(ids)), rel=1e-4)
    count = sum(len(line.split()) + 1 for line in TEXT)
    assert found.word_perplexity == pytest.approx(math.exp(nats / count), rel=1e-3)
    characters = len("\n".join(TEXT)) + 1
    assert found.bits_per_character == pytest.approx(nats / math.log(2) / characters, rel=1e-4)


def test_where_the_state_carries_everything_segments_do_not_matter() -> None:
    scores = [TextGenerator(model("recurrent-lm, lstm"), segment=n).score(TEXT).nats for n in (1, 3, 100)]
    assert scores == pytest.approx([scores[0]] * 3, rel=1e-5)


def test_streams_side_by_side_are_the_parts_of_the_text() -> None:
    """Each part is scored as if its text began there, but for its first token, which knows the one before."""
    made = model("transformer-xl")
    ids = [token for line in made.tokenizer.encode_target(TEXT) for token in line]
    network: Any = made.network
    expected = 0.0
    for begin, end in ((0, len(ids) // 3), (len(ids) // 3, 2 * len(ids) // 3), (2 * len(ids) // 3, len(ids))):
        read = [ids[begin - 1], *ids[begin : end - 1]]
        hidden, _ = network.read(torch.tensor([read]), network.start(1))
        log_probs = network.output(hidden).log_softmax(-1)[0]
        expected -= float(log_probs.gather(1, torch.tensor(ids[begin:end])[:, None]).sum().detach())
    assert TextGenerator(made).score(TEXT, streams=3).nats == pytest.approx(expected, rel=1e-5)
    one_by_one = TextGenerator(made).score(TEXT, streams=10_000)
    assert one_by_one.size.tokens == len(ids)


def test_memory_and_segment_are_chosen_anew_without_touching_the_model() -> None:
    made = model("transformer-xl", memory=2, segment=2)
    before = TextGenerator(made).score(TEXT).nats
    longer = TextGenerator(made, memory=30, segment=5)
    assert longer.config.model_dump()["memory"] == 30
    assert longer.score(TEXT).nats == pytest.approx(
        TextGenerator(model("transformer-xl", memory=30, segment=5)).score(TEXT).nats, rel=1e-6
    )
    assert TextGenerator(made).score(TEXT).nats == before
    assert made.config.model_dump()["memory"] == 2


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("recurrent-lm, lstm", {"memory": 3}, "model.memory = 3: only transformer-xl and transformer-lm"),
        ("transformer-lm", {"same_length": True}, "model.same_length = true: only Transformer-XL"),
        ("transformer-xl", {"width": 24}, "model.width: the weights depend on it"),
        ("transformer-xl", {"segment": 0}, "model.segment = 0"),
        ("transformer-xl", {"memory": 0, "same_length": True}, "same_length"),
    ],
)
def test_settings_that_it_does_not_have_are_refused(
    kind: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        TextGenerator(model(kind), **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_follows_the_prompt(kind: str) -> None:
    writer = TextGenerator(model(kind))
    prompt = "the dog sees\nnobody eats"
    one, other = writer.generate(prompt, samples=2, tokens=12)
    assert one.prompt == prompt and one.tokens != other.tokens
    assert len(one.tokens) == 12
    assert one.text.count("\n") == one.tokens.count("</s>")
    assert one.text.split() == [piece for piece in one.tokens if piece != "</s>"]
    assert "<unk>" not in one.tokens
    assert writer.generate(prompt, samples=2, tokens=12) == [one, other]
    assert writer.generate(prompt, tokens=12, seed=9)[0].tokens != one.tokens


@pytest.mark.parametrize("kind", ["transformer-lm", "transformer-xl, no memory"])
def test_without_a_memory_it_looks_back_as_far_as_its_segments_are_long(kind: str) -> None:
    made = model(kind, segment=5)
    remembering = TextGenerator(made, memory=4).generate("the dog sees", tokens=12)
    assert TextGenerator(made).generate("the dog sees", tokens=12) == remembering


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), sentence_pieces()])
def test_pieces_of_words_join_the_prompt(tokenizer: Tokenizer) -> None:
    [found] = TextGenerator(model("transformer-xl", tokenizer)).generate("the d", tokens=20)
    assert len(found.tokens) == 20
    ids = [*tokenizer.encode_target(["the d"])[0][:-1]]
    assert TextGenerator(model("transformer-xl", tokenizer))._text(ids) == "the d"


def test_a_prompt_that_is_no_text_is_mended() -> None:
    [found] = TextGenerator(model("transformer-xl", ByteTokenizer())).generate("a \udce4", tokens=2)
    assert found.prompt == "a \ufffd"
    found.text.encode()


def test_nothing_is_nothing_to_judge() -> None:
    with pytest.raises(UserError, match="empty"):
        TextGenerator(model("transformer-xl")).score([])


def test_words_that_are_unknown_are_counted() -> None:
    [found] = TextGenerator(model("transformer-xl")).generate("the zebra\nsees a yak", tokens=2)
    assert found.problem == "2 token(s) of the prompt are not in the vocabulary: 'zebra', 'yak'"
    assert TextGenerator(model("transformer-xl")).unknown("the zebra\nsees a yak") == 2


def test_translators_and_language_models_are_told_apart(tmp_path: Path) -> None:
    save_model(tmp_path / "lm", model("transformer-xl"))
    save_model(tmp_path / "translator", tiny.model(dtype=torch.float32))
    assert TextGenerator.load(tmp_path / "lm", device="cpu", segment=3).config.segment == 3
    with pytest.raises(UserError, match="a language model"):
        Translator.load(tmp_path / "lm", device="cpu")
    with pytest.raises(UserError, match="is a translation model"):
        TextGenerator.load(tmp_path / "translator", device="cpu")
