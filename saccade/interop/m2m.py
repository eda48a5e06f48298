"""M2M-100 and NLLB: reading folders that were published for transformers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from saccade.errors import DamagedFile, NotFound, Unsupported
from saccade.interop.marian import sizes
from saccade.interop.pieces import added_tokens, read_pieces, require_added, require_ids
from saccade.interop.published import Settings, broken, optional_object, read_bytes
from saccade.storage.structured import read_utf8, reason
from saccade.text.imported import processor
from saccade.text.m2m import Engine, FastPieces, ManyLanguagesConfig, ManyLanguagesTokenizer, SentencePieces

M2M_100 = """
af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu
hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt
ro ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu
"""
"""M2M-100's languages in the order of their ids, for folders that do not list them."""

_MADE_UP = 8
"""Number of unused ids behind M2M-100's languages, called madeupword0000 and so on."""
_IDS = "pad_token_id", "decoder_start_token_id", "eos_token_id"
_SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
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

    The default target language is the one that generation is forced to begin with, otherwise that of
    tokenizer_config.json, if it names one.
    """
    size = settings.whole("vocab_size")
    chosen = optional_object(folder / "tokenizer_config.json")
    pad, start, end = (settings.token(name, size) for name in _IDS)
    try:
        engine, table, languages = _pieces(folder, size, chosen)
        config = ManyLanguagesConfig(
            size=size,
            pad=pad,
            start=start,
            end=end,
            unknown=_SPECIAL["<unk>"],
            languages=languages,
            source_language=_known(chosen.get("src_lang"), languages),
            target_language=_forced(folder, settings, languages) or _known(chosen.get("tgt_lang"), languages),
            source_token=_source_token(chosen),
        )
        if not languages or max(languages.values()) >= size:
            raise DamagedFile(
                f"{folder}: its tokeniser names no languages, or more than vocab_size in config.json allows."
            )
        tokenizer = ManyLanguagesTokenizer(config, engine)
        tokens = {**languages, **{f"__{name}__": number for name, number in languages.items()}}
        require_added(folder, {**table, **tokens, **_madeup(len(table) + len(languages))})
    except FileNotFoundError as error:
        raise NotFound(f"{error.filename}: not found. Give the whole folder as it was published.") from error
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise broken(folder, f"its tokeniser: {reason(error)}") from error
    require_ids(folder, table, {**_SPECIAL, "<pad>": pad, "</s>": end})
    taken = {number: piece for piece, number in table.items()}
    for name, number in languages.items():
        if taken.get(number, name) not in (name, f"__{name}__"):
            raise Unsupported(
                f"{folder}: number {number} is the language {name} and the piece {taken[number]}."
            )
    return tokenizer


def _pieces(
    folder: Path, size: int, chosen: Mapping[str, Any]
) -> tuple[Engine, Mapping[str, int], dict[str, int]]:
    """The engine that splits text, the ids of its pieces, and the ids of the languages.

    A SentencePiece model is preferred: the models were trained with it, and it needs no other package.
    """
    model, fast, vocabulary = (
        folder / name for name in ("sentencepiece.bpe.model", "tokenizer.json", "vocab.json")
    )
    unknown = _SPECIAL["<unk>"]
    if vocabulary.exists() or chosen.get("tokenizer_class") == "M2M100Tokenizer":
        table = read_pieces(vocabulary)
        table = {piece: number for piece, number in table.items() if not _LANGUAGE.fullmatch(piece)}
        languages = _numbered_by_file(folder) or _languages_of_m2m(
            folder, chosen, first=len(table), size=size
        )
        return SentencePieces(read_bytes(model), table, size=size, unknown=unknown), table, languages
    if model.exists():
        content = read_bytes(model)
        table = _nllb_table(processor(content))
        languages = _numbered_by_file(folder) or _languages_of_nllb(folder, first=len(table), size=size)
        return SentencePieces(content, table, size=size, unknown=unknown), table, languages
    if fast.exists():
        pieces = FastPieces(read_utf8(fast))
        return pieces, pieces.table, _numbered_by_file(folder)
    raise NotFound(f"{folder}: holds no tokeniser: neither {model.name} nor {fast.name}.")


def _nllb_table(cutter: sentencepiece.SentencePieceProcessor) -> dict[str, int]:
    """fairseq's ids: its four special pieces, then SentencePiece's pieces behind its three special ones."""
    first = [cutter.id_to_piece(number) for number in range(3)]
    if first != ["<unk>", "<s>", "</s>"]:
        raise ValueError(f"its first pieces are {', '.join(first)} instead of <unk>, <s>, </s>")
    return _SPECIAL | {cutter.id_to_piece(number): number + 1 for number in range(3, len(cutter))}


def _numbered_by_file(folder: Path) -> dict[str, int]:
    """The id of each language that a file of the folder lists with its id; UserError if two files differ."""
    found: dict[str, int] = {}
    for token, number, path in added_tokens(folder):
        if match := _LANGUAGE.fullmatch(token):
            name = match[1] or match[2]
            if found.setdefault(name, number) != number:
                raise Unsupported(f"{path}: {token} has number {number}, and {found[name]} in another file.")
    return found


def _languages_of_m2m(folder: Path, chosen: Mapping[str, Any], *, first: int, size: int) -> dict[str, int]:
    """The ids of M2M-100's own languages, which no file of the folder has to list.

    Raises UserError if the folder names other languages, or has ids for more or fewer.
    """
    named = _named(folder)
    names = M2M_100.split()
    if chosen.get("language_codes") not in (None, "m2m100"):
        raise Unsupported(f"{folder}: language_codes {chosen['language_codes']!r}; m2m100 was expected.")
    if named and named != names:
        odd = next((name for name in named if name not in names), f"{len(named)} languages")
        raise Unsupported(
            f"{folder}: names other languages than M2M-100 ({odd}) and does not say which ids they have."
        )
    more = chosen.get("num_madeup_words", _MADE_UP)
    if first + len(names) <= size != first + len(names) + (more if type(more) is int else _MADE_UP):
        raise Unsupported(
            f"{folder}: vocab_size in config.json leaves {size - first} ids for languages; {len(names)} "
            f"languages and {_MADE_UP} unused ids were expected, as in M2M-100."
        )
    return {name: first + place for place, name in enumerate(names)}


def _languages_of_nllb(folder: Path, *, first: int, size: int) -> dict[str, int]:
    """The languages in the order in which the folder names them; their ids follow the pieces, then <mask>."""
    names = _named(folder)
    if names and not 0 <= size - (first + len(names) + 1) < _MADE_UP:
        raise Unsupported(
            f"{folder}: names {len(names)} languages, but vocab_size in config.json leaves "
            f"{size - first - 1} ids for them."
        )
    return {name: first + place for place, name in enumerate(names)}


def _named(folder: Path) -> list[str]:
    """The languages that the folder names without their ids, in order."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        source = optional_object(folder / file)
        for key in ("additional_special_tokens", "extra_special_tokens"):
            tokens = [_text(token) for token in source.get(key) or []]
            matches = [_LANGUAGE.fullmatch(token) for token in tokens]
            names = [match[1] or match[2] for match in matches if match]
            if names:
                return names
    return []


def _madeup(first: int) -> dict[str, int]:
    return {f"madeupword{number:04}": first + number for number in range(_MADE_UP)}


def _forced(folder: Path, settings: Settings, languages: Mapping[str, int]) -> str | None:
    """The language whose token translations are forced to begin with; None if there is none."""
    given = {**settings.values, **optional_object(folder / "generation_config.json")}
    token = given.get("forced_bos_token_id")
    if token is None:
        return None
    found = [name for name, number in languages.items() if number == token]
    if not found:
        raise Unsupported(f"{folder}: forced_bos_token_id = {token}; the token of a language was expected.")
    return found[0]


def _text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token)


def _known(name: Any, languages: Mapping[str, int]) -> str | None:
    return name if isinstance(name, str) and name in languages else None


def _source_token(chosen: Mapping[str, Any]) -> Literal["first", "last"]:
    return "last" if chosen.get("legacy_behaviour") is True else "first"
