"""The scheme of the directed acyclic Transformer (Huang et al. 2022)."""

from typing import cast

from torch import Tensor

from saccade.models.nonautoregressive.interface import AnyMemory, LinkingBody, Scheme, pieces
from saccade.nn.copying import copies_uniformly

_VERTICES = 8


class Dag(Scheme):
    """Writes a graph whose vertices hold distributions of tokens; a translation is what a path emits.

    There are several vertices for each source piece. The first vertex emits the start symbol and the last one
    the end symbol, so that the length needs no prediction, and different wordings have paths of their own. A
    vertex reads a copy of a source embedding or, if training reveals a token to it, that token's embedding.
    """

    name = "dag"
    reads = "source"
    embeds_target = True
    links = True

    def vertices(self, memory: AnyMemory) -> Tensor:
        """The number of vertices of each sentence (batch,); the end symbol of the source has none."""
        return (pieces(memory) * (self.body.config.vertices or _VERTICES)).clamp(min=2)

    def copies(self, memory: AnyMemory) -> Tensor:
        """The source position (batch, vertices) whose embedding is copied into each of the vertices."""
        return copies_uniformly(pieces(memory), self.vertices(memory))

    def write(self, memory: AnyMemory, revealed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, vertices, width) and numbers of vertices (batch,).

        revealed (batch, vertices): ids that vertices read instead of their copies, -1 for none.
        """
        vertices = self.vertices(memory)
        read = memory.source.gather(1, self.copies(memory))  # (batch, vertices)
        return self.body.decode(read, vertices, memory, revealed=revealed), vertices

    def link(self, hidden: Tensor, vertices: Tensor) -> Tensor:
        """Probabilities (batch, from, to) of links between the vertices that `write` returned."""
        body = cast(LinkingBody, self.body)
        return body.link(hidden, body.vertex_positions(hidden), vertices)
