"""Where students that write all words at once fall short: length, repetition, fertilities, or words.

For the teacher and each student: BLEU, pieces written for each of the reference's, mean difference of the two
lengths, share of pieces that repeat the one before. For a student that predicts fertilities, or a length,
also: the share that equals those of the teacher's own greedy translation, and BLEU when it is given them,
which leaves only the words to blame. --fertilities FILE has them as the student learned them (`saccade
distill --beam 1 --fertilities FILE --method ...`); without it they are aligned by the teacher's attention.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import ROOT, show
from benchmarks.nonautoregressive import ROUNDS, System, trained_systems
from saccade.alignment.fertilities import fertilities
from saccade.decoding.nonautoregressive.fertility import FertilityDecoder, top_words
from saccade.decoding.nonautoregressive.mask_predict import MaskPredictDecoder, refine, token_rows
from saccade.evaluation import score_text
from saccade.models.nonautoregressive.fertility import Fertility
from saccade.models.nonautoregressive.mask_predict import MaskPredict
from saccade.text.batching import plan_for_inference
from saccade.text.corpus import read_parallel
from saccade.text.fertilities import fertilities_of
from saccade.text.reading import read_text
from saccade.use.translator import Translator

Rows = Sequence[Sequence[int]]
TEXT = ROOT / "../shared/data/multi30k/test_2016_flickr.en"
BATCH_TOKENS = 4096


def repetition(rows: Rows) -> float:
    """Share of ids that equal the one before, of those that have one before."""
    pairs = [(a, b) for row in rows for a, b in pairwise(row)]
    return sum(a == b for a, b in pairs) / max(len(pairs), 1)


def errors_of(written: Rows, right: Rows) -> dict[str, object]:
    """Lengths and repetitions of translations, which are ids without end symbols."""
    off = [abs(len(a) - len(b)) for a, b in zip(written, right, strict=True)]
    return {
        "length": f"{sum(map(len, written)) / sum(map(len, right)):.3f}",
        "off by": f"{sum(off) / len(off):.2f}",
        "repeats": f"{repetition(written):.1%}",
    }


def batches(translator: Translator, lines: Sequence[str]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Numbers of lines, their source ids and lengths."""
    sources = translator.tokenizer.encode_source(lines)
    for rows in plan_for_inference([len(ids) for ids in sources], batch_tokens=BATCH_TOKENS):
        batch = [int(row) for row in rows]
        yield batch, *translator.padded([sources[row] for row in batch])


@torch.inference_mode()
def from_fertilities(
    translator: Translator, scheme: Fertility, lines: Sequence[str], labels: Rows
) -> tuple[float, list[str]]:
    """The share of fertilities that the model would have chosen, and what it writes when given them."""
    texts, right = [""] * len(lines), []
    for batch, source, lengths in batches(translator, lines):
        given = torch.zeros_like(source)
        for place, row in enumerate(batch):
            given[place, : len(labels[row])] = torch.tensor(labels[row])
        memory = scheme.body.encode(source, lengths)
        chosen = scheme.logits(memory).argmax(-1)
        right.append((chosen == given)[scheme.has_fertility(memory)])
        for row, ids in zip(batch, top_words(scheme, given, memory)[0], strict=True):
            texts[row] = translator.tokenizer.decode(ids)
    return float(torch.cat(right).float().mean()), texts


@torch.inference_mode()
def from_lengths(
    translator: Translator, scheme: MaskPredict, lines: Sequence[str], lengths: list[int]
) -> tuple[float, list[str]]:
    """The share of target lengths, end symbols not counted, that the model finds likeliest, and what it
    writes in most rounds when given them."""
    texts, right = [""] * len(lines), []
    for batch, source, source_lengths in batches(translator, lines):
        given = torch.tensor([lengths[row] for row in batch])
        memory = scheme.body.encode(source, source_lengths)
        chosen = scheme.length_of(scheme.length_logits(memory).argmax(-1, keepdim=True), memory)
        right.append(chosen[:, 0] == given)
        tokens, _ = refine(scheme, memory, given, iterations=ROUNDS[-1])
        for row, ids in zip(batch, token_rows(tokens, given), strict=True):
            texts[row] = translator.tokenizer.decode(ids)
    return float(torch.cat(right).float().mean()), texts


def measured(system: System, lines: list[str], references: list[str], *, tokenize: str) -> dict[str, object]:
    """A row of the table."""
    tokenizer = system.translator.tokenizer
    texts = [one.text for one in system.translator.translate(lines, **system.options)]
    ids = [[row[:-1] for row in tokenizer.encode_target(side)] for side in (texts, references)]
    return {
        "system": system.name,
        "BLEU": f"{score_text(texts, references, tokenize=tokenize).bleu:.2f}",
        **errors_of(*ids),
    }


def main() -> None:
    """Print a row for each system and way to decode it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--model", type=Path, action="append", default=[], help="a student; repeat")
    parser.add_argument("--source", type=Path, default=TEXT.with_suffix(".en"))
    parser.add_argument("--reference", type=Path, default=TEXT.with_suffix(".de"))
    parser.add_argument("--fertilities", type=Path, help="of the teacher's greedy translations")
    parser.add_argument("--tokenize", default="none", help="sacreBLEU's tokeniser; none: tokenised text")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="append the rows to this JSONL file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines, references = read_parallel(options.source, options.reference)
    systems = trained_systems(options.teacher, options.model)
    rows = [measured(system, lines, references, tokenize=options.tokenize) for system in systems]
    teacher = systems[0].translator
    ids = [row[:-1] for row in teacher.tokenizer.encode_target(references)]
    rows.append({"system": "reference", "BLEU": "", **errors_of(ids, ids)})
    greedy = [one.text for one in teacher.translate(lines, beam=1)]
    lengths = [len(ids) - 1 for ids in teacher.tokenizer.encode_target(greedy)]
    labels: Rows
    if options.fertilities is None:
        labels = fertilities(teacher, lines, greedy)
    else:
        labels = [
            fertilities_of(line, place=f"{options.fertilities}, line {number}")
            for number, line in enumerate(read_text(options.fertilities), start=1)
        ]
    given: list[dict[str, object]] = []
    for name, translator in {one.name.split(",")[0]: one.translator for one in systems}.items():
        decoder = translator.decoder
        if isinstance(decoder, FertilityDecoder):
            found = from_fertilities(translator, decoder.trained, lines, labels)
            what, (share, texts) = "fertilities", found
        elif isinstance(decoder, MaskPredictDecoder):
            what, (share, texts) = "lengths", from_lengths(translator, decoder.trained, lines, lengths)
        else:
            continue
        bleu = score_text(texts, references, tokenize=options.tokenize).bleu
        given.append(
            {"student": name, "predicts": what, "right": f"{share:.1%}", "BLEU, given them": f"{bleu:.2f}"}
        )
    show(f"errors of students of {options.teacher}, {len(lines):,} lines", rows, options.out)
    if given:
        show("what they predict, beside the teacher's greedy translation", given, options.out)


if __name__ == "__main__":
    main()
