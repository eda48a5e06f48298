"""Recognising a published folder for certain: what is understood, what does not matter, and what is refused.

Folders of other models may bear the same `model_type`: a fine-tuned model with other tokens, one whose
tokeniser is code of its own, one with layers in another order. Every key of config.json and
tokenizer_config.json is therefore looked at. It is understood by the import, has no influence on
translations, has to have one value, or the folder is refused.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saccade.errors import Unsupported
from saccade.interop.generation import GENERATION_KEYS
from saccade.interop.published import Settings, optional_object

_READ = {
    *("model_type", "architectures", "d_model", "vocab_size", "decoder_vocab_size", "activation_function"),
    *("encoder_layers", "encoder_ffn_dim", "encoder_attention_heads", "encoder_layerdrop"),
    *("decoder_layers", "decoder_ffn_dim", "decoder_attention_heads", "decoder_layerdrop"),
    *("dropout", "attention_dropout", "activation_dropout", "scale_embedding", "tie_word_embeddings"),
    *("share_encoder_decoder_embeddings", "num_hidden_layers", "pad_token_id", "eos_token_id"),
    *("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "tokenizer_class"),
    *("_name_or_path", "quantization_config", "auto_map"),
}
"""Settings that the import reads or checks; layerdrop is for training alone."""
_IRRELEVANT = {
    *("transformers_version", "torch_dtype", "dtype", "use_bfloat16", "torchscript", "tf_legacy_loss"),
    *("output_hidden_states", "output_attentions", "output_scores", "return_dict", "return_dict_in_generate"),
    *(
        "id2label",
        "label2id",
        "num_labels",
        "_num_labels",
        "problem_type",
        "finetuning_task",
        "classif_dropout",
    ),
    *("classifier_dropout", "init_std", "initializer_range", "gradient_checkpointing", "use_cache"),
    *("chunk_size_feed_forward", "task_specific_params", "bos_token_id", "sep_token_id", "name_or_path"),
    *("max_position_embeddings", "extra_pos_embeddings", "_commit_hash", "_attn_implementation_autoset"),
    *("_attn_implementation_internal", "_attn_implementation", "attn_implementation"),
}
"""Settings without influence on what a model translates. Sinusoids have no largest position, and
`extra_pos_embeddings` belongs to learned positions."""
_FIXED: dict[str, tuple[Any, ...]] = {
    "is_encoder_decoder": (True,),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_encoder_decoder": (False,),
    "pruned_heads": ({},),
    "prefix": ("",),
    "normalize_embedding": (False,),
    "static_position_embeddings": (True,),
    "add_bias_logits": (False,),
    "force_bos_token_to_be_generated": (False,),
    "cross_attention_hidden_size": (),
}
"""Settings that must be absent, null or one of these values."""

_TOKENIZER_READ = {
    *(
        "tokenizer_class",
        "separate_vocabs",
        "src_lang",
        "tgt_lang",
        "legacy_behaviour",
        "added_tokens_decoder",
    ),
    *("additional_special_tokens", "extra_special_tokens", "language_codes", "num_madeup_words", "auto_map"),
    *("name_or_path",),
}
_TOKENIZER_IRRELEVANT = {
    *(
        "source_lang",
        "target_lang",
        "model_max_length",
        "max_len",
        "special_tokens_map_file",
        "return_tensors",
    ),
    *("tokenizer_file", "vocab_file", "source_spm", "target_spm", "spm_file", "target_vocab_file", "backend"),
    *("clean_up_tokenization_spaces", "padding", "padding_side", "truncation", "truncation_side", "use_fast"),
    *("model_input_names", "is_local", "local_files_only", "processor_class", "cls_token", "sep_token"),
    *("transformers_version", "stride", "max_length", "pad_to_multiple_of", "truncation_strategy"),
    *("pad_token_type_id", "verbose", "init_inputs", "bos_token", "from_slow"),
}
_TOKENS = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
_EMPTY: tuple[Any, ...] = (None, False, "", [], {})


def require_recognised(
    folder: Path,
    settings: Settings,
    *,
    architecture: str,
    tokenizers: Iterable[str],
    fixed: Mapping[str, Any],
) -> None:
    """Raises UserError for the first thing in a folder that is not understood for certain.

    architecture: the class of transformers. tokenizers: the classes of its tokenisers. fixed: values that
    settings must have if they are present.
    """
    own_code(folder, settings)
    classes = settings.values.get("architectures")
    if classes not in (None, [], [architecture]):
        raise refused(settings.path, "architectures", classes, [architecture])
    allowed = {**_FIXED, **{name: (value,) for name, value in fixed.items()}}
    for name, value in settings.values.items():
        if name in allowed:
            if value is not None and not _is_one_of(value, allowed[name]):
                raise refused(settings.path, name, value, allowed[name][0] if allowed[name] else None)
        elif name not in _READ | _IRRELEVANT | GENERATION_KEYS and value not in _EMPTY:
            raise _unknown(settings.path, name, value)
    _tokenizer(folder / "tokenizer_config.json", settings, sorted(tokenizers))


def own_code(folder: Path, settings: Settings) -> None:
    """Raises UserError for a model that comes with code of its own, or that is stored in few bits."""
    code = sorted(path.name for path in folder.glob("*.py"))
    about = optional_object(folder / "tokenizer_config.json")
    names = [folder.name, settings.values.get("_name_or_path"), about.get("name_or_path")]
    if code or settings.values.get("auto_map") or about.get("auto_map"):
        what = code[0] if code else "auto_map"
        raise Unsupported(
            f"{folder}: comes with code of its own ({what}), which may change what the model does; such a "
            "model cannot be imported."
        )
    if any("small100" in str(name).lower().replace("-", "").replace("_", "") for name in names):
        raise Unsupported(
            f"{folder}: SMaLL-100, which puts the target language before the source; M2M-100 was expected."
        )
    if settings.values.get("quantization_config"):
        raise Unsupported(f"{settings.path}: quantization_config: weights in few bits; floats were expected.")


def refused(path: Path, name: str, value: Any, wanted: Any) -> Unsupported:
    """The error for a setting with a value that the import does not support."""
    return Unsupported(f"{path}: {name} = {_shown(value)} is not supported; {_shown(wanted)} was expected.")


def _unknown(path: Path, name: str, value: Any) -> Unsupported:
    return Unsupported(
        f"{path}: {name[:60]} = {_shown(value)} is not a known setting and might change what the model does. "
        "If it does not, remove it from the file."
    )


def _tokenizer(path: Path, settings: Settings, classes: list[str]) -> None:
    about = optional_object(path)
    for where, found in ((settings.path, settings.values), (path, about)):
        name = found.get("tokenizer_class")
        if name is not None and name not in classes:
            raise refused(where, "tokenizer_class", name, ", ".join(classes))
    for name, value in about.items():
        text = value.get("content") if isinstance(value, Mapping) else value
        if name in _TOKENS:
            if text not in (None, _TOKENS[name]):
                raise refused(path, name, text, _TOKENS[name])
        elif name not in _TOKENIZER_READ | _TOKENIZER_IRRELEVANT and value not in _EMPTY:
            raise _unknown(path, name, value)


def _is_one_of(value: Any, allowed: Iterable[Any]) -> bool:
    return any(type(value) is type(one) and value == one for one in allowed)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
