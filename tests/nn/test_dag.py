"""Graphs: links are distributions over later vertices; sums and maxima over paths are enumeration's."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from saccade.nn.dag import Links, best_vertices, emissions, framed, path_log_probs

VERTICES, LENGTHS = [6, 4, 5], [4, 2, 5]


def graph(*, seed: int = 0, most: int = 6, target: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Emissions, links, numbers of vertices and of tokens, with noise at padding."""
    torch.manual_seed(seed)
    emitted = torch.randn(3, most, target, dtype=torch.float64).log_softmax(-1)
    places, vertices = torch.arange(most), torch.tensor(VERTICES)
    later = (places > places[:, None]) & (places < vertices[:, None, None])
    links = torch.rand(3, most, most, dtype=torch.float64) * later
    links = links / links.sum(-1, keepdim=True).clamp(min=1e-9)
    return emitted, links, vertices, torch.tensor(LENGTHS)


def paths(vertices: int, length: int) -> list[tuple[int, ...]]:
    """All paths of `length` vertices from the first to the last."""
    if length == 1:
        return [(0,)] if vertices == 1 else []
    inner = itertools.combinations(range(1, vertices - 1), length - 2)
    return [(0, *some, vertices - 1) for some in inner]


def along(emitted: Tensor, links: Tensor, path: tuple[int, ...]) -> Tensor:
    total = emitted[path[0], 0]
    for step, (a, b) in enumerate(itertools.pairwise(path), start=1):
        total = total + links[a, b].log() + emitted[b, step]
    return total


@pytest.mark.parametrize("seed", range(3))
def test_the_sum_over_paths_and_its_gradient_are_those_of_enumeration(seed: int) -> None:
    emitted, links, vertices, lengths = graph(seed=seed)
    ours = [emitted.clone().requires_grad_(), links.clone().requires_grad_()]
    theirs = [emitted.clone().requires_grad_(), links.clone().requires_grad_()]
    found = path_log_probs(*ours, vertices, lengths)
    for row, (count, length) in enumerate(zip(VERTICES, LENGTHS, strict=True)):
        every = [along(theirs[0][row], theirs[1][row], path) for path in paths(count, length)]
        expected = torch.stack(every).logsumexp(0)
        assert float(found[row].detach()) == pytest.approx(float(expected.detach()), abs=1e-10)
        expected.backward()
    found.sum().backward()
    possible = [torch.ones_like(emitted), links > 0]  # no path uses another link
    for one, other, used in zip(ours, theirs, possible, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad * used, other.grad, rtol=1e-8, atol=1e-10)


def test_the_best_path_is_that_of_enumeration() -> None:
    for seed in range(5):
        emitted, links, vertices, lengths = graph(seed=seed)
        found = best_vertices(emitted, links, vertices, lengths).tolist()
        for row, (count, length) in enumerate(zip(VERTICES, LENGTHS, strict=True)):
            best = max(
                paths(count, length), key=lambda path, row=row: float(along(emitted[row], links[row], path))
            )
            assert tuple(found[row][:length]) == best


def test_a_target_that_does_not_fit_is_impossible_and_harms_no_gradient() -> None:
    emitted, links, vertices, lengths = graph()
    lengths = torch.tensor([4, 5, 5])  # 5 tokens, 4 vertices
    emitted.requires_grad_()
    found = path_log_probs(emitted, links, vertices, lengths)
    assert found.isfinite().tolist() == [True, False, True]
    torch.where(found.isfinite(), found, 0.0).sum().backward()
    assert emitted.grad is not None
    assert bool(emitted.grad.isfinite().all())
    assert not bool(emitted.grad[1].any())


def test_a_token_that_must_be_emitted_at_a_vertex_leaves_the_paths_through_it() -> None:
    emitted, links, vertices, lengths = graph()
    forced = emitted.clone()
    forced[0, :, 2] = -torch.inf
    forced[0, 3, 2] = emitted[0, 3, 2]
    found = path_log_probs(forced.requires_grad_(), links, vertices, lengths)
    every = [along(emitted[0], links[0], path) for path in paths(6, 4) if path[2] == 3]
    assert float(found[0].detach()) == pytest.approx(float(torch.stack(every).logsumexp(0)), abs=1e-10)
    found.sum().backward()
    assert forced.grad is not None
    assert bool(forced.grad.isfinite().all())


def test_links_are_distributions_over_later_vertices_and_padding_changes_nothing() -> None:
    torch.manual_seed(1)
    links = Links(12, heads=3).double()
    hidden, positions = torch.randn(2, 7, 12).double(), torch.randn(7, 12).double()
    lengths = torch.tensor([7, 4])
    found = links(hidden, positions, lengths)
    assert bool((found >= 0).all())
    assert not bool(found.tril().any())
    sums = found.sum(-1)
    torch.testing.assert_close(sums[0, :6], torch.ones(6).double())
    torch.testing.assert_close(sums[1, :3], torch.ones(3).double())
    assert not bool(sums[0, 6:].any())
    assert not bool(sums[1, 3:].any())
    alone = links(hidden[1:, :4], positions[:4], lengths[1:])
    torch.testing.assert_close(found[1:, :4, :4], alone)


@torch.no_grad()
def test_links_are_a_mixture_of_heads_by_a_loop() -> None:
    torch.manual_seed(2)
    links = Links(6, heads=2).double()
    hidden, positions = torch.randn(1, 4, 6).double(), torch.randn(4, 6).double()
    found = links(hidden, positions, torch.tensor([4]))[0]
    x = torch.cat([hidden[0], positions], -1)
    query, key = links.query_key(x).chunk(2, -1)
    gates = links.gate(x).softmax(-1)
    for u in range(3):
        expected = torch.zeros(4).double()
        for head in range(2):
            own = slice(3 * head, 3 * head + 3)
            logits = [float(query[u, own] @ key[v, own]) / math.sqrt(3) for v in range(u + 1, 4)]
            normal = math.fsum(math.exp(one) for one in logits)
            for v, one in zip(range(u + 1, 4), logits, strict=True):
                expected[v] += float(gates[u, head]) * math.exp(one) / normal
        torch.testing.assert_close(found[u], expected)


def test_emissions_are_log_softmax_a_few_sentences_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    hidden = torch.randn(3, 4, 5, dtype=torch.float64)
    weight = torch.randn(9, 5, dtype=torch.float64)
    ids = torch.randint(9, (3, 2))
    monkeypatch.setattr("saccade.nn.dag._GROUP_ELEMENTS", 2 * 9 * 4)
    ours, theirs = ([x.clone().requires_grad_() for x in (hidden, weight)] for _ in range(2))
    found = emissions(*ours, ids)
    expected = (theirs[0] @ theirs[1].T).log_softmax(-1).gather(2, ids[:, None].expand(-1, 4, -1))
    torch.testing.assert_close(found, expected)
    outer = torch.randn_like(found)
    found.backward(outer)
    expected.backward(outer)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_targets_are_framed_by_start_and_end() -> None:
    ids, lengths = framed(torch.tensor([[5, 6, 7], [8, 0, 0]]), torch.tensor([3, 1]), start=2, end=3)
    assert ids.tolist() == [[2, 5, 6, 7, 3], [2, 8, 3, 3, 3]]
    assert lengths.tolist() == [5, 3]
