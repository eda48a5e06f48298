"""What the four non-autoregressive models are built of, and the laws they keep, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.errors import UserError
from saccade.models import build_model, model_config
from tests.tiny import padded, randomise, recorded_weights, scheme, sentences, vocabulary

SIZES = {
    "width": 12,
    "heads": 3,
    "feed_forward": 20,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "dropout": 0.0,
}
DECODERS = ("fertility", "mask-predict", "ctc", "dag")


def network(
    decoder: str, *, seed: int = 0, size: int = 13, target_size: int | None = None, **changes: Any
) -> Any:
    torch.manual_seed(seed)
    table = {"kind": "nonautoregressive", "decoder": decoder, **SIZES, **changes}
    built: Any = build_model(model_config(table), vocabulary(size, target_size=target_size))
    randomise(built.double(), seed=seed)
    return built.eval()


def spread(lengths: Tensor, width: int) -> Tensor:
    """Some fertilities of these sums over real pieces, different ones and zeros among them."""
    rows = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in enumerate(lengths.tolist()):
        rows[row, 0] = length // 2
        rows[row, 1] = length - length // 2
    return rows


def written(model: Any, source: list[list[int]], lengths: list[int]) -> Tensor:
    """Logits of every real output position, row after row."""
    memory = model.encode(*padded(source))
    wanted = torch.tensor(lengths)
    if model.config.decoder == "fertility":
        hidden, found = scheme(model).write(spread(wanted, memory.source.size(1)), memory)
    elif model.config.decoder == "mask-predict":
        tokens = torch.full((len(lengths), max(lengths)), scheme(model).mask)
        hidden, found = scheme(model).write(tokens, wanted, memory), wanted
    else:
        hidden, found = scheme(model).write(memory)
    real = torch.arange(hidden.size(1)) < found[:, None]
    out: Tensor = model.output(hidden)[real]
    return out


every_decoder = pytest.mark.parametrize("decoder", DECODERS)


@every_decoder
def test_a_sentence_alone_and_in_a_batch_gives_the_same(decoder: str) -> None:
    model = network(decoder)
    source, lengths = sentences([6, 3, 4]), [5, 2, 7]
    together = written(model, source, lengths)
    alone = [written(model, [row], [length]) for row, length in zip(source, lengths, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


@every_decoder
def test_padding_changes_nothing_whatever_stands_there(decoder: str) -> None:
    model = network(decoder)
    ids, lengths = padded(sentences([6, 3]))
    plain = model.encode(ids, lengths)
    noise = torch.where(torch.arange(9) < lengths[:, None], torch.cat([ids, ids[:, :3]], 1), 7)
    noisy = model.encode(noise, lengths)
    for row, length in enumerate(lengths.tolist()):
        for (key, value), (noisy_key, noisy_value) in zip(
            plain.cross.layers, noisy.cross.layers, strict=True
        ):
            for one, other in ((key, noisy_key), (value, noisy_value)):
                torch.testing.assert_close(other[row, :, :length], one[row, :, :length], rtol=0, atol=1e-12)
    if decoder in ("ctc", "dag"):
        first, second = (scheme(model).write(memory)[0] for memory in (plain, noisy))
        torch.testing.assert_close(first[1, :4], second[1, :4], rtol=0, atol=1e-12)
    elif decoder == "fertility":
        few, more = (
            torch.tensor([[1, 2, 0, 1, 1, 0], [3, 1, 0, 0, 0, 0]]),
            torch.zeros(2, 3, dtype=torch.int64),
        )
        first, _ = scheme(model).write(few, plain)
        second, _ = scheme(model).write(torch.cat([few, more], 1), noisy)
        torch.testing.assert_close(first[1, :4], second[1, :4], rtol=0, atol=1e-12)
    else:
        torch.testing.assert_close(
            scheme(model).length_logits(noisy), scheme(model).length_logits(plain), rtol=0, atol=1e-12
        )


def test_the_decoder_is_as_long_as_the_fertilities_add_up_to() -> None:
    model = network("fertility")
    memory = model.encode(*padded(sentences([5, 4])))
    hidden, lengths = scheme(model).write(torch.tensor([[2, 0, 3, 1, 0], [0, 1, 0, 0, 0]]), memory)
    assert lengths.tolist() == [6, 1]
    assert hidden.shape == (2, 6, 12)


def test_fertilities_that_are_all_one_read_the_source_in_its_order() -> None:
    model = network("fertility")
    source = sentences([5])
    memory = model.encode(*padded(source))
    seen: list[Tensor] = []
    model.encoder.embedding.placed = lambda x, start: seen.append(x) or x
    scheme(model).write(torch.tensor([[1, 1, 1, 1, 0]]), memory)
    expected = model.encoder.embedding.tokens(torch.tensor(source)[:, :4]) * 12**0.5
    torch.testing.assert_close(seen[0], expected)


def test_uniform_copies_take_only_the_length_from_the_fertilities() -> None:
    model = network("fertility", copies="uniform")
    memory = model.encode(*padded(sentences([5])))
    first, _ = scheme(model).write(torch.tensor([[4, 0, 0, 0, 0]]), memory)
    second, _ = scheme(model).write(torch.tensor([[0, 1, 1, 2, 0]]), memory)
    assert torch.equal(first, second)
    by_fertility = network("fertility")
    memory = by_fertility.encode(*padded(sentences([5])))
    assert not torch.equal(
        scheme(by_fertility).write(torch.tensor([[4, 0, 0, 0, 0]]), memory)[0],
        scheme(by_fertility).write(torch.tensor([[0, 1, 1, 2, 0]]), memory)[0],
    )


def test_a_fertility_position_never_sees_itself_and_sees_all_others() -> None:
    model = network("fertility")
    memory = model.encode(*padded(sentences([5, 3])))
    with recorded_weights(model) as maps:
        scheme(model).write(torch.tensor([[2, 0, 3, 1, 0], [0, 3, 0, 0, 0]]), memory)
    own = {name: weights for name, weights in maps.items() if "decoder" in name and "self" in name}
    assert len(own) == 2
    for weights in own.values():
        assert not bool(weights.diagonal(dim1=-2, dim2=-1).any())
        others = ~torch.eye(6, dtype=torch.bool)
        assert bool((weights[0][:, others] > 0).all())
        assert not bool(weights[1, :, :, 3:].any())
    positional = {name for name in maps if "positional" in name}
    assert len(positional) == 2


@every_decoder
def test_recorded_rows_sum_to_one(decoder: str) -> None:
    model = network(decoder)
    with recorded_weights(model) as maps:
        written(model, sentences([6, 3]), [5, 4])
    assert any("cross_attention" in name for name in maps)
    for name, weights in maps.items():
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), msg=name)
        if "cross_attention" in name:
            assert weights.size(-1) == 6
            assert not bool(weights[1, :, :, 3:].any())


@every_decoder
def test_every_parameter_is_used(decoder: str) -> None:
    model = network(decoder).train()
    memory = model.encode(*padded(sentences([6, 3])))
    total = written(model, sentences([6, 3]), [5, 2]).square().sum()
    if decoder == "fertility":
        total = total + scheme(model).logits(memory).square().sum()
    elif decoder == "mask-predict":
        total = total + scheme(model).length_logits(memory).square().sum()
    else:
        hidden, _ = scheme(model).write(memory, revealed=torch.full((2, 10), 5))
        total = total + hidden.square().sum()
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


def test_a_revealed_slot_reads_its_token_and_the_others_their_copies() -> None:
    model = network("ctc")
    memory = model.encode(*padded(sentences([4])))
    nothing, slots = scheme(model).write(memory, revealed=torch.full((1, 6), -1))
    assert slots.tolist() == [6]
    assert torch.equal(nothing, scheme(model).write(memory)[0])
    revealed = torch.tensor([[-1, -1, 5, -1, -1, -1]])
    assert not torch.equal(nothing, scheme(model).write(memory, revealed=revealed)[0])


def test_lengths_and_classes_are_inverse_within_the_greatest_difference() -> None:
    model = network("mask-predict")
    memory = model.encode(*padded(sentences([4, 6])))
    lengths = torch.tensor([1, 133])
    assert scheme(model).length_of(
        scheme(model).class_of(lengths, memory)[:, None], memory
    ).flatten().tolist() == [1, 133]
    assert scheme(model).class_of(torch.tensor([900, 900]), memory).tolist() == [256, 256]


def test_the_decoder_does_not_see_the_length_token() -> None:
    model = network("mask-predict")
    memory = model.encode(*padded(sentences([4, 6])))
    assert memory.cross.layers[0][0].shape[2] == 6 and memory.features.shape[0] == 2
    before = written(model, sentences([4, 6]), [3, 3])
    model.predictor.weight.data.zero_()
    assert torch.equal(written(model, sentences([4, 6]), [3, 3]), before)


@pytest.mark.parametrize("tied", ["all", "target", "none"])
@every_decoder
def test_embeddings_are_tied_as_told(decoder: str, tied: str) -> None:
    model = network(decoder, tied_embeddings=tied)
    assert (model.output.weight is model.encoder.embedding.tokens.weight) == (tied == "all")
    if model.target_embedding is not None:
        assert (model.output.weight is model.target_embedding.tokens.weight) == (tied != "none")


@every_decoder
def test_two_vocabularies_are_kept_apart(decoder: str) -> None:
    model = network(decoder, size=11, target_size=17)
    assert model.output.out_features == 17
    assert written(model, sentences([4], size=11), [3]).size(-1) == 17


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"decoder": "ctc", "copies": "uniform"}, "copies is a setting of decoder = fertility"),
        ({"decoder": "mask-predict", "slots": 3}, "slots is a setting of decoder = ctc"),
        ({"decoder": "ctc", "max_fertility": 3}, "max_fertility is a setting of decoder = fertility"),
        ({"decoder": "glat"}, "model.decoder"),
        ({"width": 10, "heads": 3}, "not a multiple of heads"),
        ({"width": 9, "heads": 3}, "is odd"),
    ],
)
def test_what_does_not_fit_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_config({"kind": "nonautoregressive", **table})


def test_one_vocabulary_for_both_needs_one() -> None:
    with pytest.raises(UserError, match="tied_embeddings = all needs one vocabulary"):
        network("ctc", target_size=17, tied_embeddings="all")


@pytest.mark.parametrize("setting", [{"slots": 3}, {"positional_attention": True}, {"norm": "pre"}])
def test_settings_do_something(setting: dict[str, object]) -> None:
    plain, changed = network("ctc"), network("ctc", **setting)
    first, second = (written(model, sentences([4]), [3]) for model in (plain, changed))
    assert first.shape != second.shape or not torch.equal(first, second)
