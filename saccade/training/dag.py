"""Training of the directed acyclic Transformer with glancing (Huang et al. 2022, sections 3.3 and 3.4)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from saccade.decoding.nonautoregressive.lowest import lowest
from saccade.models.nonautoregressive.dag import Dag
from saccade.models.nonautoregressive.interface import AnyMemory
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.nn.dag import best_vertices, emissions, framed, path_log_probs
from saccade.text.batching import Batch
from saccade.training.objective import Objective


@dataclass(frozen=True)
class _Targets:
    """Framed targets (batch, target), their lengths, and the number of vertices of their graphs, (batch,)."""

    ids: Tensor
    lengths: Tensor
    vertices: Tensor


@dataclass
class GlancingDag(Objective):
    """Minus the log of the sum over all paths to the target, of a graph some of whose vertices are revealed.

    A first pass without gradient finds the likeliest path to the target and counts the tokens of the target
    that its vertices would not emit. Then a share of that number of vertices, chosen at random, reads the
    path's tokens; the second pass has the same dropout, and its paths have to emit these tokens there. share:
    at the start and at the end of training, linear in between; 0 is no glancing, which is also used outside
    training. Targets that do not fit into their graphs count 0.
    """

    share: tuple[float, float] = (0.0, 0.0)
    done: float = field(default=0.0, init=False)

    def at(self, done: float) -> None:
        """See `Objective.at`."""
        self.done = done

    def __call__(self, model: NonAutoregressiveTransformer, batch: Batch) -> Tensor:
        """See `Objective`."""
        scheme, source, target = Dag(model), batch["source"], batch["target"]
        memory = model.encode(source.values, source.lengths)
        words = model.vocabulary
        ids, lengths = framed(target.without_end()[0], target.lengths - 1, start=words.start, end=words.end)
        targets = _Targets(ids, lengths, scheme.vertices(memory))
        share = self.share[0] + (self.share[1] - self.share[0]) * self.done
        revealed = forced = None
        if model.training:
            # Even with a share of 0: distributed training needs a gradient for every parameter.
            revealed, forced = self._glance(model, memory, targets, share=share)
        hidden, _ = scheme.write(memory, revealed)  # (batch, vertices, width)
        found = _log_probs(model, hidden, targets, forced)
        return -torch.where(found.isfinite(), found, 0.0).sum()

    def _glance(
        self, model: NonAutoregressiveTransformer, memory: AnyMemory, targets: _Targets, *, share: float
    ) -> tuple[Tensor, Tensor | None]:
        """Ids (batch, vertices) that vertices read, -1 for none, and the vertices (batch, target) at which
        tokens must be emitted, -1 for any; None: none has to."""
        ids = targets.ids
        revealed = ids.new_full((len(ids), int(targets.vertices.max())), -1)
        if not share:
            return revealed, None
        noise = torch.rand(ids.shape, device=ids.device)
        devices = [ids.device] if ids.device.type == "cuda" else []
        # The generators' state is restored afterwards, so that both passes draw the same dropout.
        with torch.random.fork_rng(devices), torch.no_grad():
            hidden, _ = Dag(model).write(memory)
            forced = glanced(model, hidden, targets, noise=noise, share=share)
        rows, places = (forced >= 0).nonzero(as_tuple=True)
        revealed[rows, forced[rows, places]] = ids[rows, places]
        return revealed, forced


def glanced(
    model: NonAutoregressiveTransformer, hidden: Tensor, targets: _Targets, *, noise: Tensor, share: float
) -> Tensor:
    """The vertices (batch, target) of the likeliest path at which tokens are revealed, -1 for no vertex.

    floor(share * wrong tokens) of the tokens with the least noise (batch, target) are revealed, never the
    start and the end symbol. A token is wrong if its vertex on the path would rather emit another one.
    """
    weight = model.output.weight
    emitted = emissions(hidden, weight, targets.ids)
    links = model.link(hidden, model.vertex_positions(hidden), targets.vertices)
    path = best_vertices(emitted, links, targets.vertices, targets.lengths)
    on_path = hidden.gather(1, path[..., None].expand(-1, -1, hidden.size(2)))  # (batch, target, width)
    said = model.output(on_path).argmax(-1)
    places = torch.arange(path.size(1), device=path.device)
    inner = (places > 0) & (places < targets.lengths[:, None] - 1)
    fits = (targets.lengths <= targets.vertices)[:, None]
    count = (share * ((said != targets.ids) & inner & fits).sum(1)).long()
    return path.masked_fill(~lowest(noise, inner, count), -1)


def _log_probs(
    model: NonAutoregressiveTransformer, hidden: Tensor, targets: _Targets, forced: Tensor | None
) -> Tensor:
    """Log-probabilities (batch,) of the targets, whose revealed tokens are emitted where `forced` says."""
    emitted = emissions(hidden, model.output.weight, targets.ids)
    links = model.link(hidden, model.vertex_positions(hidden), targets.vertices)
    if forced is not None:
        # A revealed token teaches nothing: its probability has no gradient.
        vertices = torch.arange(hidden.size(1), device=hidden.device)[None, :, None]
        there = vertices == forced[:, None]  # (batch, vertices, target)
        known = torch.where(there, emitted.detach(), -torch.inf)
        emitted = torch.where((forced >= 0)[:, None], known, emitted)
    with torch.autocast(hidden.device.type, enabled=False):
        return path_log_probs(emitted, links, targets.vertices, targets.lengths)
