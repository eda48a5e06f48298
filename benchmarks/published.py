"""Make an OPUS-MT folder from text of your own, as its authors publish theirs for transformers.

It serves to try import, fine-tuning and export without a published model: a small MarianMT model
(post-norm, swish, sinusoids in halves, one scaled matrix for all embeddings, a bias on the logits) with two
SentencePiece models and one table of pieces. It is trained by `saccade train`, then written with transformers
(which has to be installed). If it was interrupted, it resumes where it stopped.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from rich.console import Console

from saccade.config import build
from saccade.interop.importing import import_folder
from saccade.interop.marian import marian_model, marian_tokenizer
from saccade.interop.published import Settings
from saccade.interop.weights import published_names
from saccade.model_folder.checkpoint import Model, load_model, save_model, unique_tensors, vocabulary_of
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.text.reading import read_text
from saccade.training.distributed import Group

END, UNKNOWN = "</s>", "<unk>"


def learn(text: Path, model: Path, *, size: int) -> list[str]:
    """A SentencePiece model of one side; returns its pieces."""
    with model.open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(read_text(text)), model_writer=stream, vocab_size=size, minloglevel=2
        )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    return [processor.id_to_piece(number) for number in range(3, len(processor))]


def begin(folder: Path, source: Path, target: Path, *, pieces: int, size: dict[str, int]) -> None:
    """Everything of the published folder but its weights."""
    from transformers import GenerationConfig, MarianConfig

    folder.mkdir(parents=True)
    sides = [
        learn(text, folder / name, size=pieces)
        for text, name in ((source, "source.spm"), (target, "target.spm"))
    ]
    table = dict.fromkeys([END, UNKNOWN, *sides[0], *sides[1], "<pad>"])
    pad = len(table) - 1
    special: dict[str, Any] = {"eos_token_id": 0, "bos_token_id": 0}
    special |= {"pad_token_id": pad, "decoder_start_token_id": pad}
    config = MarianConfig(
        vocab_size=len(table),
        d_model=size["width"],
        encoder_layers=size["layers"],
        decoder_layers=size["layers"],
        encoder_ffn_dim=size["inner"],
        decoder_ffn_dim=size["inner"],
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        activation_function="swish",
        scale_embedding=True,
        max_position_embeddings=512,
        forced_eos_token_id=0,
        **special,
    )
    generation: dict[str, Any] = {"bad_words_ids": [[pad]], "max_length": 512, "num_beams": 4}
    generation["renormalize_logits"] = True
    GenerationConfig(**special, **generation, forced_eos_token_id=0).save_pretrained(folder)
    config.save_pretrained(folder)
    names = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    ids = {piece: number for number, piece in enumerate(table)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")


def untrained(folder: Path) -> Model:
    """Our network of the folder's sizes and with its tokeniser, with random weights."""
    settings = Settings(folder / "config.json")
    tokenizer = marian_tokenizer(folder, settings)
    config = build(TransformerConfig, marian_model(settings), where=str(settings.path))
    return Model(Transformer(config, vocabulary_of(tokenizer)), config, tokenizer)


def teach(run: Path, first: Path, data: dict[str, str], *, steps: int, rate: float) -> Model:
    """`saccade train --init-from`, or --resume."""
    group = Group(device=torch.device("cpu"))
    if (run / "config.toml").is_file():
        resume_run(run, group, say=print)
        return load_model(run)
    training: dict[str, Any] = {
        "init_from": str(first),
        "steps": steps,
        "batch_tokens": 1536,
        "peak_rate": rate,
        "warmup": steps // 10,
        "schedule": "cosine",
        "precision": "bfloat16",
    }
    validation = {"every": max(steps // 4, 1), "max_sentences": 200}
    tables = {"data": data, "training": training, "validation": validation}
    start_run(read_experiment(tables=tables), run, group, say=print)
    return load_model(run)


def publish(model: Model, folder: Path) -> None:
    """Add the weights under transformers' names; what is imported again must be what was trained."""
    from transformers import MarianConfig, MarianMTModel

    network = model.network
    assert isinstance(network, Transformer)
    ours = unique_tensors(network)
    theirs = {"model.shared.weight": ours["source_embedding.tokens.weight"]}
    for name, parts in published_names(network.config):
        if name in ours:
            theirs |= dict(zip(parts, ours[name].chunk(len(parts)), strict=True))
    theirs["final_logits_bias"] = theirs["final_logits_bias"][None]
    hub = MarianMTModel(MarianConfig.from_pretrained(folder))
    missing, unknown = hub.load_state_dict(theirs, strict=False)
    assert not unknown and all("embed" in name or "lm_head" in name for name in missing), (missing, unknown)
    hub.generation_config = type(hub.generation_config).from_pretrained(folder)
    hub.save_pretrained(folder)
    again = unique_tensors(import_folder(folder).model.network)
    assert all(torch.equal(again[name], tensor) for name, tensor in ours.items())


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="training text")
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--valid-source", type=Path, required=True)
    parser.add_argument("--valid-target", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder is OUT/published")
    parser.add_argument("--pieces", type=int, default=4000, help="of each side")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3, help="of encoder and decoder each")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(options.threads)
    out, published = options.out, options.out / "published"
    if not published.is_dir():
        shutil.rmtree(out / "new", ignore_errors=True)
        size = {"width": options.width, "inner": 4 * options.width, "layers": options.layers}
        begin(out / "new", options.source, options.target, pieces=options.pieces, size=size)
        torch.manual_seed(1)
        save_model(out / "untrained", untrained(out / "new"))
        (out / "new").rename(published)
    texts = ("source", "target", "valid_source", "valid_target")
    data = {name: str(getattr(options, name)) for name in texts}
    model = teach(out / "run", out / "untrained", data, steps=options.steps, rate=options.rate)
    publish(model, published)
    Console().print(f"published: {published}")


if __name__ == "__main__":
    main()
