"""Importing BERT: folders of `BertModel`, `BertForMaskedLM` and `BertForPreTraining`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from saccade.config import build
from saccade.errors import DamagedFile
from saccade.interop.published import Settings, broken, optional_object, read_weights, weight_files
from saccade.interop.recognised import own_code, refused
from saccade.model_folder.checkpoint import unique_tensors, vocabulary_of
from saccade.models.bert import Bert, BertConfig
from saccade.storage.structured import reason
from saccade.text.wordpiece import FILE, WordPieceConfig, WordPieceTokenizer, read_vocabulary

CLASSES = ("BertModel", "BertForMaskedLM", "BertForPreTraining")
_FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "tie_word_embeddings": True,
}
_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}
_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_LAYER = {
    "self_attention.query_key_value": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "self_attention.output": ("attention.output.dense",),
    "self_attention_residual.norm": ("attention.output.LayerNorm",),
    "feed_forward.inner": ("intermediate.dense",),
    "feed_forward.outer": ("output.dense",),
    "feed_forward_residual.norm": ("output.LayerNorm",),
}
_UNUSED = ("cls.seq_relationship.", "embeddings.position_ids", "bert.embeddings.position_ids")
"""Names that may also occur: the head of next-sentence prediction, and numbers from 0 on."""
_TIED = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
"""Other names of the token embeddings and of the bias of the logits."""


def import_bert(folder: Path, settings: Settings) -> tuple[Bert, WordPieceTokenizer, list[str]]:
    """The network, its tokeniser, and notes on what was left out.

    Raises UserError for a folder that is not understood, lacks something, or is damaged.
    """
    own_code(folder, settings)
    _require_supported(settings)
    tokenizer = _tokenizer(folder, settings)
    weights = {_without_prefix(name): tensor for name, tensor in _used(read_weights(folder))}
    config = _config(
        settings,
        head="cls.predictions.transform.dense.weight" in weights,
        pooler="pooler.dense.weight" in weights,
    )
    network = Bert(config, vocabulary_of(tokenizer))
    [file, *_] = weight_files(folder)
    _copy(network, weights, file)
    notes = []
    if not config.head:
        notes.append("the folder has no head that predicts masked pieces; the model gives vectors of texts")
    if not config.pooler:
        notes.append("the folder has no pooler; vectors of texts are means over their pieces")
    return network.eval(), tokenizer, notes


def _require_supported(settings: Settings) -> None:
    classes = settings.values.get("architectures")
    known = [[name] for name in CLASSES]
    if classes not in (None, [], *known):
        raise refused(settings.path, "architectures", classes, list(CLASSES))
    for name, wanted in _FIXED.items():
        value = settings.values.get(name)
        if value is not None and value != wanted:
            raise refused(settings.path, name, value, wanted)


def _config(settings: Settings, *, head: bool, pooler: bool) -> BertConfig:
    table: dict[str, object] = {
        "kind": "bert",
        "width": settings.whole("hidden_size"),
        "layers": settings.whole("num_hidden_layers"),
        "heads": settings.whole("num_attention_heads"),
        "feed_forward": settings.whole("intermediate_size"),
        "max_positions": settings.whole("max_position_embeddings", 512),
        "segments": settings.whole("type_vocab_size", 2),
        "activation": settings.choice("hidden_act", _ACTIVATIONS, "gelu"),
        "dropout": settings.share("hidden_dropout_prob", 0.1),
        "attention_dropout": settings.share("attention_probs_dropout_prob", 0.1),
        "epsilon": settings.share("layer_norm_eps", 1e-12),
        "head": head,
        "pooler": pooler,
    }
    return build(BertConfig, table, where=str(settings.path))


def _tokenizer(folder: Path, settings: Settings) -> WordPieceTokenizer:
    """From vocab.txt and tokenizer_config.json, which multilingual and cased models need."""
    about = Settings(folder / "tokenizer_config.json", optional_object(folder / "tokenizer_config.json"))
    kind = about.values.get("tokenizer_class")
    if kind not in (None, "BertTokenizer", "BertTokenizerFast"):
        raise refused(about.path, "tokenizer_class", kind, "BertTokenizer")
    for name, piece in _TOKENS.items():
        found = about.values.get(f"{name}_token")
        found = found.get("content") if isinstance(found, Mapping) else found
        if found not in (None, piece):
            raise refused(about.path, f"{name}_token", found, piece)
    strip = about.values.get("strip_accents")
    config = WordPieceConfig(
        lowercase=about.flag("do_lower_case", default=True),
        strip_accents=None if strip is None else about.flag("strip_accents", default=False),
        chinese_characters=about.flag("tokenize_chinese_chars", default=True),
    )
    path = folder / FILE
    try:
        pieces = read_vocabulary(path)
        size = settings.whole("vocab_size", len(pieces))
        if len(pieces) > size:
            raise ValueError(f"{len(pieces)} pieces, but config.json has vocab_size {size}")
        # Some models have rows of the embedding matrix that no piece uses.
        padding = [f"[unused row {number}]" for number in range(len(pieces), size)]
        return WordPieceTokenizer([*pieces, *padding], config)
    except FileNotFoundError as error:
        raise DamagedFile(f"{path}: not found. Give the whole folder as it was published.") from error
    except (OSError, ValueError) as error:
        raise broken(path, reason(error)) from error


def _used(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in weights.items():
        if not name.startswith(_UNUSED) and name not in _TIED:
            yield name, tensor


def _without_prefix(name: str) -> str:
    """The name as `BertModel` has it; the oldest folders call the parts of layer norms gamma and beta."""
    plain = name.removeprefix("bert.")
    return plain.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def published_names(config: BertConfig) -> dict[str, tuple[str, ...]]:
    """Our parameters and the published ones that each of them is made of, one after another."""
    modules: dict[str, tuple[str, ...]] = {
        "encoder.embedding.norm": ("embeddings.LayerNorm",),
    }
    if config.head:
        modules["head"] = ("cls.predictions.transform.dense",)
        modules["head_norm"] = ("cls.predictions.transform.LayerNorm",)
    if config.pooler:
        modules["pooler"] = ("pooler.dense",)
    for number in range(config.layers):
        for ours, theirs in _LAYER.items():
            parts = tuple(f"encoder.layer.{number}.{part}" for part in theirs)
            modules[f"encoder.layers.{number}.{ours}"] = parts
    names = {
        f"{ours}.{end}": tuple(f"{part}.{end}" for part in theirs)
        for ours, theirs in modules.items()
        for end in ("weight", "bias")
    }
    tables = {"tokens": "word", "positions": "position", "segments": "token_type"}
    for ours, table in tables.items():
        names[f"encoder.embedding.{ours}.weight"] = (f"embeddings.{table}_embeddings.weight",)
    return {**names, "output.bias": ("cls.predictions.bias",)} if config.head else names


def _copy(network: Bert, weights: Mapping[str, Tensor], file: Path) -> None:
    names = published_names(network.config)
    if unknown := sorted(weights.keys() - {part for parts in names.values() for part in parts}):
        raise DamagedFile(f"{file}: holds {unknown[0]}, which does not belong to a model of config.json.")
    for ours, tensor in unique_tensors(network).items():
        missing = [name for name in names[ours] if name not in weights]
        if missing:
            raise DamagedFile(
                f"{file}: lacks {missing[0]}; it does not belong to config.json, or is incomplete."
            )
        whole = torch.cat([weights[name] for name in names[ours]])
        if whole.shape != tensor.shape:
            raise DamagedFile(
                f"{file}: {names[ours][0]} has the shape {list(weights[names[ours][0]].shape)}, which does "
                "not fit config.json; the files do not belong together."
            )
        with torch.no_grad():
            tensor.copy_(whole)
