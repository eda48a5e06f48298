"""Seconds and peak memory from starting a process to its first translation, beside CTranslate2."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.common import Corpus, arguments, corpus, show
from saccade.interop.ctranslate2 import write_ctranslate2
from saccade.model_folder.checkpoint import Model, save_model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig

CTRANSLATE2 = """
import sys, ctranslate2, sentencepiece
pieces = sentencepiece.SentencePieceProcessor(sys.argv[2])
engine = ctranslate2.Translator(sys.argv[1], intra_threads=1)
source = pieces.encode(sys.stdin.read().strip(), out_type=str) + ["</s>"]
print(pieces.decode(engine.translate_batch([source], max_decoding_length=15)[0].hypotheses[0]))
"""


def untrained(text: Corpus, folder: Path) -> Model:
    """The small preset with random weights and a vocabulary learned from the text, saved."""
    texts = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in text.train]
    size = 8000 if "multi30k" in text.name else None
    tokenizer = SentencePieceTokenizer.learn(TokenizerConfig(vocab_size=size), *texts)
    config = model_config({"preset": "small"})
    torch.manual_seed(1)
    model = Model(build_model(config, vocabulary_of(tokenizer)), config, tokenizer)
    save_model(folder, model)
    return model


# A small process starts the one that is measured: peak memory begins with what the parent had.
SHIM = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], input=b"A dog runs.\\n", stdout=subprocess.DEVNULL, check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps([time.perf_counter() - started, peak]))
"""


def run(command: list[str]) -> tuple[float, float]:
    """Seconds, and peak memory in MB, of one process from its start to its end."""
    shim = [sys.executable, "-c", SHIM, sys.executable, *command]
    seconds, peak = json.loads(subprocess.run(shim, capture_output=True, check=True).stdout)
    return seconds, peak


def main() -> None:
    """Time each command `--runs` times, in turn."""
    options = arguments(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, exported = Path(scratch) / "model", Path(scratch) / "ctranslate2"
        model = untrained(corpus(options.data, Path(scratch) / "text"), folder)
        exported.mkdir()
        write_ctranslate2(model, exported)
        translate = ["-m", "saccade", "translate", str(folder), "--max-length", "15"]
        ways = {
            "python -c pass": ["-c", "pass"],
            "import torch": ["-c", "import torch"],
            "saccade --help": ["-m", "saccade", "--help"],
            "saccade translate, one line": translate,
            "saccade translate, one line, int8": [*translate, "--precision", "int8"],
            "CTranslate2, one line": ["-c", CTRANSLATE2, str(exported), str(folder / "tokenizer.model")],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for repetition in range(options.runs + 1):
            for name, command in ways.items():
                result = run(command)
                if repetition:  # the first warms the page cache
                    found[name].append(result)
    rows: list[dict[str, object]] = []
    for name, results in found.items():
        seconds, memory = zip(*results, strict=True)
        shown = f"{statistics.median(seconds):.2f} [{min(seconds):.2f}-{max(seconds):.2f}]"
        rows.append({"process": name, "seconds": shown, "peak MB": f"{statistics.median(memory):,.0f}"})
    show("start-up, small preset", rows, options.out)


if __name__ == "__main__":
    main()
