"""The decoding settings of a published model, from its generation_config.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saccade.config import build
from saccade.decoding.options import DecodingConfig
from saccade.errors import DamagedFile, Unsupported
from saccade.interop.published import Settings, optional_object

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1, 1.0),
    "num_beam_groups": (1,),
    "diversity_penalty": (0, 0.0),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "do_sample": (False,),
    "early_stopping": (False, True),
    "num_return_sequences": (1,),
    "guidance_scale": (1, 1.0),
    "token_healing": (False,),
    "remove_invalid_values": (False,),
    **dict.fromkeys(
        ("force_words_ids", "constraints", "penalty_alpha", "dola_layers", "sequence_bias", "stop_strings"),
        (),
    ),
    **dict.fromkeys(("exponential_decay_length_penalty", "watermarking_config", "max_time"), ()),
}
"""Settings without a counterpart here, with the values that have no effect."""
_READ = {
    *("num_beams", "length_penalty", "early_stopping", "min_length", "min_new_tokens", "renormalize_logits"),
    *("bad_words_ids", "max_length", "max_new_tokens", "forced_bos_token_id", "forced_eos_token_id"),
    *("pad_token_id", "eos_token_id", "decoder_start_token_id", "no_repeat_ngram_size", "repetition_penalty"),
}
_IRRELEVANT = {
    *("bos_token_id", "temperature", "top_k", "top_p", "typical_p", "min_p", "top_h", "epsilon_cutoff"),
    *(
        "eta_cutoff",
        "use_cache",
        "cache_implementation",
        "cache_config",
        "output_attentions",
        "output_logits",
    ),
    *("output_hidden_states", "output_scores", "return_dict_in_generate", "transformers_version"),
    *("_from_model_config", "low_memory", "compile_config", "disable_compile", "max_matching_ngram_size"),
}
"""Settings of sampling, which published translation models do not use, and of transformers itself."""
GENERATION_KEYS = _NEUTRAL.keys() | _READ | _IRRELEVANT
"""The names of all settings that are known; old folders have them in config.json."""


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
    unknown = sorted(optional_object(path).keys() - GENERATION_KEYS)
    notes += [f"{name} is not a known setting and was left out" for name in unknown if given.get(name)]
    _agree(config, given, path)
    settings: dict[str, Any] = {
        "beam": numbers.whole("num_beams", 1),
        "length_penalty": "power",
        "alpha": given.get("length_penalty", 1.0),
        "early_stopping": given.get("early_stopping") is True,
        "min_length": numbers.whole("min_new_tokens", max(numbers.whole("min_length", 0) - 1, 0)),
        "rules": "renormalized" if given.get("renormalize_logits") else "free",
        "banned": _banned(numbers),
        "no_repeat_ngram_size": numbers.whole("no_repeat_ngram_size", 0),
        "repetition_penalty": given.get("repetition_penalty", 1.0),
    }
    if settings["repetition_penalty"] != 1 and settings["beam"] == 1:
        notes.append(
            f"repetition_penalty = {settings['repetition_penalty']} acts on log-probabilities, but on logits "
            "in the greedy search of transformers"
        )
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


def _agree(config: Settings, given: Mapping[str, Any], path: Path) -> None:
    """Raises UserError if decoding begins, ends or pads with other tokens than config.json names."""
    for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
        if name in given and config.values.get(name) not in (None, given[name]):
            raise Unsupported(
                f"{path}: {name} = {json.dumps(given[name])}, but config.json has "
                f"{json.dumps(config.values.get(name))}; the same token was expected."
            )
    forced = given.get("forced_eos_token_id")
    if forced is not None and config.values.get("eos_token_id") not in (None, forced):
        raise Unsupported(f"{path}: forced_eos_token_id = {json.dumps(forced)}; eos_token_id was expected.")


def _banned(given: Settings) -> list[int]:
    """The banned tokens; raises UserError for banned phrases, which are not supported."""
    phrases = given.values.get("bad_words_ids", [])
    lists = isinstance(phrases, list) and all(isinstance(phrase, list) for phrase in phrases)
    if not lists or not all(type(token) is int and token >= 0 for phrase in phrases for token in phrase):
        raise DamagedFile(f"{given.path}: bad_words_ids is not a list of lists of tokens.")
    if not all(len(phrase) == 1 for phrase in phrases):
        raise Unsupported(f"{given.path}: bad_words_ids with phrases of several tokens is not supported.")
    return sorted({token for [token] in phrases})
