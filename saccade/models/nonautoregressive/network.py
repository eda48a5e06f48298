"""The non-autoregressive Transformer in torch: the body that is trained.

Gu et al. 2018, "Non-Autoregressive Neural Machine Translation"; sections are of that paper.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from saccade.models.families import NonAutoregressive
from saccade.models.interface import Vocabulary
from saccade.models.nonautoregressive import SCHEMES
from saccade.models.nonautoregressive.config import NonAutoregressiveConfig
from saccade.models.nonautoregressive.interface import SourceMemory
from saccade.models.transformer_encoder import TransformerEncoder, final_norm
from saccade.models.tying import resolve_tying, tie
from saccade.nn.argmax import argmax_log_probs
from saccade.nn.dag import Links
from saccade.nn.embedding import Embedding
from saccade.nn.initial import xavier
from saccade.nn.layers import EncoderLayer
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.nonautoregressive import CrossKeyValues, NonAutoregressiveDecoderLayer, target_mask
from saccade.nn.positions import SinusoidalPositions


class NonAutoregressiveTransformer(NonAutoregressive):
    """Encoder, decoder without a causal mask, output layer, and the predictor that the scheme needs."""

    config: NonAutoregressiveConfig

    def __init__(self, config: NonAutoregressiveConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.scheme = SCHEMES[config.decoder]
        width, blocks = config.width, config.blocks
        source = self._embedding(vocabulary.source_size)
        target = self._embedding(vocabulary.target_size) if self.scheme.embeds_target else None
        layers = (EncoderLayer(blocks) for _ in range(config.encoder_layers))
        self.encoder = TransformerEncoder(source, layers, width=width, norm=config.norm)
        self.target_embedding = target
        positional = config.positional_attention
        if positional is None:
            positional = self.scheme.positional_attention
        self.decoder = nn.ModuleList(
            NonAutoregressiveDecoderLayer(blocks, positional=positional) for _ in range(config.decoder_layers)
        )
        self.decoder_norm = final_norm(width, config.norm)
        self.output: nn.Linear = Linear(width, vocabulary.target_size, bias=False)
        xavier(self, but=self.output)
        nn.init.normal_(self.output.weight, std=width**-0.5)
        tying = resolve_tying(config.tied_embeddings, shared=vocabulary.shared)
        if tying == "all" and target is not None:
            target.tokens.weight = source.tokens.weight  # the encoder keeps its initial values
        tie(tying, output=self.output, source=source, target=target)
        self.sentence_token = self._sentence_token()
        self.predictor = self._predictor()
        self.links = Links(width, heads=config.heads) if self.scheme.links else None

    def encode(self, source: Tensor, source_lengths: Tensor) -> SourceMemory[CrossKeyValues]:
        """See `Body.encode`."""
        if self.sentence_token is None:
            states = features = self.encoder(source, source_lengths)
        else:
            first = self.sentence_token.expand(source.size(0), 1, -1)
            x = torch.cat([first, self.encoder.embedding(source)], 1)  # (batch, 1 + source, width)
            states = self.encoder.transform(x, source_lengths + 1)
            features, states = states[:, 0], states[:, 1:]
        layers = tuple(layer.cross_attention.project_memory(states) for layer in self._layers())
        cross = CrossKeyValues(layers, padding_mask(source_lengths, source.size(1)))
        return SourceMemory(source, source_lengths, cross, None if self.predictor is None else features)

    def argmax(self, hidden: Tensor, *, never: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `Body.argmax`."""
        return argmax_log_probs(self.output, hidden, size=self.output.out_features, never=never)

    def predict(self, memory: SourceMemory[CrossKeyValues]) -> Tensor:
        """See `Body.predict`."""
        assert self.predictor is not None
        logits: Tensor = self.predictor(memory.features)
        return logits

    def decode(
        self,
        read: Tensor,
        lengths: Tensor,
        memory: SourceMemory[CrossKeyValues],
        *,
        revealed: Tensor | None = None,
    ) -> Tensor:
        """See `Body.decode`."""
        embedding = self.reading
        if revealed is None:
            x = embedding(read)  # (batch, target, width)
        else:
            assert self.target_embedding is not None
            known = self.target_embedding.scaled(revealed.clamp(min=0))
            mixed = torch.where((revealed >= 0)[..., None], known, embedding.scaled(read))
            x = embedding.placed(mixed)
        longest = x.size(1)
        real = padding_mask(lengths, longest)
        seen = target_mask(longest, real, sees_itself=self.scheme.sees_itself, device=x.device)
        # (target, width): the positions alone, for positional attention
        positions = embedding.positions(torch.zeros(longest, x.size(2), device=x.device))
        for layer, cross in zip(self._layers(), memory.cross.layers, strict=True):
            x = layer(x, cross, positions, seen=seen, real=real, visible=memory.cross.visible)
        hidden: Tensor = self.decoder_norm(x)
        return hidden

    def link(self, hidden: Tensor, positions: Tensor, lengths: Tensor) -> Tensor:
        """See `LinkingBody.link`."""
        assert self.links is not None
        probabilities: Tensor = self.links(hidden, positions, lengths)
        return probabilities

    def vertex_positions(self, hidden: Tensor) -> Tensor:
        """See `LinkingBody.vertex_positions`."""
        return vertex_positions(self.reading, hidden)

    @property
    def reading(self) -> Embedding:
        """The embedding table of the ids that the decoder reads."""
        if self.scheme.reads == "source":
            return self.encoder.embedding
        assert self.target_embedding is not None
        return self.target_embedding

    def _layers(self) -> Sequence[NonAutoregressiveDecoderLayer]:
        return cast(Sequence[NonAutoregressiveDecoderLayer], self.decoder)

    def _embedding(self, size: int) -> Embedding:
        width = self.config.width
        return Embedding(size, width, positions=SinusoidalPositions(width), dropout=self.config.dropout)

    def _sentence_token(self) -> nn.Parameter | None:
        if self.scheme.predicts != "sentence":
            return None
        token = nn.Parameter(torch.empty(self.config.width))
        nn.init.normal_(token)
        return token

    def _predictor(self) -> nn.Linear | None:
        if self.scheme.predicts is None:
            return None
        predictor: nn.Linear = Linear(self.config.width, self.scheme.classes(self.config))
        nn.init.xavier_uniform_(predictor.weight)
        nn.init.zeros_(predictor.bias)
        return predictor


def vertex_positions(embedding: Embedding, hidden: Tensor) -> Tensor:
    """The position encodings (vertices, width) that an embedding adds to as many positions."""
    positions: Tensor = embedding.positions(torch.zeros(hidden.shape[1:], device=hidden.device))
    return positions
