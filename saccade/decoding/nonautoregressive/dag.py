"""Decoding of the directed acyclic Transformer (Huang et al. 2022, section 3.5)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.nonautoregressive.graph_search import graph_search
from saccade.decoding.nonautoregressive.options import DagDecoding
from saccade.decoding.padding import padded
from saccade.decoding.rerank import Reranker, rerank
from saccade.models.nonautoregressive.dag import Dag
from saccade.nn.dag import framed, path_log_probs


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


def _never(scheme: Dag) -> list[int]:
    return scheme.special
