"""OPUS-MT: reading MarianMT folders that were published for transformers."""

from pathlib import Path

from saccade.errors import NotFound, Unsupported
from saccade.interop.pieces import read_pieces, require_added, require_ids
from saccade.interop.published import Settings, broken, optional_object, read_bytes
from saccade.interop.recognised import refused
from saccade.text.marian import MarianTokenizer, MarianTokenizerConfig

ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "silu", "silu": "silu"}


def marian_model(settings: Settings) -> dict[str, object]:
    """The `[model]` section: post-norm, sinusoids in halves, a bias on the logits."""
    return {
        **sizes(settings),
        "norm": "post",
        "sinusoid_layout": "halves",
        "output_bias": True,
        "scaled_embeddings": settings.flag("scale_embedding", False),
        "tied_embeddings": _tied(settings),
    }


def sizes(settings: Settings) -> dict[str, object]:
    """The settings that have the same names in all descendants of BART."""
    heads = settings.whole("encoder_attention_heads")
    inner = settings.whole("encoder_ffn_dim")
    for name, first in (("decoder_attention_heads", heads), ("decoder_ffn_dim", inner)):
        if settings.whole(name) != first:
            raise Unsupported(f"{settings.path}: {name} differs from the encoder's, which is not supported.")
    return {
        "width": settings.whole("d_model"),
        "heads": heads,
        "feed_forward": inner,
        "encoder_layers": settings.whole("encoder_layers"),
        "decoder_layers": settings.whole("decoder_layers"),
        "dropout": settings.share("dropout", 0.1),
        "attention_dropout": settings.share("attention_dropout"),
        "activation_dropout": settings.share("activation_dropout"),
        "activation": settings.choice("activation_function", ACTIVATIONS, "gelu"),
    }


def marian_tokenizer(folder: Path, settings: Settings) -> MarianTokenizer:
    """Reads source.spm, target.spm, vocab.json and, if the sides have separate tables, target_vocab.json."""
    separate = optional_object(folder / "tokenizer_config.json").get("separate_vocabs") or False
    names = ["vocab.json", "target_vocab.json"] if separate else ["vocab.json"]
    models = [read_bytes(folder / name) for name in ("source.spm", "target.spm")]
    source_size = settings.whole("vocab_size")
    target_size = settings.whole("decoder_vocab_size", source_size)
    pad = settings.token("pad_token_id", min(source_size, target_size))
    start = settings.token("decoder_start_token_id", target_size)
    try:
        tables = [read_pieces(folder / name) for name in names]
        config = MarianTokenizerConfig(
            source_size=source_size,
            target_size=target_size,
            pad=pad,
            start=start,
            unknown=tables[0]["<unk>"],
            end=tables[0]["</s>"],
        )
        tokenizer = MarianTokenizer(config, models, tables)
        require_added(folder, tables[0])
    except FileNotFoundError as error:
        raise NotFound(f"{error.filename}: not found. Give the whole folder as it was published.") from error
    except KeyError as error:
        raise broken(folder / names[0], f"it has no {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise broken(folder / names[0], str(error)) from error
    if separate and settings.flag("share_encoder_decoder_embeddings", True):
        raise Unsupported(f"{folder}: separate_vocabs, although the sides share one matrix in config.json.")
    given = {**settings.values, **optional_object(folder / "generation_config.json")}
    if given.get("forced_bos_token_id") is not None:
        raise refused(folder, "forced_bos_token_id", given["forced_bos_token_id"], None)
    ids = {"</s>": settings.whole("eos_token_id", config.end), "<unk>": config.unknown, "<pad>": config.pad}
    for name, table in zip(names, tables, strict=True):
        require_ids(folder / name, table, ids)
    return tokenizer


def _tied(settings: Settings) -> str:
    shared = settings.flag("share_encoder_decoder_embeddings", True)
    if not settings.flag("tie_word_embeddings", True):
        return "none"
    size = settings.whole("vocab_size")
    if shared and settings.whole("decoder_vocab_size", size) != size:
        raise Unsupported(
            f"{settings.path}: vocab_size and decoder_vocab_size differ, but the sides share one matrix."
        )
    return "all" if shared else "target"
