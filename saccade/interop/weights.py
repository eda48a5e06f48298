"""Copying the weights of transformers' encoder-decoders (Marian, M2M-100) into our Transformer."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from saccade.errors import DamagedFile, Unsupported, UserError
from saccade.model_folder.checkpoint import unique_tensors
from saccade.models.transformer import Transformer, TransformerSettings
from saccade.nn.positions import FAIRSEQ_FIRST, sinusoids

_LAYER = {
    "self_attention.query_key_value": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention.output": ("self_attn.out_proj",),
    "self_attention_residual.norm": ("self_attn_layer_norm",),
    "feed_forward.inner": ("fc1",),
    "feed_forward.outer": ("fc2",),
    "feed_forward_residual.norm": ("final_layer_norm",),
}
_CROSS = {
    "cross_attention.query": ("encoder_attn.q_proj",),
    "cross_attention.key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention.output": ("encoder_attn.out_proj",),
    "cross_attention_residual.norm": ("encoder_attn_layer_norm",),
}
_SIDES = {
    "encoder": (_LAYER, "encoder.layers", "encoder.norm"),
    "decoder": (_LAYER | _CROSS, "decoder", "decoder_norm"),
}
"""The parts of each side's layers, and our names of its layers and of the norm behind them."""
_SHARED, _HEAD = "model.shared.weight", "lm_head.weight"
_EMBEDDED = {side: f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder")}
_UNUSED = {_SHARED, _HEAD, "final_logits_bias", *_EMBEDDED.values()} | {
    f"model.{side}.embed_positions.weight{end}" for side in ("encoder", "decoder") for end in ("", "s")
}
"""Names that may also occur: other names of tied matrices, and sinusoids, which are computed here."""
_MOST_POSITIONS = 1 << 16


def load_published(network: Transformer, weights: Mapping[str, Tensor], *, file: Path) -> None:
    """Copies published weights; raises UserError for one that is missing or does not have `network`'s shape.

    file: the file of the weights, for messages. A missing bias of the logits is zero.
    """
    names, embeddings = dict(published_names(network.config)), _embeddings(network.config)
    expected = _UNUSED.union(*names.values())
    if unknown := sorted(weights.keys() - expected):
        raise DamagedFile(f"{file}: holds {unknown[0]}, which does not belong to a model of config.json.")
    for ours, tensor in unique_tensors(network).items():
        if ours == "output.bias" and "final_logits_bias" not in weights:
            continue
        wanted = names.get(ours, ()) or embeddings[ours]
        parts = _found(wanted, weights, embedding=ours in embeddings, file=file)
        _fits(parts, tensor, file=file)
        with torch.no_grad():
            tensor.copy_(torch.cat([part.reshape(-1, *tensor.shape[1:]) for part in parts.values()]))


def check_unused(config: TransformerSettings, weights: Mapping[str, Tensor], *, file: Path) -> None:
    """Checks the weights that are computed here or stored twice; raises UserError for other values.

    A model whose positions are learned, whose tied matrices differ, or whose logits have a bias that
    config.json does not know would otherwise be imported as another model.
    """
    for name, table in weights.items():
        if ".embed_positions." in name and not _sinusoidal(table, config):
            raise Unsupported(f"{file}: {name} holds other positions; sinusoids were expected.")
    bias = weights.get("final_logits_bias")
    if bias is not None and not config.output_bias and bool(bias.any()):
        raise Unsupported(f"{file}: final_logits_bias is not zero; this kind of model has none.")
    for names in _embeddings(config).values():
        same = [
            name for name in names if name in weights and (config.tied_embeddings == "all" or name != _SHARED)
        ]
        for name in same[1:]:
            if not torch.equal(weights[name], weights[same[0]]):
                raise Unsupported(f"{file}: {name} differs from {same[0]}; one tied matrix was expected.")


def _sinusoidal(table: Tensor, config: TransformerSettings) -> bool:
    """Whether a stored table has the values that are computed here; stored in 16 bits, they are rounded."""
    first = FAIRSEQ_FIRST if config.sinusoid_layout == "fairseq" else 0
    count = table.size(0) - first
    if table.ndim != 2 or table.size(1) != config.width or not 0 < count <= _MOST_POSITIONS:
        return False
    computed = sinusoids(count, config.width, layout=config.sinusoid_layout)
    return bool(torch.allclose(table[first:], computed, atol=1e-2))


def published_names(config: TransformerSettings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields each of our parameters, except embeddings, with the published ones that form it, in order."""
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        table, layers_of, norm_of = _SIDES[side]
        for kind in ("weight", "bias"):
            for number in range(layers):
                for ours, theirs in table.items():
                    names = tuple(f"model.{side}.layers.{number}.{part}.{kind}" for part in theirs)
                    yield f"{layers_of}.{number}.{ours}.{kind}", names
            yield f"{norm_of}.{kind}", (f"model.{side}.layer_norm.{kind}",)
    yield "output.bias", ("final_logits_bias",)


def _embeddings(config: TransformerSettings) -> dict[str, tuple[str, ...]]:
    """The names under which each of our matrices may be stored; of tied matrices only one is stored."""
    source: tuple[str, ...] = (_EMBEDDED["encoder"], _SHARED)
    target: tuple[str, ...] = (_EMBEDDED["decoder"], _SHARED)
    if config.tied_embeddings == "all":
        source = target = (_SHARED, *_EMBEDDED.values(), _HEAD)
    elif config.tied_embeddings == "target":
        target = (*target, _HEAD)
    return {
        "encoder.embedding.tokens.weight": source,
        "target_embedding.tokens.weight": target,
        "output.weight": (_HEAD,),
    }


def _found(
    names: tuple[str, ...], weights: Mapping[str, Tensor], *, embedding: bool, file: Path
) -> dict[str, Tensor]:
    """The tensors of all names; for an embedding, the first one that exists."""
    present = [name for name in names if name in weights]
    if (not present) if embedding else len(present) < len(names):
        missing = next(name for name in names if name not in weights)
        raise DamagedFile(f"{file}: lacks {missing}; it does not belong to config.json, or is incomplete.")
    return {name: weights[name] for name in (present[:1] if embedding else present)}


def _fits(parts: Mapping[str, Tensor], tensor: Tensor, *, file: Path) -> None:
    rows, *columns = tensor.shape
    expected = [rows // len(parts), *columns]
    for name, part in parts.items():
        shape = [part.numel()] if name == "final_logits_bias" else list(part.shape)
        if shape != expected:
            raise UserError(
                f"{file}: {name} has the shape {list(part.shape)}, but config.json needs {expected}; "
                "the files do not belong together."
            )
