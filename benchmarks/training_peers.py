"""Other ways to train a Transformer: plain loops around those of PyTorch and of Hugging Face.

Same sizes, same dropout places as far as they can have them, same smoothing and optimiser.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.training_speed import RATE, SMOOTHING, Update
from saccade.models.interface import Vocabulary
from saccade.models.transformer import TransformerConfig
from saccade.nn.positions import sinusoids
from saccade.text.batching import Batch
from saccade.training.distributed import Group
from saccade.training.settings import uses_bfloat16


class TorchTransformer(nn.Module):
    """torch.nn.Transformer with scaled, tied embeddings and sinusoids."""

    positions: Tensor

    def __init__(self, config: TransformerConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary.target_size, config.width)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        self.register_buffer("positions", sinusoids(512, config.width))
        self.dropout, self.pad = nn.Dropout(config.dropout), vocabulary.pad
        self.layers = nn.Transformer(
            config.width,
            config.heads,
            config.encoder_layers,
            config.decoder_layers,
            config.feed_forward,
            dropout=config.dropout,
            batch_first=True,
        )

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch."""
        source, target_in = batch["source"].values, batch["target_in"].values
        future = nn.Transformer.generate_square_subsequent_mask(target_in.size(1), dtype=torch.bool)
        padding = source == self.pad
        hidden = self.layers(
            self._embedded(source),
            self._embedded(target_in),
            tgt_mask=future.to(padding.device),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        logits: Tensor = hidden @ self.embedding.weight.T
        return logits

    def _embedded(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) * self.embedding.embedding_dim**0.5 + self.positions[: ids.size(1)]
        out: Tensor = self.dropout(x)
        return out


class MarianTransformer(nn.Module):
    """Hugging Face's MarianMTModel."""

    def __init__(self, config: TransformerConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        from transformers import MarianConfig, MarianMTModel

        self.pad = vocabulary.pad
        self.layers = MarianMTModel(
            MarianConfig(
                vocab_size=vocabulary.target_size,
                d_model=config.width,
                encoder_layers=config.encoder_layers,
                decoder_layers=config.decoder_layers,
                encoder_attention_heads=config.heads,
                decoder_attention_heads=config.heads,
                encoder_ffn_dim=config.feed_forward,
                decoder_ffn_dim=config.feed_forward,
                dropout=config.dropout,
                attention_dropout=0.0,
                activation_dropout=0.0,
                activation_function=config.activation,
                scale_embedding=True,
                pad_token_id=vocabulary.pad,
                decoder_start_token_id=vocabulary.start,
                eos_token_id=vocabulary.end,
                max_position_embeddings=512,
            )
        )

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch."""
        source, target_in = batch["source"].values, batch["target_in"].values
        mask = (source != self.pad).long()
        logits: Tensor = self.layers(
            input_ids=source, attention_mask=mask, decoder_input_ids=target_in, use_cache=False
        ).logits
        return logits


def plain_update(module: nn.Module, group: Group, precision: str, *, pad: int) -> Update:
    """The usual loop: logits, smoothed cross-entropy over real tokens, fused Adam."""
    module = module.to(group.device).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-9, fused=True)
    low = uses_bfloat16(precision, group.device)

    def update(batches: Sequence[Batch], *, rate: float = RATE) -> tuple[int, float]:
        total, tokens = 0.0, sum(batch.target_tokens for batch in batches)
        for batch in (batch.to(group.device) for batch in batches):
            with torch.autocast(group.device.type, torch.bfloat16, enabled=low):
                logits = module(batch).flatten(0, 1)
                loss = cross_entropy(
                    logits.float(),
                    batch["target"].values.flatten(),
                    ignore_index=pad,
                    label_smoothing=SMOOTHING,
                    reduction="sum",
                )
            (loss / tokens).backward()
            total += loss.item()
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return tokens, total / tokens

    return update
