"""M2M-100 and NLLB: reading folders that were published for transformers."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from saccade.errors import DamagedFile, NotFound
from saccade.interop.marian import sizes
from saccade.interop.published import Settings, broken, optional_object, read_bytes
from saccade.text.imported import processor, read_table
from saccade.text.m2m import Engine, FastPieces, ManyLanguagesConfig, ManyLanguagesTokenizer, SentencePieces

M2M_100 = """
af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu
hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt
ro ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu
"""
"""M2M-100's languages in the order of their ids, for folders that do not list them."""

_NLLB = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
_LANGUAGE = re.compile(r"__([a-z_]+)__|([a-z]{3}_[A-Z][a-z]{3})")


def m2m_model(settings: Settings) -> dict[str, object]:
    """The `[model]` section: pre-norm, fairseq's sinusoids, and one shared embedding matrix."""
    return {
        **sizes(settings),
        "norm": "pre",
        "sinusoid_layout": "fairseq",
        "scaled_embeddings": settings.flag("scale_embedding", True),
        "tied_embeddings": "all" if settings.flag("tie_word_embeddings", True) else "none",
    }


def m2m_tokenizer(folder: Path, settings: Settings) -> ManyLanguagesTokenizer:
    """Reads vocab.json and sentencepiece.bpe.model (M2M-100), or the latter or tokenizer.json (NLLB).

    The default languages are those of tokenizer_config.json, if it names any.
    """
    size = settings.whole("vocab_size")
    chosen = optional_object(folder / "tokenizer_config.json")
    try:
        engine, languages = _pieces(folder, size)
        config = ManyLanguagesConfig(
            size=size,
            pad=settings.whole("pad_token_id"),
            start=settings.whole("decoder_start_token_id"),
            end=settings.whole("eos_token_id"),
            unknown=_NLLB["<unk>"],
            languages=languages,
            source_language=_known(chosen.get("src_lang"), languages),
            target_language=_known(chosen.get("tgt_lang"), languages),
            source_token=_source_token(chosen),
        )
    except FileNotFoundError as error:
        raise NotFound(f"{error.filename}: not found. Give the whole folder as it was published.") from error
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise broken(folder, f"its tokeniser: {error}") from error
    if not languages or max(languages.values()) >= size:
        raise DamagedFile(
            f"{folder}: its tokeniser names no languages, or more than vocab_size in config.json allows."
        )
    return ManyLanguagesTokenizer(config, engine)


def _pieces(folder: Path, size: int) -> tuple[Engine, dict[str, int]]:
    """The engine that splits text, and the ids of the languages.

    A SentencePiece model is preferred: the models were trained with it, and it needs no other package.
    """
    model, fast, vocabulary = (
        folder / name for name in ("sentencepiece.bpe.model", "tokenizer.json", "vocab.json")
    )
    unknown = _NLLB["<unk>"]
    kind = optional_object(folder / "tokenizer_config.json").get("tokenizer_class")
    if vocabulary.is_file() or kind == "M2M100Tokenizer":
        table = read_table(vocabulary)
        table = {piece: number for piece, number in table.items() if not _LANGUAGE.fullmatch(piece)}
        engine = SentencePieces(read_bytes(model), table, size=size, unknown=unknown)
        return engine, _languages(folder, first=len(table)) or _numbered(M2M_100.split(), first=len(table))
    if model.is_file():
        cutter = processor(model.read_bytes())
        engine = SentencePieces(read_bytes(model), _nllb_table(cutter), size=size, unknown=unknown)
        return engine, _languages(folder, first=len(cutter) + 1)
    if fast.is_file():
        return FastPieces(fast.read_text(encoding="utf-8")), _languages(folder, first=0)
    raise NotFound(f"{folder}: holds no tokeniser: neither {model.name} nor {fast.name}.")


def _nllb_table(cutter: sentencepiece.SentencePieceProcessor) -> dict[str, int]:
    """fairseq's ids: its four special pieces, then SentencePiece's pieces behind its three special ones."""
    return _NLLB | {cutter.id_to_piece(number): number + 1 for number in range(3, len(cutter))}


def _languages(folder: Path, *, first: int) -> dict[str, int]:
    """The id of each language, from the first file that has them; first: for files without ids."""
    fast = optional_object(folder / "tokenizer.json").get("added_tokens", [])
    config = optional_object(folder / "tokenizer_config.json")
    added = config.get("added_tokens_decoder", {})
    listed = [(token.get("content"), token.get("id")) for token in fast]
    listed += [(token.get("content"), int(number)) for number, token in added.items()]
    if found := _named(listed):
        return found
    special = optional_object(folder / "special_tokens_map.json")
    for source in (config, special):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            names = [_text(token) for token in source.get(key) or []]
            names = [name for name in names if _LANGUAGE.fullmatch(name)]
            if names:
                return _named((name, first + place) for place, name in enumerate(names))
    return {}


def _named(listed: Iterable[tuple[Any, Any]]) -> dict[str, int]:
    found = {}
    for name, number in listed:
        match = _LANGUAGE.fullmatch(name) if isinstance(name, str) else None
        if match and type(number) is int:
            found[match[1] or match[2]] = number
    return found


def _numbered(names: Iterable[str], *, first: int) -> dict[str, int]:
    return {name: first + place for place, name in enumerate(names)}


def _text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token)


def _known(name: Any, languages: Mapping[str, int]) -> str | None:
    return name if isinstance(name, str) and name in languages else None


def _source_token(chosen: Mapping[str, Any]) -> Literal["first", "last"]:
    return "last" if chosen.get("legacy_behaviour") is True else "first"
