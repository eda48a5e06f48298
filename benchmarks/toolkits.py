"""Target tokens/s of training beside toolkits, each in an environment of its own.

Same text in the same pieces, same sizes, label smoothing and batch size; each makes its own batches of about
4,096 tokens, with its own command and its own counter of target tokens. Dropout is as near as their settings
allow: fairseq has it where we do, the others also drop inside the feed-forward network, JoeyNMT on attention
weights besides. Before (fairseq's packages are for Python up to 3.8):

    python -m venv eole && eole/bin/pip install eole==0.6.4
    python -m venv joeynmt && joeynmt/bin/pip install joeynmt==2.3.0 "sentencepiece==0.2.0"
    python3.8 -m venv fairseq && fairseq/bin/pip install "pip<24.1" &&
        fairseq/bin/pip install fairseq==0.12.2 torch==2.4.1
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import arguments, prepare_corpus, show, spread
from saccade.text.prepare import open_prepared
from saccade.text.tokenizer import Tokenizer

BATCH_TOKENS = 4096
UNMEASURED = 2
"""Reports at the start of a run, with what is done once inside."""


def write_pieces(tokenizer: Tokenizer, train: tuple[Path, Path], out: Path) -> None:
    """train.src and train.tgt, pieces between blanks, and vocab.txt."""
    known: dict[str, None] = {}
    for path, name in zip(train, ("src", "tgt"), strict=True):
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        source = name == "src"
        ids = tokenizer.encode_source(lines) if source else tokenizer.encode_target(lines)
        pieces = tokenizer.source_pieces if source else tokenizer.target_pieces
        rows = [pieces(one)[:-1] for one in ids]
        known |= dict.fromkeys(piece for row in rows for piece in row)
        (out / f"train.{name}").write_text("".join(f"{' '.join(row)}\n" for row in rows), encoding="utf-8")
        (out / f"valid.{name}").write_text(
            "".join(f"{' '.join(row)}\n" for row in rows[:100]), encoding="utf-8"
        )
    (out / "vocab.txt").write_text("".join(f"{piece}\n" for piece in known), encoding="utf-8")


def eole(updates: int) -> dict[str, Any]:
    """Its configuration for the small preset."""
    return {
        "src_vocab": "vocab.txt",
        "tgt_vocab": "vocab.txt",
        "share_vocab": True,
        "overwrite": True,
        "seed": 1,
        "report_every": 1,
        "data": {"train": {"path_src": "train.src", "path_tgt": "train.tgt"}},
        "training": {
            "model_path": "eole-model",
            "compute_dtype": "fp32",
            "world_size": 1,
            "gpu_ranks": [],
            "batch_type": "tokens",
            "batch_size": BATCH_TOKENS,
            "batch_size_multiple": 1,
            "bucket_size": 29000,
            "num_workers": 0,
            "train_steps": updates,
            "valid_steps": 100_000,
            "save_checkpoint_steps": 100_000,
            "optim": "adam",
            "adam_beta2": 0.98,
            "learning_rate": 2,
            "decay_method": "noam",
            "dropout": [0.1],
            "attention_dropout": [0.0],
            "label_smoothing": 0.1,
            "normalization": "tokens",
            "max_grad_norm": 0,
        },
        "model": {
            "architecture": "transformer",
            "layers": 3,
            "hidden_size": 256,
            "heads": 4,
            "transformer_ff": 1024,
            "share_embeddings": True,
            "share_decoder_embeddings": True,
            "embeddings": {"word_vec_size": 256, "position_encoding_type": "SinusoidalInterleaved"},
        },
    }


def joeynmt(updates: int) -> dict[str, Any]:
    """Its configuration for the small preset."""
    side = {"level": "word", "lowercase": False, "voc_file": "vocab.txt", "max_length": 1000}
    stack = {
        "type": "transformer",
        "num_layers": 3,
        "num_heads": 4,
        "hidden_size": 256,
        "ff_size": 1024,
        "dropout": 0.1,
        "layer_norm": "post",
        "embeddings": {"embedding_dim": 256, "scale": True, "dropout": 0.1},
    }
    names = ("unk", "pad", "bos", "eos")
    tokens = dict(zip(names, ("<unk>", "<pad>", "<s>", "</s>"), strict=True))
    return {
        "name": "speed",
        "model_dir": "joeynmt-model",
        "use_cuda": False,
        "fp16": False,
        "random_seed": 1,
        "data": {
            "train": "train",
            "dev": "valid",
            "dataset_type": "plain",
            "src": {"lang": "src", **side},
            "trg": {"lang": "tgt", **side},
            "special_symbols": {
                **{f"{name}_token": token for name, token in tokens.items()},
                **{f"{name}_id": number for number, name in enumerate(names)},
            },
        },
        "testing": {"beam_size": 1, "batch_size": 10, "max_output_length": 5, "eval_metrics": ["bleu"]},
        "training": {
            "loss": "crossentropy",
            "normalization": "tokens",
            "label_smoothing": 0.1,
            "optimizer": "adamw",
            "adam_betas": [0.9, 0.98],
            "scheduling": "warmupinversesquareroot",
            "learning_rate": 1e-4,
            "learning_rate_warmup": 4000,
            "batch_size": BATCH_TOKENS,
            "batch_type": "token",
            "epochs": 100,
            "updates": updates,
            "validation_freq": 1_000_000,
            "logging_freq": 1,
            "overwrite": True,
            "shuffle": True,
        },
        "model": {
            "initializer": "xavier_uniform",
            "bias_initializer": "zeros",
            "embed_initializer": "xavier_uniform",
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": stack,
            "decoder": stack,
        },
    }


def fairseq(updates: int) -> list[str]:
    """Its options for the small preset."""
    sides = [f"--{side}-{name}" for side in ("encoder", "decoder") for name in ("layers", "embed-dim")]
    sizes = dict(zip(sides, ("3", "256", "3", "256"), strict=True))
    for side in ("encoder", "decoder"):
        sizes |= {f"--{side}-ffn-embed-dim": "1024", f"--{side}-attention-heads": "4"}
    options = {
        "--arch": "transformer",
        **sizes,
        "--dropout": "0.1",
        "--attention-dropout": "0",
        "--activation-dropout": "0",
        "--criterion": "label_smoothed_cross_entropy",
        "--label-smoothing": "0.1",
        "--optimizer": "adam",
        "--adam-betas": "(0.9, 0.98)",
        "--lr-scheduler": "inverse_sqrt",
        "--warmup-updates": "4000",
        "--lr": "7e-4",
        "--max-tokens": str(BATCH_TOKENS),
        "--max-update": str(updates),
        "--seed": "1",
        "--log-format": "json",
        "--log-interval": "1",
    }
    flags = ["--share-all-embeddings", "--cpu", "--no-save", "--disable-validation"]
    return [*flags, *(word for pair in options.items() for word in pair)]


@dataclass(frozen=True)
class Toolkit:
    """commands: of an interpreter that has it, one after the other, beside the pieces, for `updates` updates;
    configuration: what they find in NAME.yaml; report: what it says after each update."""

    commands: Callable[[int], list[list[str]]]
    report: str
    configuration: Callable[[int], dict[str, Any]] | None = None


_CLEAN = ["-c", "import shutil; shutil.rmtree('fairseq-data', ignore_errors=True)"]
_PREPROCESS = [
    "-m",
    "fairseq_cli.preprocess",
    "--source-lang",
    "src",
    "--target-lang",
    "tgt",
    "--joined-dictionary",
]
_PREPROCESS += ["--trainpref", "train", "--validpref", "valid", "--destdir", "fairseq-data"]
TOOLKITS = {
    "eole": Toolkit(lambda _: [["-m", "eole.bin.main", "train", "-c", "eole.yaml"]], r"/(\d+) tok/s", eole),
    "fairseq": Toolkit(
        lambda updates: [_CLEAN, _PREPROCESS, ["-m", "fairseq_cli.train", "fairseq-data", *fairseq(updates)]],
        r'"wps": "([\d.]+)"',
    ),
    "joeynmt": Toolkit(
        lambda _: [["-m", "joeynmt", "train", "--skip-test", "joeynmt.yaml"]],
        r"Tokens per Sec: +([\d,]+)",
        joeynmt,
    ),
}


def measure(name: str, python: Path, folder: Path, *, updates: int, threads: int) -> float:
    """Median of its own reports, the first ones left out."""
    toolkit = TOOLKITS[name]
    if toolkit.configuration is not None:
        text = json.dumps(toolkit.configuration(updates))  # JSON is YAML
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    said = ""
    for command in toolkit.commands(updates):
        done = subprocess.run(
            [str(python.absolute()), *command],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        if done.returncode:
            sys.exit(f"{name} failed:\n{said[-2000:]}")
    found = [float(rate.replace(",", "")) for rate in re.findall(toolkit.report, said)]
    if len(found) <= UNMEASURED:
        sys.exit(f"{name} reported {len(found)} updates:\n{said[-2000:]}")
    return statistics.median(found[UNMEASURED:])


def ours(data: Path, *, updates: int, threads: int) -> float:
    """The same of Saccade, float32."""
    command = [sys.executable, "-m", "benchmarks.training", "--only", str(data), "saccade", "float32"]
    command += ["--updates", str(updates), "--warmup", str(UNMEASURED), "--threads", str(threads)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rate: float = json.loads(output.splitlines()[-1])["tokens_per_second"]
    return rate


def main() -> None:
    """Take turns, `--runs` times."""
    parser = arguments(__doc__ or "")
    for name in TOOLKITS:
        parser.add_argument(f"--{name}", type=Path, metavar="PYTHON", help="the interpreter that has it")
    parser.add_argument("--updates", type=int, default=12)
    options = parser.parse_args()
    pythons = {name: getattr(options, name) for name in TOOLKITS if getattr(options, name)}
    settings = {"updates": options.updates, "threads": options.threads}
    found: dict[str, list[float]] = {name: [] for name in ("saccade", *pythons)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text = prepare_corpus(options.data, folder)
        write_pieces(open_prepared(folder / "data").tokenizer, text.train, folder)
        for _ in range(options.runs):
            found["saccade"].append(ours(folder / "data", **settings))
            for name, python in pythons.items():
                found[name].append(measure(name, python, folder, **settings))
    base = statistics.median(found["saccade"])
    rows: list[dict[str, object]] = [
        {
            "toolkit": name,
            "target tokens/s": spread(rates),
            "Saccade is faster": f"{base / statistics.median(rates):.2f} times",
        }
        for name, rates in found.items()
    ]
    title = f"training beside toolkits, small preset, {text.name}, float32, {options.threads} threads"
    show(title, rows, options.out)


if __name__ == "__main__":
    main()
