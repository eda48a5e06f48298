"""Decoding of the directed acyclic Transformer against loops and enumeration, and its objective."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from saccade.decoding.nonautoregressive.dag import dag_log_probs, decode_dag
from saccade.decoding.nonautoregressive.graph_search import graph_search
from saccade.decoding.nonautoregressive.options import DagDecoding
from saccade.engine import make_engine
from saccade.errors import Unsupported
from saccade.interop.onnx_nonautoregressive import about_nonautoregressive
from saccade.model_folder.checkpoint import Model
from saccade.models.nonautoregressive.dag import Dag
from saccade.nn.dag import best_vertices, emissions
from saccade.training.dag import GlancingDag, _Targets, glanced
from tests.models.test_nonautoregressive import network
from tests.tiny import END, START, Words, batch, padded, sentences, value


def graph_of(model: Any, source: list[int]) -> tuple[Any, Any, int]:
    """Emission and link probabilities of one sentence, and the number of vertices."""
    scheme = Dag(model)
    ids, lengths = padded([source])
    hidden, vertices = scheme.write(model.encode(ids, lengths))
    links = model.link(hidden, model.vertex_positions(hidden), vertices)[0]
    return model.output(hidden[0]).softmax(-1).detach(), links.detach(), int(vertices)


def enumerated(emitted: Any, links: Any, vertices: int, never: list[int]) -> dict[tuple[int, ...], float]:
    """The probability of every target, all its paths added up."""
    words = [token for token in range(emitted.size(1)) if token not in never]
    found: dict[tuple[int, ...], float] = {}
    for count in range(vertices - 1):
        for inner in itertools.combinations(range(1, vertices - 1), count):
            path = (0, *inner, vertices - 1)
            chance = float(emitted[0, START] * emitted[-1, END])
            chance *= math.prod(float(links[a, b]) for a, b in itertools.pairwise(path))
            for tokens in itertools.product(words, repeat=count):
                own = chance * math.prod(float(emitted[v, y]) for v, y in zip(inner, tokens, strict=True))
                found[tokens] = found.get(tokens, 0.0) + own
    return found


def test_a_search_wide_enough_finds_what_enumeration_finds() -> None:
    model = network("dag", size=6, vertices=3)
    emitted, links, vertices = graph_of(model, [4, 5, END])
    assert vertices == 6
    never = Dag(model).special
    expected = enumerated(emitted, links, vertices, never)
    for alpha in (0.0, 1.0):
        found = graph_search(emitted, links, width=2000, alpha=alpha, start=START, end=END, never=never)
        assert {tokens for tokens, *_ in found} == set(expected)
        for tokens, log_prob, score in found:
            assert log_prob == pytest.approx(math.log(expected[tokens]), abs=1e-9)
            assert score == pytest.approx(log_prob / (len(tokens) + 1) ** alpha, abs=1e-12)
        scores = [score for *_, score in found]
        assert scores == sorted(scores, reverse=True)


def test_scores_of_given_targets_are_those_of_enumeration() -> None:
    model = network("dag", size=6, vertices=3)
    source = [4, 5, END]
    expected = enumerated(*graph_of(model, source), Dag(model).special)
    targets = [[4], [5, 4, 5], [], [4, 4, 5, 5], [4] * 5]
    ids, lengths = padded([source] * len(targets))
    found = dag_log_probs(Dag(model), ids, lengths, targets).tolist()
    for target, one in zip(targets, found, strict=True):
        known = expected.get(tuple(target))
        assert one == (-math.inf if known is None else pytest.approx(math.log(known), abs=1e-9))


@pytest.mark.parametrize("path", ["greedy", "lookahead"])
def test_a_path_is_that_of_a_loop(path: Any) -> None:
    model, rows = network("dag", seed=3), sentences([6, 3, 4])
    found = decode_dag(Dag(model), *padded(rows), options=DagDecoding(path=path))
    for source, [one] in zip(rows, found, strict=True):
        emitted, links, vertices = graph_of(model, source)
        emitted[:, Dag(model).special] = 0.0
        vertex, tokens, total = 0, [], 0.0
        while vertex < vertices - 1:
            chances = []
            for following in range(vertex + 1, vertices):
                own = float(emitted[following].max()) if path == "lookahead" else 1.0
                chances.append(float(links[vertex, following]) * (own if following < vertices - 1 else 1.0))
            following = vertex + 1 + chances.index(max(chances))
            total += math.log(float(links[vertex, following]))
            vertex = following
            if vertex < vertices - 1:
                tokens.append(int(emitted[vertex].argmax()))
                total += math.log(float(emitted[vertex].max()))
        assert one.tokens == tuple(tokens)
        # The likeliest tokens are found in float32, and a path may have many of them.
        assert one.log_prob == pytest.approx(total, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("options", [{}, {"path": "greedy"}, {"candidates": 3}])
def test_alone_and_in_a_batch_and_on_the_engine_it_is_the_same(options: dict[str, Any]) -> None:
    model = network("dag", seed=5, width=24, heads=2).float()
    rows = sentences([6, 3, 4])
    together = decode_dag(Dag(model), *padded(rows), options=DagDecoding(**options))
    fast = decode_dag(Dag(make_engine(model)), *padded(rows), options=DagDecoding(**options))
    for row, [one], [other] in zip(rows, together, fast, strict=True):
        [[alone]] = decode_dag(Dag(model), *padded([row]), options=DagDecoding(**options))
        assert alone.tokens == one.tokens
        assert alone.score == pytest.approx(one.score, abs=1e-4)
        assert other.score == pytest.approx(one.score, abs=1e-3)


def test_the_loss_is_minus_the_log_probability_of_each_target() -> None:
    model = network("dag")
    source, target = sentences([4, 6]), [[5, 6, 7, 5, END], [9, 8, END]]
    expected = -value(dag_log_probs(Dag(model), *padded(source), [row[:-1] for row in target]).sum())
    assert value(GlancingDag()(model, batch(source, target))) == pytest.approx(expected, abs=1e-4)
    model.train()  # its dropout is 0
    assert value(GlancingDag()(model, batch(source, target))) == pytest.approx(expected, abs=1e-4)


def test_as_many_tokens_are_revealed_as_the_share_of_the_wrong_ones_and_on_the_best_path() -> None:
    model, source = network("dag", seed=2), sentences([6, 4])
    ids = torch.tensor([[START, 5, 6, 7, 8, END], [START, 9, 5, END, END, END]])
    memory = model.encode(*padded(source))
    hidden, vertices = Dag(model).write(memory)
    targets = _Targets(ids, torch.tensor([6, 4]), vertices)
    links = model.link(hidden, model.vertex_positions(hidden), vertices)
    path = best_vertices(emissions(hidden, model.output.weight, ids), links, vertices, targets.lengths)
    noise = torch.rand(ids.shape)
    for share in (0.0, 0.5, 1.0):
        forced = glanced(model, hidden, targets, noise=noise, share=share)
        for row, length in enumerate((6, 4)):
            inner = range(1, length - 1)
            said = model.output(hidden[row, path[row]]).argmax(-1)
            wrong = sum(int(said[t]) != int(ids[row, t]) for t in inner)
            revealed = [t for t in range(6) if int(forced[row, t]) >= 0]
            assert len(revealed) == math.floor(share * wrong)
            assert set(revealed) <= set(inner)
            assert all(int(forced[row, t]) == int(path[row, t]) for t in revealed)


def test_glancing_has_the_same_dropout_in_both_passes_and_reaches_every_parameter() -> None:
    model = network("dag", dropout=0.3, tied_embeddings="none").train()
    given = batch(sentences([5, 4]), sentences([5, 4]))
    loss = GlancingDag((1.0, 0.0))(model, given)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    torch.manual_seed(4)
    first = value(GlancingDag((0.5, 0.5))(model, given))
    torch.manual_seed(4)
    assert value(GlancingDag((0.5, 0.5))(model, given)) == first


def test_it_cannot_be_exported_to_onnx() -> None:
    built = network("dag")
    with pytest.raises(Unsupported, match="cannot be exported to ONNX"):
        about_nonautoregressive(Model(network=built, config=built.config, tokenizer=Words()))
