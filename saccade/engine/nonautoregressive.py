"""The non-autoregressive Transformer in C: a body whose encoder, decoder and linear layers are packed."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Literal, cast

import torch
from torch import Tensor

from saccade.engine.packed import Memory, PackedStack, why_not_packed
from saccade.models.nonautoregressive.interface import SourceMemory
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer, vertex_positions
from saccade.native.linear import pack
from saccade.quantisation import Precision


def unsupported_reason(network: NonAutoregressiveTransformer) -> str | None:
    """Why this network can't run in C; None where it can."""
    config = network.config
    return why_not_packed(
        network.output.weight, head_width=config.head_width, feed_forward=config.feed_forward
    )


class PackedBody:
    """Replaces the trained network as a `Body` in decoding. The weights are copies: later training does not
    reach them. C looks the ids up that the encoder and the decoder read."""

    def __init__(self, network: NonAutoregressiveTransformer, *, precision: Precision) -> None:
        self.config, self.vocabulary, self.scheme = network.config, network.vocabulary, network.scheme
        encoder = network.encoder
        # In front of the source stands a token that is no id: then its embeddings are made here.
        self._sentence_token, self._embedding = network.sentence_token, encoder.embedding
        looked_up = encoder.embedding if network.sentence_token is None else None
        self._encoder, self._decoder = (
            PackedStack(
                layers,
                config=self.config,
                final=final,
                precision=precision,
                embedding=embedding,
                positions=encoder.embedding.positions,
            )
            for layers, final, embedding in (
                (encoder.layers, encoder.norm, looked_up),
                (network.decoder, network.decoder_norm, network.reading),
            )
        )
        self.output = pack(network.output.weight, network.output.bias, precision=precision)
        self._links, self._reading = deepcopy(network.links), network.reading  # small, so torch computes them
        predictor = network.predictor
        self._predictor = (
            None if predictor is None else pack(predictor.weight, predictor.bias, precision="float32")
        )

    def argmax(self, hidden: Tensor, *, never: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `Body.argmax`."""
        return self.output.argmax(hidden, excluded=never)

    def encode(self, source: Tensor, source_lengths: Tensor) -> SourceMemory[Memory]:
        """See `Body.encode`."""
        if self._sentence_token is None:
            states = features = self._encode(source, source_lengths)
        else:
            first = self._sentence_token.detach().expand(source.size(0), 1, -1)
            x = torch.cat([first, self._embedding(source).detach()], 1)  # (batch, 1 + source, width)
            states = self._encode(x, source_lengths + 1)
            features, states = states[:, 0], states[:, 1:]
        cross = self._decoder.project_memory(states, source_lengths)
        return SourceMemory(source, source_lengths, cross, None if self._predictor is None else features)

    def predict(self, memory: SourceMemory[Memory]) -> Tensor:
        """See `Body.predict`."""
        assert self._predictor is not None
        return self._predictor(cast(Tensor, memory.features))

    def decode(
        self, read: Tensor, lengths: Tensor, memory: SourceMemory[Memory], *, revealed: Tensor | None = None
    ) -> Tensor:
        """See `Body.decode`; nothing is revealed outside training."""
        assert revealed is None
        mask: Literal["none", "diagonal"] = "none" if self.scheme.sees_itself else "diagonal"
        return self._decoder.run(read, lengths, mask=mask, memory=memory.cross)

    def link(self, hidden: Tensor, positions: Tensor, lengths: Tensor) -> Tensor:
        """See `LinkingBody.link`."""
        assert self._links is not None
        with torch.inference_mode():
            probabilities: Tensor = self._links(hidden, positions, lengths)
        return probabilities

    def vertex_positions(self, hidden: Tensor) -> Tensor:
        """See `LinkingBody.vertex_positions`."""
        return vertex_positions(self._reading, hidden)

    def _encode(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self._encoder.run(x, lengths)
