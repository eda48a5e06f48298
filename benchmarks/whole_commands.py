"""Whole commands on a file: `saccade translate` beside CTranslate2 with sentencepiece.

    python -m benchmarks.whole_commands                      # 8,000 lines, 5 runs of each
    python -m benchmarks.whole_commands --lines 200 --runs 1 # only to show that it works

Each run is a process of its own: start, tokenising, search and writing count. With `--busy`, another process
keeps one core busy all the time. The small preset has random weights and writes 15 tokens a line.
"""

import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

from benchmarks.common import arguments, corpus, show
from benchmarks.startup import untrained
from saccade.interop.ctranslate2 import write_ctranslate2

TOKENS = 15

PEER = """
import sys, ctranslate2, sentencepiece
folder, pieces, source, out, precision, beam, tokens = sys.argv[1:]
engine = ctranslate2.Translator(folder, compute_type=precision, inter_threads=2, intra_threads=1)
pieces = sentencepiece.SentencePieceProcessor(pieces)
with open(source, encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as written:
    ids = [row + ["</s>"] for row in pieces.encode([line.rstrip("\\n") for line in lines], out_type=str)]
    found = engine.translate_batch(
        ids, beam_size=int(beam), max_batch_size=1024, batch_type="tokens",
        min_decoding_length=int(tokens) - 1, max_decoding_length=int(tokens) - 1,
    )
    for text in pieces.decode([one.hypotheses[0] for one in found]):
        written.write(text + "\\n")
"""


def _spin() -> None:
    while True:
        pass


@contextmanager
def another_process(busy: bool) -> Iterator[None]:
    """Keeps a core busy within the block, if asked to."""
    if not busy:
        yield
        return
    spinning = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    spinning.start()
    try:
        yield
    finally:
        spinning.terminate()
        spinning.join()


def seconds(command: list[str]) -> float:
    """How long a process runs."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def commands(scratch: Path, precision: str, beam: int) -> dict[str, list[str]]:
    """The two ways to translate the file."""
    source, model, exported = scratch / "source", scratch / "model", scratch / "ctranslate2"
    options = ["--precision", precision, "--beam", str(beam), "--max-length", str(TOKENS)]
    peer = [str(exported), str(model / "tokenizer.model"), str(source), str(scratch / "theirs")]
    return {
        "Saccade": [
            *("-m", "saccade", "translate", str(model), str(source), *options),
            *("--min-length", str(TOKENS - 1), "--output", str(scratch / "ours")),
        ],
        "CTranslate2": ["-c", PEER, *peer, precision, str(beam), str(TOKENS)],
    }


def main() -> None:
    """Times each way in turn, and prints medians and how many times as fast ours is."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--lines", type=int, default=8000)
    parser.add_argument("--busy", action="store_true", help="keep one core busy all the time")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        text = corpus(options.data, scratch / "text")
        lines = text.train[0].read_text(encoding="utf-8").split("\n")[:-1]
        chosen = list(islice(cycle(lines), options.lines))
        (scratch / "source").write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")
        model = untrained(text, scratch / "model")
        (scratch / "ctranslate2").mkdir()
        write_ctranslate2(model, scratch / "ctranslate2")
        with another_process(options.busy):
            for precision in ("float32", "int8"):
                for beam in (1, 5):
                    rows.append(compared(scratch, precision, beam, runs=options.runs))
                    print(json.dumps(rows[-1]), flush=True)
    title = f"whole commands, {options.lines:,} lines{', one core busy' * options.busy}"
    show(title, rows, options.out)


def compared(scratch: Path, precision: str, beam: int, *, runs: int) -> dict[str, object]:
    """One row: seconds of each way, in turn after a run that warms the caches."""
    ways = commands(scratch, precision, beam)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(runs + 1):
        for name, command in ways.items():
            taken = seconds(command)
            if repetition:
                found[name].append(taken)
    for name in ("ours", "theirs"):
        written = (scratch / name).read_bytes().count(b"\n")
        wanted = (scratch / "source").read_bytes().count(b"\n")
        assert written == wanted, f"{name}: {written} lines for {wanted}"
    medians = {name: statistics.median(values) for name, values in found.items()}
    shown = {
        name: f"{medians[name]:.2f} [{min(values):.2f}-{max(values):.2f}]" for name, values in found.items()
    }
    times = medians["CTranslate2"] / medians["Saccade"]
    return {"precision": precision, "beam": beam, **shown, "times": f"{times:.2f}"}


if __name__ == "__main__":
    main()
