"""Folders as they are published for transformers, made here: random weights, pieces learned on the spot."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import nn

from saccade.interop.m2m import M2M_100


def text(language: str, count: int) -> list[str]:
    """Sentences of words of one to four syllables, the same for the same arguments."""
    generator = random.Random(language)
    syllables = [first + second for first in "bdfgklmnprst" for second in "aeiou"]
    words = ["".join(generator.choices(syllables, k=1 + number % 4)) for number in range(2000)]
    often = [1 / (1 + rank) for rank in range(len(words))]
    lengths = (3 + number % 10 for number in range(count))
    return [f"{' '.join(generator.choices(words, often, k=length)).capitalize()}." for length in lengths]


def learn(lines: Sequence[str], *, size: int, **settings: Any) -> bytes:
    """A serialised SentencePiece model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=size, minloglevel=2, **settings
    )
    return model.getvalue()


def pieces_of(model: bytes) -> list[str]:
    """All pieces but <unk>, <s> and </s>, in the order of their ids."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(number) for number in range(3, len(processor))]


def random_weights(network: nn.Module, *, seed: int, scale: float) -> None:
    """Every parameter moved off its initial value; sinusoids stay what they are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "embed_positions" not in name:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise.to(parameter), alpha=scale)


def opus(
    folder: Path,
    *,
    size: int = 400,
    codes: Sequence[str] = (),
    scale: float = 0.1,
    to_end: float = 2.0,
    generation: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """An OPUS-MT folder as the converter of transformers leaves it; returns the model in memory.

    vocab.json holds </s> and <unk>, the pieces of both models, codes such as >>fra<<, and <pad> last.
    to_end: bias of the end symbol, so that translations end by themselves.
    """
    import transformers

    folder.mkdir(parents=True)
    models = {side: learn(text(side, 2000), size=size, character_coverage=0.999) for side in ("en", "de")}
    for side, name in (("en", "source.spm"), ("de", "target.spm")):
        (folder / name).write_bytes(models[side])
    pieces = dict.fromkeys(
        ["</s>", "<unk>", *pieces_of(models["en"]), *pieces_of(models["de"]), *codes, "<pad>"]
    )
    ids = {piece: number for number, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(ids, indent=2), encoding="utf-8")
    pad = ids["<pad>"]
    config = transformers.MarianConfig(
        **{
            "vocab_size": len(ids),
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "activation_function": "swish",
            "scale_embedding": True,
            "max_position_embeddings": 512,
            "pad_token_id": pad,
            "eos_token_id": 0,
            "bos_token_id": 0,
            "decoder_start_token_id": pad,
            "forced_eos_token_id": 0,
            **settings,
        }
    )
    torch.manual_seed(1)
    model = transformers.MarianMTModel(config).eval()
    random_weights(model, seed=2, scale=scale)
    with torch.no_grad():
        bias = torch.randn(1, len(ids), generator=torch.Generator().manual_seed(3)) * 0.3
        bias[0, 0] = to_end
        model.final_logits_bias.copy_(bias)
    model.generation_config = transformers.GenerationConfig(
        **{
            "bad_words_ids": [[pad]],
            "bos_token_id": 0,
            "decoder_start_token_id": pad,
            "eos_token_id": 0,
            "forced_eos_token_id": 0,
            "max_length": 512,
            "num_beams": 4,
            "pad_token_id": pad,
            "renormalize_logits": True,
            **(generation or {}),
        }
    )
    model.save_pretrained(folder)
    tokenizer_config = {"source_lang": "en", "target_lang": "de", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config), encoding="utf-8")
    return model


def generated(model: Any, tokenizer: Any, lines: Sequence[str], **options: Any) -> list[str]:
    """What transformers translates, 32 lines at a time."""
    found: list[str] = []
    for first in range(0, len(lines), 32):
        batch = tokenizer(list(lines[first : first + 32]), return_tensors="pt", padding=True)
        with torch.inference_mode():
            ids = model.generate(**batch, **options)
        found += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return found


LANGUAGES = ["deu_Latn", "eng_Latn", "fra_Latn", "zho_Hans"]


def many(
    folder: Path,
    *,
    nllb: bool = False,
    scale: float = 0.15,
    generation: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """An M2M-100 or NLLB folder; returns the model in memory. NLLB's has SentencePiece and tokenizer.json."""
    import transformers

    folder.mkdir(parents=True)
    lines = text("en", 2000) + text("de", 2000)
    model = learn(lines, size=600, model_type="bpe", character_coverage=0.9995)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    if nllb:
        size = _nllb_tokenizer(folder)
    else:
        pieces = ["<s>", "<pad>", "</s>", "<unk>", *pieces_of(model)]
        table = {piece: number for number, piece in enumerate(pieces)}
        (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
        special = {"additional_special_tokens": [f"__{code}__" for code in M2M_100.split()]}
        settings_file = {"tokenizer_class": "M2M100Tokenizer", **special}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings_file))
        size = len(table) + 100 + 8
    config = transformers.M2M100Config(
        **{
            "vocab_size": size,
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            **settings,
        }
    )
    torch.manual_seed(1)
    network = transformers.M2M100ForConditionalGeneration(config).eval()
    random_weights(network, seed=2, scale=scale)
    network.generation_config = transformers.GenerationConfig(
        **{
            "bad_words_ids": [[1]],
            "bos_token_id": 0,
            "decoder_start_token_id": 2,
            "eos_token_id": 2,
            "max_length": 200,
            "num_beams": 5,
            "early_stopping": True,
            "pad_token_id": 1,
            **(generation or {}),
        }
    )
    network.save_pretrained(folder)
    return network


def _nllb_tokenizer(folder: Path) -> int:
    """tokenizer.json as transformers makes it of the SentencePiece model; returns the number of ids."""
    import transformers

    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "NllbTokenizer"}')
    fast = transformers.NllbTokenizer.from_pretrained(folder, additional_special_tokens=LANGUAGES)
    fast.save_pretrained(folder)
    return len(fast)


def teach(model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], *, steps: int) -> None:
    """A little training in transformers itself, so that translations have real lengths."""
    torch.manual_seed(5)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    model.train()
    for step in range(steps):
        batch = [pairs[(step * 32 + place) % len(pairs)] for place in range(32)]
        sources, targets = (list(side) for side in zip(*batch, strict=True))
        inputs = tokenizer(sources, text_target=targets, return_tensors="pt", padding=True)
        labels = inputs.pop("labels")
        labels[labels == model.config.pad_token_id] = -100
        model(**inputs, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
