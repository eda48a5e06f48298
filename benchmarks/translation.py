"""Sentences/s of translation: greedy and beam 5, one sentence at a time and in bulk.

Pieces in, pieces out and detokenisation are inside the timer: it is what a user waits for.
"""

import resource
import tempfile
from pathlib import Path
from typing import Any

import torch
from common import arguments, corpus, show, spread, timed

from saccade.checkpoint import Model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig
from saccade.translator import Translator

LENGTH = 15  # target tokens, end symbol in, when the weights are random


def random_model(train: tuple[Path, Path], preset: str, vocab_size: int | None) -> Model:
    """An untrained model of the preset with a vocabulary learned from the text."""
    texts = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in train]
    tokenizer = SentencePieceTokenizer.learn(TokenizerConfig(vocab_size=vocab_size), *texts)
    config = model_config({"preset": preset})
    torch.manual_seed(1)
    network = build_model(config, vocabulary_of(tokenizer))
    network.eval()
    return Model(network, config, tokenizer)


def main() -> None:
    """Time each way of decoding."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--model", type=Path, help="a model or run folder; without it, random weights")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--single", type=int, default=100, help="sentences translated one at a time")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        text = corpus(options.data, Path(scratch))
        lines = text.test_lines()
        lengths: dict[str, Any] = {}
        if options.model:
            translator, name = Translator.load(options.model), str(options.model)
        else:
            vocab_size = 8000 if "multi30k" in text.name else None
            translator = Translator(random_model(text.train, options.preset, vocab_size))
            lengths, name = (
                {"min_length": LENGTH - 1, "max_length": LENGTH},
                f"{options.preset}, random weights",
            )

    def one_by_one(beam: int) -> float:
        for line in lines[: options.single]:
            translator.translate([line], beam=beam, **lengths)
        return options.single

    def in_bulk(beam: int) -> float:
        translator.translate(lines, beam=beam, **lengths)
        return len(lines)

    rows: list[dict[str, object]] = [
        {
            "search": "greedy" if beam == 1 else f"beam {beam}",
            "one at a time": spread(timed(lambda beam=beam: one_by_one(beam), options.runs)),
            f"bulk of {len(lines)}": spread(timed(lambda beam=beam: in_bulk(beam), options.runs)),
        }
        for beam in (1, 5)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    title = f"sentences/s, {name}, {text.name}, float32, {options.threads} threads, peak {peak:,.0f} MB"
    show(title, rows, options.out)


if __name__ == "__main__":
    main()
