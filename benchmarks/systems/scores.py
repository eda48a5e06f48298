"""Scores of finished runs on the test text, as a whole and by length of the source."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from saccade.errors import UserError
from saccade.evaluation import score_text
from saccade.inspection.curves import read_metrics
from saccade.model_folder.checkpoint import load_model
from saccade.runs.experiment import read_experiment
from saccade.text.corpus import DataConfig, read_parallel
from saccade.use.translator import Translator

RESULT, TRANSLATIONS = "test.json", "test.txt"
EDGES = (8, 11, 14, 18)
"""The longest source, in words, of each bucket but the last, which is open."""


@dataclass(frozen=True)
class Result:
    """bleu: cased, detokenised, against the reference as written. bleu_lower: the same lines lower-cased, in
    sacreBLEU's 13a tokens, which is how papers score Multi30k. curve: (updates, BLEU of greedy translations
    of the validation text)."""

    parameters: int
    step: int
    bleu: float
    signature: str
    bleu_lower: float
    signature_lower: str
    curve: list[tuple[int, float]]
    lengths: list[dict[str, float]]

    def updates_to(self, bleu: float) -> int | None:
        """Updates until validation first had this score; None: never."""
        return next((step for step, score in self.curve if score >= bleu), None)


def score(run: Path) -> Result:
    """Translate the run's test text with its best model and score it, once: the result stays in the run."""
    if (run / RESULT).is_file():
        return read_result(run)
    sources, references = test_text(run)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(run)
    translator = Translator.of(model, device=device)
    texts = [one.text for one in translator.translate(sources)]
    cased, lower = score_text(texts, references), score_text(texts, references, lowercase=True)
    result = Result(
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        step=model.provenance["step"],
        bleu=cased.bleu,
        signature=cased.signature,
        bleu_lower=lower.bleu,
        signature_lower=lower.signature,
        curve=[(line["step"], line["bleu"]) for line in read_metrics(run / "metrics.jsonl").get("valid", ())],
        lengths=by_length(sources, texts, references),
    )
    (run / TRANSLATIONS).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="\n")
    (run / RESULT).write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    return result


def read_result(run: Path) -> Result:
    """What `score` left."""
    content: dict[str, Any] = json.loads((run / RESULT).read_text(encoding="utf-8"))
    content["curve"] = [(int(step), float(bleu)) for step, bleu in content["curve"]]
    return Result(**content)


def test_text(run: Path) -> tuple[list[str], list[str]]:
    """Source and reference lines of the run's test text; UserError where its configuration names none."""
    data = read_experiment(run / "config.toml", resolved=True).data
    if not isinstance(data, DataConfig) or len(data.test_source) != 1:
        raise UserError(f"{run}: set data.test_source and data.test_target to one file each.")
    return read_parallel(data.test_source[0], data.test_target[0])


def bucket(words: int) -> int:
    """Which bucket a source of `words` words is in."""
    return sum(words > edge for edge in EDGES)


def bucket_names() -> list[str]:
    """The number of source words in each bucket, as text."""
    inner = (f"{below + 1}-{edge}" for below, edge in pairwise(EDGES))
    return [f"to {EDGES[0]}", *inner, f"over {EDGES[-1]}"]


def by_length(
    sources: Sequence[str], texts: Sequence[str], references: Sequence[str]
) -> list[dict[str, float]]:
    """For each bucket that has lines: how many, mean words of its sources, and cased BLEU."""
    rows = []
    for number in range(len(EDGES) + 1):
        inside = [n for n, source in enumerate(sources) if bucket(len(source.split())) == number]
        if inside:
            bleu = score_text([texts[n] for n in inside], [references[n] for n in inside]).bleu
            words = sum(len(sources[n].split()) for n in inside) / len(inside)
            rows.append({"bucket": number, "lines": len(inside), "words": words, "bleu": bleu})
    return rows
