"""Decoding of the directed acyclic Transformer (Huang et al. 2022, section 3.5)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.chosen import conditional, log_probs_at, undefined
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.nonautoregressive.graph_search import graph_search
from saccade.decoding.nonautoregressive.options import DagDecoding
from saccade.decoding.nonautoregressive.rounds import only_round
from saccade.decoding.padding import padded
from saccade.decoding.rerank import Reranker, rerank
from saccade.decoding.trace import Rounds
from saccade.models.nonautoregressive.dag import Dag
from saccade.nn.dag import best_vertices, framed, path_log_probs, prefix_log_probs


class DagDecoder(NonAutoregressiveDecoder[Dag]):
    """The decoder of the scheme `Dag`, whose graph depends on the source alone."""

    scheme = Dag
    options = DagDecoding
    reads_target = False

    def write(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: DagDecoding,
        lines: Sequence[int],
    ) -> list[list[Hypothesis]]:
        """See `decode_dag`."""
        return decode_dag(self.engine, source, source_lengths, options=options, reranker=self.reranker)

    def log_probs(
        self,
        source: Tensor,
        source_lengths: Tensor,
        targets: Sequence[Sequence[int]],
        *,
        options: DagDecoding | None = None,
        prefixes: Sequence[Sequence[int]] = (),
    ) -> Tensor:
        """See `Decoder.log_probs`: summed over all paths to each target."""
        return dag_log_probs(self.trained, source, source_lengths, [target[:-1] for target in targets])

    def summed(self, options: DagDecoding, *, given: bool) -> str:
        """See `NonAutoregressiveDecoder.summed`."""
        return "all paths to the target" if given or options.candidates > 1 else "one path"

    def force(self, source: Tensor, source_lengths: Tensor, pieces: list[int]) -> None:
        """See `NonAutoregressiveDecoder.force`."""
        self.trained.write(self.trained.body.encode(source, source_lengths))

    def axis(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:
        """The likeliest token of each vertex."""
        hidden, _ = self.trained.write(self.trained.body.encode(source, source_lengths))
        tokens, _ = self.trained.body.argmax(hidden[0], never=[])
        found: list[int] = tokens.tolist()
        return found

    def rounds(self, source: Tensor, source_lengths: Tensor, found: Hypothesis) -> Rounds:
        """See `NonAutoregressiveDecoder.rounds`: the likeliest token of each vertex."""
        hidden, _ = self.trained.write(self.trained.body.encode(source, source_lengths))
        tokens = self.axis(source, source_lengths, found.tokens)
        return only_round(self.trained.body, hidden[0], tokens, never=[])

    def outputs(self, target: Sequence[int]) -> list[int]:
        """The target with its end symbol, which the last vertex emits."""
        return list(target)

    def slots(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[tuple[int, ...]]:
        """The vertex of each token on the likeliest path to the target."""
        emitted, links = _graph(self.trained, source, target)
        sizes = (torch.tensor([size], device=source.device) for size in emitted.shape[1:])
        [path] = best_vertices(emitted, links, *sizes)
        return [(vertex,) for vertex in path[1:].tolist()]

    def token_log_probs(self, source: Tensor, target: Sequence[int], rounds: Rounds) -> Tensor:
        """See `NonAutoregressiveDecoder.token_log_probs`: given the tokens before, summed over all paths.

        That of the start symbol, which the first vertex emits, is part of the first one.
        """
        if source.size(1) < 2:
            return undefined(source, len(target))
        emitted, links = _graph(self.trained, source, target)
        if len(target) >= emitted.size(1):
            return undefined(source, len(target))
        return conditional(prefix_log_probs(emitted, links))

    def copies(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> Tensor:
        """See `NonAutoregressiveDecoder.copies`."""
        return self.trained.copies(self.trained.body.encode(source, source_lengths))


@torch.inference_mode()
def decode_dag(
    scheme: Dag,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: DagDecoding,
    reranker: Reranker | None = None,
) -> list[list[Hypothesis]]:
    """Decodes a batch; returns one hypothesis for each sentence.

    log_prob and score: with one candidate those of the path that was taken; with several those of all paths
    to the target, and the score is the reranker's if there is a reranker.
    """
    hidden, vertices = scheme.write(scheme.body.encode(source, source_lengths))
    links = scheme.link(hidden, vertices)
    if options.candidates == 1:
        return _paths(scheme, hidden, links, vertices, lookahead=options.path == "lookahead")
    found = []
    for own, row, count in zip(hidden, links, vertices.tolist(), strict=True):
        emitted = scheme.body.output(own[:count]).float().softmax(-1)  # (vertices, vocabulary)
        best = graph_search(
            emitted.double(),
            row[:count, :count].double(),
            width=options.candidates,
            alpha=options.alpha,
            end=scheme.body.vocabulary.end,
            start=scheme.body.vocabulary.start,
            never=_never(scheme),
        )
        found.append([Hypothesis(tokens, log_prob, score) for tokens, log_prob, score in best])
    return rerank(found, source, source_lengths, reranker)


def _paths(
    scheme: Dag, hidden: Tensor, links: Tensor, vertices: Tensor, *, lookahead: bool
) -> list[list[Hypothesis]]:
    """Follows from each vertex the likeliest link (greedy), or the likeliest link and token (lookahead)."""
    batch, most, _ = hidden.shape
    tokens, log_probs = scheme.body.argmax(hidden.flatten(0, 1), never=_never(scheme))
    tokens, log_probs = tokens.view(batch, most), log_probs.view(batch, most).to(links.dtype)
    steps = links.log()
    choice = steps + log_probs[:, None] if lookahead else steps
    # The last vertex emits the end symbol, whatever its likeliest token is; its own probability counts as 1.
    last = torch.arange(most, device=vertices.device) == vertices[:, None] - 1
    if lookahead:
        choice = torch.where(last[:, None], steps, choice)
    following = choice.argmax(2)  # (batch, vertices)
    found = []
    for row, count in enumerate(vertices.tolist()):
        nexts, own = following[row].tolist(), tokens[row].tolist()
        vertex, written, path = 0, [], []
        while vertex != count - 1:
            path.append(vertex)
            vertex = nexts[vertex]
            if vertex != count - 1:
                written.append(own[vertex])
        index = torch.tensor([*path, vertex], device=links.device)
        total = float(steps[row, index[:-1], index[1:]].sum() + log_probs[row, index[1:-1]].sum())
        found.append([Hypothesis(tuple(written), total, total)])
    return found


def dag_log_probs(
    scheme: Dag, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
) -> Tensor:
    """Log-probability in nats of each target, summed over all its paths; float64 (batch,).

    It is -inf for a target that does not fit into the graph. targets: ids without end symbol.
    """
    words = scheme.body.vocabulary
    hidden, vertices = scheme.write(scheme.body.encode(source, source_lengths))
    links = scheme.link(hidden, vertices)
    pieces, lengths = padded(targets, pad=words.pad, device=source.device)
    ids, lengths = framed(pieces, lengths, start=words.start, end=words.end)
    log_probs = scheme.body.output(hidden).double().log_softmax(-1)  # (batch, vertices, vocabulary)
    emitted = log_probs.gather(2, ids[:, None].expand(-1, hidden.size(1), -1))
    return path_log_probs(emitted, links.double(), vertices, lengths)


def _graph(scheme: Dag, source: Tensor, target: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Log-probabilities (rows, vertices, 1 + target) of the start symbol and the target at each vertex, and
    the probabilities (rows, from, to) of the links, both float64."""
    lengths = torch.full_like(source[:, 0], source.size(1))
    hidden, vertices = scheme.write(scheme.body.encode(source, lengths))
    ids = torch.tensor([scheme.body.vocabulary.start, *target], device=source.device)
    emitted = log_probs_at(scheme.body.output, hidden, ids.expand(*hidden.shape[:2], -1))
    return emitted, scheme.link(hidden, vertices).double()


def _never(scheme: Dag) -> list[int]:
    return scheme.special
