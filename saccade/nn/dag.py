"""The graph of the directed acyclic Transformer: transitions, and sums over paths (Huang et al. 2022).

A graph has vertices 0 to L - 1. A path begins at vertex 0, goes on to later vertices and ends at vertex
L - 1; each of its vertices emits a token. Sections and equations are of "Directed Acyclic Transformer for
Non-Autoregressive Machine Translation".
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from saccade.nn.attention import split_heads
from saccade.nn.linear import Linear

_GROUP_ELEMENTS = 1 << 22  # logits held at a time: 16 MB in float32


class Links(nn.Module):
    """The probability of each vertex to be followed by each later one (section 3.2, equations 6 to 8).

    It is a mixture over heads of softmax(q k / sqrt(d)) over the later vertices. Queries, keys and the gates
    of the heads are linear in the vertex's state and its position.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key = Linear(2 * width, 2 * width)
        self.gate = Linear(2 * width, heads)

    def forward(self, hidden: Tensor, positions: Tensor, lengths: Tensor) -> Tensor:
        """Probabilities (batch, from, to) of hidden (batch, vertices, width) and positions (vertices, width).

        lengths (batch,): number of vertices of each graph. The last vertex of a graph has no successor: its
        row is 0, as are the rows behind it.
        """
        x = torch.cat([hidden, positions.to(hidden.dtype).expand_as(hidden)], -1)
        query, key = (split_heads(part, self.heads) for part in self.query_key(x).chunk(2, -1))
        wide = torch.promote_types(hidden.dtype, torch.float32)
        scores = (query @ key.transpose(-1, -2)).to(wide) * query.size(-1) ** -0.5
        places = torch.arange(hidden.size(1), device=hidden.device)
        later = (places > places[:, None]) & (places < lengths[:, None, None])  # (batch, from, to)
        follows = later.any(-1, keepdim=True)
        scores = scores.masked_fill((follows & ~later)[:, None], -torch.inf)
        gates = (
            self.gate(x).to(scores.dtype).softmax(-1).transpose(1, 2)[..., None]
        )  # (batch, heads, from, 1)
        mixed: Tensor = (gates * scores.softmax(-1)).sum(1)
        return mixed * later


def emissions(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities (batch, vertices, ids) of ids (batch, ids) at each vertex, at least float32.

    Logits are hidden (batch, vertices, width) weight^T. Those of a few sentences exist at a time, and they
    are computed again in the backward pass.
    """
    rows = max(1, _GROUP_ELEMENTS // (weight.size(0) * hidden.size(1)))
    parts = [
        checkpoint(_picked, part, weight, own, use_reentrant=False, preserve_rng_state=False)
        for part, own in zip(hidden.split(rows), ids.split(rows), strict=True)
    ]
    return torch.cat(parts)


def _picked(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight)
    wide = torch.promote_types(logits.dtype, torch.float32)
    index = ids[:, None].expand(-1, hidden.size(1), -1)
    # Not log_softmax of everything: only the normaliser of the others is needed.
    return logits.gather(2, index).to(wide) - logits.to(wide).logsumexp(-1, keepdim=True)


def path_log_probs(emitted: Tensor, links: Tensor, vertices: Tensor, lengths: Tensor) -> Tensor:
    """The log-probability of each target, summed over all its paths (equation 5): (batch,).

    emitted (batch, vertices, target): log-probabilities of the target's tokens; links (batch, from, to):
    probabilities; vertices, lengths (batch,): numbers of vertices and tokens. It is -inf for a target with
    more tokens than there are vertices.
    """
    states = _prefixes(emitted, links)
    rows = torch.arange(len(lengths), device=lengths.device)
    found = states[lengths - 1, rows, vertices - 1]
    return torch.where(lengths <= vertices, found, -torch.inf)


def prefix_log_probs(emitted: Tensor, links: Tensor) -> Tensor:
    """Log-probabilities in nats (rows, target - 1) of the prefixes of one target, summed over all paths.

    emitted (rows, vertices, target), links (rows, from, to): as in `path_log_probs`, of graphs with all of
    these vertices; the target has the start symbol first and the end symbol last. Column k - 1 is the prefix
    of the start symbol and k tokens, with more to follow; the last one is the whole target.
    """
    states = _prefixes(emitted, links)  # (target, rows, vertices)
    going = states[1:-1, :, :-1].logsumexp(-1)  # (target - 2, rows): not yet at the last vertex
    return torch.cat([going, states[-1:, :, -1]]).T


def _prefixes(emitted: Tensor, links: Tensor) -> Tensor:
    """Log-probabilities (target, rows, vertices) of the paths that emit a prefix and end at a vertex."""
    tiny = torch.finfo(emitted.dtype).tiny
    first = torch.full_like(emitted[:, :, 0], -torch.inf)
    first[:, 0] = 0.0
    state = first + emitted[:, :, 0]
    states = [state]
    for step in range(1, emitted.size(2)):
        # log sum over u of exp(state_u) links_uv, as a product of matrices.
        most = state.detach().amax(1, keepdim=True)
        most = torch.where(most.isfinite(), most, 0.0)
        reached = ((state - most).exp()[:, None] @ links.to(state.dtype))[:, 0]
        state = reached.clamp(min=tiny).log() + most + emitted[:, :, step]
        states.append(state)
    return torch.stack(states)


@torch.no_grad()
def best_vertices(emitted: Tensor, links: Tensor, vertices: Tensor, lengths: Tensor) -> Tensor:
    """The likeliest path of each target, by the Viterbi algorithm: vertices (batch, target).

    Arguments are those of `path_log_probs`. Behind a target's end, and for targets that do not fit, what is
    returned is meaningless.
    """
    log_links = links.to(emitted.dtype).log()
    state = torch.full_like(emitted[:, :, 0], -torch.inf)
    state[:, 0] = emitted[:, 0, 0]
    before = []
    for step in range(1, emitted.size(2)):
        value, origin = (state[:, :, None] + log_links).max(1)
        before.append(origin)
        state = torch.where((step < lengths)[:, None], value + emitted[:, :, step], state)
    vertex = (vertices - 1)[:, None]
    path = vertex.repeat(1, emitted.size(2))
    for step in reversed(range(1, emitted.size(2))):
        path[:, step : step + 1] = vertex
        moved = before[step - 1].gather(1, vertex)
        vertex = torch.where((step < lengths)[:, None], moved, vertex)
    path[:, :1] = vertex
    return path


def framed(pieces: Tensor, lengths: Tensor, *, start: int, end: int) -> tuple[Tensor, Tensor]:
    """Targets with the start symbol before and the end symbol behind their tokens, and their lengths.

    pieces (batch, target) without end symbols, lengths (batch,); returns (batch, target + 2) and (batch,).
    """
    whole = torch.nn.functional.pad(pieces, (1, 1), value=end)
    whole[:, 0] = start
    places = torch.arange(whole.size(1), device=pieces.device)
    return whole.masked_fill(places > lengths[:, None], end), lengths + 2
