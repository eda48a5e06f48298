from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from saccade.nn.recurrence import (
    GATES,
    PARTS,
    BidirectionalEncoder,
    Cell,
    Recurrence,
    recurrent_layer,
    reversal,
)
from tests.tiny import randomise

CELLS: list[Cell] = ["gru", "lstm"]


def states(rows: int, width: int, *, cell: Cell, layers: int) -> list[tuple[torch.Tensor, ...]]:
    return [tuple(torch.randn(rows, width).double() for _ in range(PARTS[cell])) for _ in range(layers)]


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_equals_torchs_cells(cell: Cell) -> None:
    ours = Recurrence(5, 4, cell=cell, layers=2, dropout=0.0).double()
    randomise(ours)
    hidden, x = states(3, 4, cell=cell, layers=2), torch.randn(3, 5).double()
    kind = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[cell]
    expected, below = [], x
    for number, size in enumerate((5, 4)):
        theirs = kind(size, 4).double()
        with torch.no_grad():
            for mine, other in zip(ours.layers[number].parameters(), theirs.parameters(), strict=True):
                other.copy_(mine)
        out = theirs(below, hidden[number] if cell == "lstm" else hidden[number][0])
        expected.append(out if cell == "lstm" else (out,))
        below = expected[-1][0]
    for mine, other in zip(ours.step(ours.gates(x), hidden), expected, strict=True):
        assert len(mine) == PARTS[cell]
        for part, exact in zip(mine, other, strict=True):
            torch.testing.assert_close(part, exact, rtol=0, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
def test_steps_equal_the_fused_pass(cell: Cell, layers: int) -> None:
    recurrence = Recurrence(5, 4, cell=cell, layers=layers, dropout=0.0).double()
    randomise(recurrence)
    x, hidden = torch.randn(3, 6, 5).double(), states(3, 4, cell=cell, layers=layers)
    fused = recurrence(x, hidden)
    gates = recurrence.gates(x)
    assert gates.shape == (3, 6, 4 * GATES[cell])
    for position in range(6):
        hidden = recurrence.step(gates[:, position], hidden)
        torch.testing.assert_close(hidden[-1][0], fused[:, position], rtol=0, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_both_directions_equal_torchs_packed_sequences(cell: Cell, layers: int) -> None:
    encoder = BidirectionalEncoder(5, 4, cell=cell, layers=layers, dropout=0.0).double()
    randomise(encoder)
    kind = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
    theirs = kind(5, 4, num_layers=layers, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for n in range(layers):
            for suffix, layer in (("", encoder.ahead[n]), ("_reverse", encoder.back[n])):
                for name, parameter in layer.named_parameters():
                    getattr(theirs, name.replace("l0", f"l{n}") + suffix).copy_(parameter)
    x, lengths = torch.randn(4, 7, 5).double(), torch.tensor([7, 1, 4, 6])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    real = torch.arange(7) < lengths[:, None]
    found = encoder(x, lengths)
    torch.testing.assert_close(found[real], expected[real], rtol=0, atol=1e-13)
    noisy = torch.where(real[..., None], x, 1e3)
    assert torch.equal(encoder(noisy, lengths)[real], found[real])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_turning_a_sentence_round_twice_gives_it_back_and_leaves_padding(lengths: list[int]) -> None:
    order = reversal(torch.tensor(lengths), 9)
    for row, length in zip(order.tolist(), lengths, strict=True):
        assert row == [*reversed(range(length)), *range(length, 9)]


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_matrices_start_orthogonal_and_forget_gates_open(cell: Cell) -> None:
    layer = recurrent_layer(5, 4, cell=cell)
    of_input, of_state, input_bias, state_bias = layer.all_weights[0]
    for gate in of_state.detach().split(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(4), rtol=0, atol=1e-5)
    assert float(of_input.detach().abs().max()) <= (6 / 9) ** 0.5
    expected = torch.tensor([0.0] * 4 + [1.0] * 4 + [0.0] * 8 if cell == "lstm" else [0.0] * 12)
    assert torch.equal(input_bias + state_bias, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_acts_between_layers_and_never_from_state_to_state(cell: Cell) -> None:
    one, two = (Recurrence(5, 4, cell=cell, layers=layers, dropout=0.5).train() for layers in (1, 2))
    x = torch.randn(3, 6, 5)
    hidden = [tuple(torch.randn(3, 4) for _ in range(PARTS[cell]))]
    assert torch.equal(one(x, hidden), one(x, hidden))
    assert not torch.equal(two(x, hidden * 2), two(x, hidden * 2))
    assert not torch.equal(
        two.step(two.gates(x[:, 0]), hidden * 2)[-1][0], two.step(two.gates(x[:, 0]), hidden * 2)[-1][0]
    )
