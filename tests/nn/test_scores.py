from __future__ import annotations

import math

import pytest
import torch

from saccade.nn.scores import AdditiveAlignment, Alignment, DotAlignment, GeneralAlignment
from tests.tiny import randomise


def modules(state: int = 6, annotation: int = 6) -> dict[str, Alignment]:
    found: dict[str, Alignment] = {
        "additive": AdditiveAlignment(state, annotation, width=5),
        "general": GeneralAlignment(state, annotation),
    }
    if state == annotation:
        found["dot"] = DotAlignment()
    for module in found.values():
        randomise(module.double())
    return found


NAMES = ["additive", "general", "dot"]


def test_additive_scores_equal_a_loop_written_by_hand() -> None:
    """v . tanh(W s + U h), up to a constant that no softmax sees."""
    module = modules(6, 4)["additive"]
    assert isinstance(module, AdditiveAlignment)
    states, annotations = torch.randn(2, 3, 6).double(), torch.randn(2, 7, 4).double()
    keys, _ = module.project_memory(annotations)
    scores = module.scores(states, keys)
    weights = module.weights(states, module.project_memory(annotations))
    w, u, v = module.query.weight.tolist(), module.key.weight.tolist(), module.score.tolist()
    for b in range(2):
        for i in range(3):
            expected = []
            for j in range(7):
                s, h = states[b, i].tolist(), annotations[b, j].tolist()
                total = 0.0
                for a in range(5):
                    z = sum(x * y for x, y in zip(w[a], s, strict=True))
                    z += sum(x * y for x, y in zip(u[a], h, strict=True))
                    total += v[a] * math.tanh(z)
                expected.append(total)
            shift = scores[b, i] - torch.tensor(expected, dtype=torch.float64)
            torch.testing.assert_close(shift, torch.full_like(shift, sum(v)), rtol=0, atol=1e-12)
            powers = [math.exp(score) for score in expected]
            hand = torch.tensor([power / sum(powers) for power in powers], dtype=torch.float64)
            torch.testing.assert_close(weights[b, 0, i], hand, rtol=0, atol=1e-13)


def test_dot_and_general_scores_equal_their_formulas() -> None:
    states, annotations = torch.randn(2, 3, 6).double(), torch.randn(2, 7, 6).double()
    dot, general = modules()["dot"], modules()["general"]
    assert isinstance(general, GeneralAlignment)
    for b in range(2):
        for i in range(3):
            for j in range(7):
                s, h = states[b, i], annotations[b, j]
                plain = dot.scores(states, dot.project_memory(annotations)[0])[b, i, j]
                assert float(plain - (s * h).sum()) == pytest.approx(0, abs=1e-13)
                found = general.scores(states, general.project_memory(annotations)[0])[b, i, j]
                assert float((found - s @ general.key.weight @ h).detach()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_rows_sum_to_one_and_padding_has_exactly_no_weight(name: str) -> None:
    module = modules()[name]
    states, annotations = torch.randn(2, 3, 6).double(), torch.randn(2, 7, 6).double()
    visible = (torch.arange(7) < torch.tensor([[7], [4]]))[:, None, None]
    memory = module.project_memory(annotations)
    weights = module.weights(states, memory, visible=visible)
    assert weights.shape == (2, 1, 3, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 3).double(), rtol=0, atol=1e-13)
    assert not bool(weights[1, :, :, 4:].any())
    alone = module.weights(states[1:], module.project_memory(annotations[1:, :4]))
    torch.testing.assert_close(weights[1:, :, :, :4], alone, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_a_context_is_the_weighted_sum_of_annotations(name: str) -> None:
    module = modules()[name]
    states, annotations = torch.randn(2, 3, 6).double(), torch.randn(2, 7, 6).double()
    memory = module.project_memory(annotations)
    expected = torch.zeros(2, 3, 6).double()
    weights = module.weights(states, memory)[:, 0]
    for j in range(7):
        expected += weights[:, :, j : j + 1] * annotations[:, j : j + 1]
    torch.testing.assert_close(module(states, memory), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_queries_of_a_sentence_do_not_see_each_other(name: str) -> None:
    """Positions in training and hypotheses in a search are the same to it."""
    module = modules()[name]
    states, annotations = torch.randn(2, 3, 6).double(), torch.randn(2, 7, 6).double()
    memory = module.project_memory(annotations)
    one_by_one = torch.cat([module(states[:, i : i + 1], memory) for i in range(3)], 1)
    torch.testing.assert_close(module(states, memory), one_by_one, rtol=0, atol=1e-13)


def test_additive_scores_stay_finite_and_precise_where_sigmoids_are_flat() -> None:
    module = AdditiveAlignment(1, 1, width=2)
    with torch.no_grad():
        module.query.weight.fill_(1.0)
        module.key.weight.fill_(1.0)
        module.score.copy_(torch.tensor([3.0, -1.0]))
    states = torch.tensor([[[200.0], [-200.0], [0.0]]])
    annotations = torch.tensor([[[0.0], [1e-3], [-300.0]]])
    scores = module.scores(states, module.project_memory(annotations)[0])
    exact = 2 * torch.tanh(states + annotations.transpose(1, 2)) + 2
    torch.testing.assert_close(scores, exact, rtol=0, atol=1e-6)
