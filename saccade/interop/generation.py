"""The decoding settings of a published model, from its generation_config.json."""

from pathlib import Path
from typing import Any

from saccade.config import build
from saccade.decoding.options import DecodingConfig
from saccade.errors import DamagedFile, Unsupported
from saccade.interop.published import Settings, optional_object

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "repetition_penalty": (1, 1.0),
    "encoder_repetition_penalty": (1, 1.0),
    "num_beam_groups": (1,),
    "diversity_penalty": (0, 0.0),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "do_sample": (False,),
    "early_stopping": (False, True),
}
"""Settings without a counterpart here, with the values that have no effect."""


def decoding_settings(folder: Path, config: Settings) -> tuple[dict[str, Any], list[str]]:
    """The `[decoding]` settings that differ from our defaults, and notes on settings that were left out.

    Old folders keep these settings in config.json. Their lengths count the decoder's first token, ours do
    not; forced tokens are scored as in transformers.
    """
    path = folder / "generation_config.json"
    found = {**config.values, **optional_object(path)}
    given = {name: value for name, value in found.items() if value is not None}
    numbers = Settings(path if path.is_file() else config.path, given)
    notes = [
        f"{name} = {given[name]} has no counterpart and was left out"
        for name, neutral in _NEUTRAL.items()
        if name in given and given[name] not in neutral
    ]
    settings: dict[str, Any] = {
        "beam": numbers.whole("num_beams", 1),
        "length_penalty": "power",
        "alpha": given.get("length_penalty", 1.0),
        "early_stopping": given.get("early_stopping") is True,
        "min_length": numbers.whole("min_new_tokens", max(numbers.whole("min_length", 0) - 1, 0)),
        "rules": "renormalized" if given.get("renormalize_logits") else "free",
        "banned": _banned(numbers),
    }
    if isinstance(settings["alpha"], int | float) and settings["alpha"] < 0:
        notes.append(f"length_penalty = {settings['alpha']} favours short output and was replaced by 0")
        settings["alpha"] = 0.0
    # Without a forced end transformers stops at the limit; here the end symbol is always written.
    room = 0 if "forced_eos_token_id" in given else 1
    if "max_new_tokens" in given:
        settings["max_length"] = numbers.whole("max_new_tokens") + room
    elif "max_length" in given:
        settings["max_length"] = numbers.whole("max_length") - 1 + room
    checked = build(DecodingConfig, settings, where=f"{folder.name}: decoding")
    return checked.model_dump(mode="json", exclude_defaults=True), notes


def _banned(given: Settings) -> list[int]:
    """The banned tokens; raises UserError for banned phrases, which are not supported."""
    phrases = given.values.get("bad_words_ids", [])
    lists = isinstance(phrases, list) and all(isinstance(phrase, list) for phrase in phrases)
    if not lists or not all(type(token) is int and token >= 0 for phrase in phrases for token in phrase):
        raise DamagedFile(f"{given.path}: bad_words_ids is not a list of lists of tokens.")
    if not all(len(phrase) == 1 for phrase in phrases):
        raise Unsupported(f"{given.path}: bad_words_ids with phrases of several tokens is not supported.")
    return sorted({token for [token] in phrases})
