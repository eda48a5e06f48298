"""Every kind of positions and every window in the whole model, in float64."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saccade.config import dump_toml, load_toml
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.errors import UserError
from saccade.model_folder.checkpoint import load_model, save_model
from saccade.models import model_config
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Transformer
from tests import tiny
from tests.reference import search as reference
from tests.reference.positions import PositionedReference
from tests.tiny import (
    config,
    exact_positions,
    padded,
    recorded_weights,
    rows_of,
    sentences,
    transformer,
    vocabulary,
)

POSITIONS: dict[str, dict[str, Any]] = {
    "sinusoidal": {},
    "learned": {"max_positions": 120},
    "relative": {"max_distance": 3},
    "rotary": {},
    "alibi": {},
    "none": {},
}
WINDOWS: dict[str, int | tuple[int, ...] | None] = {"all": None, "two": 2, "mixed": (1, 0, 3, 2)}

every_position = pytest.mark.parametrize("positions", POSITIONS)
every_window = pytest.mark.parametrize("window", WINDOWS)


def model(positions: str, window: str = "all", **changes: Any) -> Transformer:
    return transformer(
        positions=positions, window=WINDOWS[window], **{**POSITIONS[positions], **changes}
    ).requires_grad_(False)


def logits(network: Transformer, source: list[list[int]], target: list[list[int]]) -> Tensor:
    out: Tensor = network(padded(target)[0], network.encode(*padded(source)))
    return out


# --- against loops written from the papers -------------------------------------------------------


def assert_equals_loops(network: Transformer, source: list[list[int]], target: list[list[int]]) -> None:
    exact_positions(network)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for name, table in weights.items():  # the decoder has no rows for the future: nothing may come of them
        if name.startswith("decoder") and name.endswith(("positions.keys", "positions.values")):
            weights[name] = np.concatenate([table, np.full((3, 4), 1e3)])
    naive = PositionedReference(
        weights=weights,
        heads=3,
        encoder_layers=2,
        decoder_layers=2,
        positions=network.config.positions,
        windows=network.config.windows,
        furthest=3,
    )
    ours = logits(network, source, target).numpy()
    for row in range(len(source)):
        expected = naive.logits(target[row], naive.encode(source[row]))
        assert np.abs(ours[row, : len(target[row])] - expected).max() < 1e-11


@every_window
@every_position
def test_the_model_equals_loops_written_from_the_papers(positions: str, window: str) -> None:
    assert_equals_loops(model(positions, window), sentences([5, 2], seed=1), sentences([4, 3], seed=2))


@every_position
def test_long_sentences_in_blocks_equal_loops_too(positions: str) -> None:
    assert_equals_loops(model(positions, "two"), sentences([71, 2], seed=1), sentences([66, 3], seed=2))


# --- one step at a time --------------------------------------------------------------------------


@every_window
@every_position
def test_steps_equal_the_full_pass(positions: str, window: str) -> None:
    network = model(positions, window)
    source, target = sentences([6, 3, 1]), sentences([9, 9, 9], seed=1)
    memory = network.encode(*padded(source))
    start = torch.full((3, 1), network.vocabulary.start)
    full = network(torch.cat([start, padded(target)[0][:, :-1]], 1), memory)
    state, token = network.start(memory, 9), start[:, 0]
    for position in range(9):
        out, state = network.step(token, state)
        torch.testing.assert_close(out, full[:, position], rtol=0, atol=1e-12)
        token = torch.tensor([row[position] for row in target])


@given(st.data())
@settings(max_examples=60)
def test_steps_equal_the_full_pass_whatever_a_search_selects(data: st.DataObject) -> None:
    """Hypotheses repeat, change order and number, sentences leave."""
    network = model(data.draw(st.sampled_from([*POSITIONS])), data.draw(st.sampled_from([*WINDOWS])))
    source = sentences(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    histories = [[[network.vocabulary.start]] for _ in source]
    state = network.start(network.encode(*padded(source)), 7)
    for _ in range(6):
        token = torch.tensor([past[-1] for group in histories for past in group])
        out, state = network.step(token, state)
        owners = [sentence for sentence, group in zip(source, histories, strict=True) for _ in group]
        full = logits(network, owners, [past for group in histories for past in group])
        torch.testing.assert_close(out, full[:, -1], rtol=0, atol=1e-12)
        old, new = len(histories[0]), data.draw(st.integers(1, 3), label="hypotheses")
        kept = [s for s in range(len(histories)) if data.draw(st.booleans())] or [0]
        choice = [[data.draw(st.integers(0, old - 1)) for _ in range(new)] for _ in kept]
        rows = [[s * old + h for h in chosen] for s, chosen in zip(kept, choice, strict=True)]
        state = state.select(rows_of(rows, state.layout))
        source = [source[s] for s in kept]
        histories = [
            [[*histories[s][h], data.draw(st.integers(4, 12))] for h in chosen]
            for s, chosen in zip(kept, choice, strict=True)
        ]


# --- causality, padding, batches -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [8, 70])
@every_window
@every_position
def test_a_later_token_changes_nothing_before_it(
    positions: str, window: str, length: int, dtype: torch.dtype
) -> None:
    network = model(positions, window, dtype=dtype)
    source, target = sentences([6, 3]), sentences([length, length], seed=1)
    before = logits(network, source, target)
    for position in (1, length // 2, length - 1):
        changed = [[*row[:position], *(4 + token % 9 for token in row[position:])] for row in target]
        after = logits(network, source, changed)
        assert torch.equal(after[:, :position], before[:, :position]), "exactly, not nearly"
        assert not torch.equal(after[:, position:], before[:, position:])


@pytest.mark.parametrize("longest", [6, 70])
@every_window
@every_position
def test_padding_and_neighbours_change_nothing(positions: str, window: str, longest: int) -> None:
    network = model(positions, window)
    source, target = sentences([longest, 3, 1, 5]), sentences([5, 2, longest, 1], seed=1)
    ids, lengths = padded(source)
    noise = torch.randint(4, 13, (4, longest + 3))
    noisy = torch.where(torch.arange(longest + 3) < lengths[:, None], torch.cat([ids, ids[:, :3]], 1), noise)
    together = network(padded(target)[0], network.encode(noisy, lengths))
    for row in range(4):
        alone = logits(network, source[row : row + 1], target[row : row + 1])[0]
        torch.testing.assert_close(together[row, : len(target[row])], alone, rtol=0, atol=1e-12)


# --- order ---------------------------------------------------------------------------------------


def encoded(network: Transformer, tokens: Iterable[int]) -> Tensor:
    ids = torch.tensor([list(tokens)])
    return network.encode(ids, torch.tensor([ids.size(1)])).states[0]


@every_position
def test_without_positions_the_encoder_is_blind_to_order_and_with_any_it_is_not(positions: str) -> None:
    network = model(positions)
    source, order = sentences([7])[0], [4, 0, 6, 2, 1, 5, 3]
    moved = encoded(network, [source[i] for i in order]) - encoded(network, source)[order]
    if positions == "none":
        assert float(moved.abs().max()) < 1e-12
    else:
        assert float(moved.abs().max()) > 1e-3


@every_position
def test_only_distances_from_both_sides_alike_leave_a_mirror_image(positions: str) -> None:
    """ALiBi looks the same backwards: an encoder tells directions apart by the end symbol alone."""
    network = model(positions)
    source = sentences([7])[0]
    moved = encoded(network, source[::-1]) - encoded(network, source).flip(0)
    assert (float(moved.abs().max()) < 1e-12) == (positions in ("alibi", "none"))


@every_window
@every_position
def test_shifting_leaves_all_that_knows_distances_only_unchanged(positions: str, window: str) -> None:
    """A sentence behind hidden tokens stands elsewhere, but its distances stay."""
    network = model(positions, window)
    exact_positions(network)
    tokens, shift = torch.tensor(sentences([9])), 5
    shifted = torch.cat([torch.full((1, shift), 4), tokens], 1)
    visible = (torch.arange(9 + shift) >= shift)[None, None, None]
    plain, moved = network.encoder.embedding(tokens), network.encoder.embedding(shifted)
    for layer in network.encoder.layers:
        plain, moved = layer(plain, visible=None), layer(moved, visible=visible)
    difference = float((moved[:, shift:] - plain).abs().max())
    if positions in ("sinusoidal", "learned"):
        assert difference > 1e-3
    else:
        assert difference < 1e-12


# --- search and recording ------------------------------------------------------------------------

FEW = Vocabulary(source_size=9, target_size=5, pad=0, start=0, end=1, shared=False)


@every_window
@every_position
def test_a_wide_beam_is_brute_force(positions: str, window: str) -> None:
    network = model(positions, window, words=FEW, tied_embeddings="target")
    source = [[4, 7, 5, 1], [6, 1]]

    def table(sentence: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        out = logits(network, [list(sentence)], [[FEW.start, *tokens]])[0, -1].log_softmax(-1)
        return [float(x) for x in out]

    ids, lengths = padded(source)
    options = DecodingConfig(beam=60, nbest=60, max_length=4)
    found = search(network, ids, lengths, options=options)
    rules = reference.Rules(end=1, max_length=4, banned=(0,))
    for results, sentence in zip(found, source, strict=True):
        expected = reference.best(table, tuple(sentence), rules, kind="gnmt", alpha=0.6)
        assert [one.tokens for one in results] == [tokens for tokens, _, _ in expected]
        for one, (_, log_prob, score) in zip(results, expected, strict=True):
            assert one.log_prob == pytest.approx(log_prob, abs=1e-5)
            assert one.score == pytest.approx(score, abs=1e-5)


@every_window
@every_position
def test_recorded_rows_sum_to_one_within_the_window(positions: str, window: str) -> None:
    network = model(positions, window)
    with recorded_weights(network) as maps:
        logits(network, sentences([70, 68]), sentences([69, 69], seed=1))
    windows = dict(
        zip(
            ["encoder.layers.0", "encoder.layers.1", "decoder.0", "decoder.1"],
            network.config.windows,
            strict=True,
        )
    )
    assert len(maps) == 6
    for name, weights in maps.items():
        real = weights if name.startswith("decoder") else weights[:, :, :68]  # padding may see nothing
        torch.testing.assert_close(real.sum(-1), torch.ones_like(real[..., 0]), rtol=0, atol=1e-12)
        near = windows[name.rpartition(".")[0]]
        if near is not None and name.endswith("self_attention"):
            assert not bool(weights.triu(near + 1).any())
            assert not bool(weights.tril(-near - 1).any())


def test_the_map_of_a_module_shows_what_its_positions_do() -> None:
    """A far key costs ALiBi's slope, and nothing else changes: read off the recorded weights."""
    plain, sloped = model("none"), model("alibi")
    sloped.load_state_dict(plain.state_dict())
    source = padded([[5, 5, 5, 5, 5, 5]])
    with recorded_weights(plain) as flat, recorded_weights(sloped) as bent:
        plain.encode(*source)
        sloped.encode(*source)
    first = "encoder.layers.0.self_attention"
    torch.testing.assert_close(flat[first], torch.full_like(flat[first], 1 / 6), rtol=0, atol=1e-12)
    ratios = bent[first][0, :, 0, 1:].log() - bent[first][0, :, 0, :-1].log()
    slopes = torch.tensor([2 ** (-8 * head / 3) for head in (1, 2, 3)], dtype=torch.float64)
    torch.testing.assert_close(ratios, -slopes[:, None].expand(3, 5), rtol=0, atol=1e-7)


