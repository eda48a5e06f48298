"""Decoding: milliseconds a token for one sentence, tokens a second in bulk, beside transformers' generate."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.setting import Run
from saccade.decoding.interface import Decoder
from saccade.decoding.options import DecodingConfig
from saccade.decoding.strategy import decoder_of
from saccade.engine import device_engine


def sources(run: Run, sentences: int, length: int) -> tuple[Tensor, Tensor]:
    """Random sources of equal length, on the device."""
    torch.manual_seed(2)
    ids = torch.randint(4, run.vocabulary.source_size, (sentences, length))
    ids[:, -1] = run.vocabulary.end
    return ids.to(run.device), torch.full((sentences,), length, device=run.device)


def decoder(network: Any, dtype: torch.dtype) -> Decoder:
    """Our decoder, with the engine for a GPU."""
    engine = device_engine(network, dtype=dtype)
    return decoder_of(network, lambda: engine)


def decode(ours: Decoder, source: tuple[Tensor, Tensor], options: Any) -> Any:
    """Decodes one batch."""
    sentences = source[0].size(0)
    return ours.decode(*source, options=options, lines=range(sentences), prefixes=[()] * sentences)


def exact(tokens: int, beam: int) -> DecodingConfig:
    """Options under which every translation has exactly that number of tokens."""
    return DecodingConfig(beam=beam, min_length=tokens - 1, max_length=tokens)


def marian(run: Run, dtype: torch.dtype) -> Any:
    """A Marian model of transformers of the same size."""
    from transformers import MarianConfig, MarianMTModel

    network, words = run.network("base"), run.vocabulary
    config = network.config
    torch.manual_seed(1)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=words.target_size,
            d_model=config.width,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            encoder_attention_heads=config.heads,
            decoder_attention_heads=config.heads,
            encoder_ffn_dim=config.feed_forward,
            decoder_ffn_dim=config.feed_forward,
            activation_function=config.activation,
            pad_token_id=words.pad,
            decoder_start_token_id=words.start,
            bos_token_id=None,
            eos_token_id=words.end,
            forced_eos_token_id=None,
            max_position_embeddings=512,
        )
    )
    placed: Any = model
    return placed.to(run.device, dtype).eval()


def generate(model: Any, source: tuple[Tensor, Tensor], tokens: int, beam: int) -> Any:
    """transformers' generate, with exactly that number of tokens."""
    ids, _ = source
    return model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        num_beams=beam,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        do_sample=False,
    )


def speed(run: Run) -> None:
    """Base preset, 30 tokens in and out: one sentence and 256, greedy and beam 4."""
    tokens = 5 if run.tiny else 30
    dtypes = [torch.float32] if run.device.type == "cpu" else [torch.bfloat16, torch.float16, torch.float32]
    network = run.network("base")
    for dtype in dtypes:
        name = str(dtype).removeprefix("torch.")
        engine = decoder(network, dtype)
        peer = marian(run, dtype) if dtype != torch.float16 else None
        for sentences, beam in ((1, 1), (1, 4), (64, 4), (256, 1), (256, 4)):
            what = f"decode base {name}, {sentences} sentence(s), beam {beam}"
            if run.over(what):
                return
            with run.part(what):
                count = min(sentences, 3) if run.tiny else sentences
                source = sources(run, count, tokens)
                mine = run.timed(partial(decode, engine, source, exact(tokens, beam)))
                row = {"ms_a_token": 1000 * mine / tokens, "tokens_per_second": count * tokens / mine}
                if peer is not None:
                    theirs = run.timed(partial(generate, peer, source, tokens, beam), times=1)
                    row |= {"generate_tokens_per_second": count * tokens / theirs, "times": theirs / mine}
                run.note(what, **row)


def nonautoregressive(run: Run) -> None:
    """Latency of one sentence of 30 tokens: non-autoregressive models beside their teacher, greedy."""
    tokens = 5 if run.tiny else 30
    source = sources(run, 1, tokens)
    dtype = torch.bfloat16 if run.device.type == "cuda" else torch.float32
    teacher = run.timed(partial(decode, decoder(run.network("base"), dtype), source, exact(tokens, 1)))
    for scheme in ("fertility", "mask-predict", "ctc"):
        what = f"latency {scheme}, one sentence"
        if run.over(what):
            return
        with run.part(what):
            own = decoder(run.network("base", kind="nonautoregressive", decoder=scheme), dtype)
            seconds = run.timed(partial(decode, own, source, own.options()))
            run.note(what, ms=1000 * seconds, teacher_greedy_ms=1000 * teacher, times=teacher / seconds)


def same_strings(run: Run) -> None:
    """How many of 256 translations are the same in each precision as in float32 by plain search."""
    what = "the same strings as float32"
    if run.over(what):
        return
    network, count = run.network("base"), 8 if run.tiny else 256
    source = sources(run, count, 8 if run.tiny else 30)
    options = DecodingConfig(beam=4, max_extra=10)
    plain = decode(decoder_of(network), source, options)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        with run.part(what):
            found = decode(decoder(network, dtype), source, options)
            equal = sum(one[0].tokens == other[0].tokens for one, other in zip(found, plain, strict=True))
            run.note(f"{what}: {name}", equal=equal, of=count)