# --- training ------------------------------------------------------------------------------------


@every_window
@every_position
def test_every_parameter_is_learned(positions: str, window: str) -> None:
    """Also what data-parallel training needs: no parameter is left without a gradient."""
    network = model(positions, window).requires_grad_(True)
    logits(network, sentences([70, 5]), sentences([70, 9], seed=1)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


def test_the_default_draws_no_other_numbers_than_before() -> None:
    """Positions inside attention have no parameters unless they are relative."""
    for positions in ("rotary", "alibi", "none"):
        assert all(
            torch.equal(a, b)
            for a, b in zip(model(positions).parameters(), model("sinusoidal").parameters(), strict=True)
        )
    added = dict(model("relative").named_parameters()).keys() - dict(model("none").named_parameters()).keys()
    assert len(added) == 2 * 4


# --- configuration -------------------------------------------------------------------------------


@every_window
@every_position
def test_model_and_configuration_come_back(positions: str, window: str, tmp_path: Path) -> None:
    made = tiny.model(
        dtype=torch.float32, positions=positions, window=WINDOWS[window], **POSITIONS[positions]
    )
    save_model(tmp_path / "m", made)
    loaded = load_model(tmp_path / "m")
    assert loaded.config == made.config
    ids, lengths = padded([[5, 9, 8, 7, 3], [8, 3]])
    target = torch.tensor([[2, 7, 4], [2, 11, 5]])
    first, second = (m.network.decode(target, m.network.encode(ids, lengths)) for m in (made, loaded))
    assert torch.equal(first, second)
    (tmp_path / "c.toml").write_text(dump_toml({"model": made.config.model_dump(mode="json")}))
    assert model_config(load_toml(tmp_path / "c.toml")["model"]) == made.config


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_a_model_that_was_written_before_these_settings_loads(positions: str, tmp_path: Path) -> None:
    made = tiny.model(dtype=torch.float32, positions=positions)
    save_model(tmp_path / "m", made)
    path = tmp_path / "m" / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"] = {k: v for k, v in content["model"].items() if k not in ("window", "max_distance")}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert load_model(tmp_path / "m").config == made.config


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"positions": "rotary", "width": 24, "heads": 8}, "heads are 3 wide"),
        ({"positions": "rotory"}, 'model.positions = "rotory"'),
        ({"max_distance": 8}, "max_distance is a setting of relative positions, and these are sinusoidal"),
        ({"positions": "alibi", "max_distance": 8}, "and these are alibi"),
        ({"positions": "relative", "max_distance": 0}, "model.max_distance = 0"),
        ({"positions": "none", "sinusoid_layout": "halves"}, "sinusoid_layout is a setting of sinusoidal"),
        ({"positions": "alibi", "max_positions": 9}, "max_positions is a setting of learned positions, and"),
        ({"window": [3, 3]}, "window lists 2 numbers for 6 encoder layers and 6 decoder layers"),
        ({"window": 0}, "model.window = 0"),
        ({"window": [3, -1]}, "model.window"),
        ({"window": "wide"}, 'model.window = "wide"'),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(table: dict[str, object], reason: str) -> None:
    with pytest.raises(UserError) as caught:
        model_config(table)
    assert reason in str(caught.value)


def test_a_window_is_one_number_or_one_for_each_layer() -> None:
    assert config().windows == (None,) * 4
    assert config(window=5).windows == (5,) * 4
    assert config(window=(5, 0, 2, 0)).windows == (5, None, 2, None)


def test_odd_widths_serve_all_positions_that_turn_no_pairs() -> None:
    for positions in ("learned", "relative", "alibi", "none"):
        assert Transformer(config(width=15, positions=positions), vocabulary())


@every_position
def test_only_learned_positions_end_somewhere(positions: str) -> None:
    assert (model(positions).max_source_length is not None) == (positions == "learned")
