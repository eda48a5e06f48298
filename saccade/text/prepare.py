"""Preparation of parallel text for training: a tokeniser, caches of ids, validation text and a report.

The folder that `prepare` writes holds tokenizer/, train/ and valid/ (caches), valid.source and valid.target
(the text of the validation pairs), kept.npy (which pairs of the training files are in train/) and
report.json, which is written last: without it the folder is incomplete.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from saccade.errors import ConfigError, DamagedFile, InputError, StorageError
from saccade.storage.files import write_text
from saccade.storage.leftovers import remove_leftovers_in
from saccade.storage.structured import SMALL, read_json
from saccade.text.batching import padding_share, plan_batches
from saccade.text.cache import EncodedLines, open_verified
from saccade.text.corpus import DataConfig, Line, file_hash, read_aligned
from saccade.text.encode import EncodedChunk, Limits, encode_split
from saccade.text.findings import Findings
from saccade.text.opening import require_files
from saccade.text.report import DataReport, SplitReport, SplitTally, side_report
from saccade.text.scripts import bleu_tokenizer
from saccade.text.tokenizer import (
    SentencePieceTokenizer,
    Tokenizer,
    TokenizerConfig,
    byte_pieces,
    load_tokenizer,
)
from saccade.text.translation import SIDES, translation_columns

_HOLDOUT_SEED = 20240229
_HOLDOUT_MOST = 1_000
_HOLDOUT_SHARE = 0.02

Progress = Callable[[str], None]


class Prepared(NamedTuple):
    """Prepared text, from which training reads."""

    tokenizer: Tokenizer
    train: EncodedLines
    valid: EncodedLines | None
    report: DataReport


def prepare(
    config: DataConfig,
    tokenizer_config: TokenizerConfig,
    *,
    out: Path,
    tokenizer: Tokenizer | None = None,
    batch_tokens: int = 4096,
    tokenize: str | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Reads the text, learns the tokeniser (unless one is given) and writes everything to `out`.

    The result depends on the files and the arguments alone. batch_tokens: batch size for the padding in the
    report; tokenize: sacreBLEU's tokeniser for the validation text, None: the one that fits its script;
    progress: called with the name of each stage. Raises UserError if a file cannot be used, or if
    more than `config.max_dropped` of the training pairs would be dropped.
    """
    progress = progress or (lambda _: None)
    progress("reading the files")
    files = _hashes(config)
    held_out = {} if config.valid_files else _held_out(config)
    valid_text = list(read_aligned(config.valid_files)) if config.valid_files else list(held_out.values())
    small = _nonempty(valid=valid_text, test=list(read_aligned(config.test_files)))
    findings = Findings(small, sides=config.languages)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
        if tokenizer is None:
            progress("learning the vocabulary")
            tokenizer = _learn(config, tokenizer_config, held_out)
        tokenizer.save(out / "tokenizer")
        train = _write_train(config, tokenizer, frozenset(held_out), findings, out=out, progress=progress)
        valid = _write_valid(valid_text, config, tokenizer, out=out) if valid_text else None
        report = _report(out, tokenizer, train, valid, batch_tokens=batch_tokens, found=findings, files=files)
        fitting = bleu_tokenizer([pair.texts["target"] for pair in valid_text]) if valid_text else None
        report = replace(report, fitting=fitting, tokenize=fitting and (tokenize or fitting))
        write_text(out / "report.json", json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n")
    return open_prepared(out)


def open_prepared(out: Path) -> Prepared:
    """Opens what `prepare` wrote to `out`; raises UserError if it is incomplete or damaged."""
    try:
        report = DataReport.from_dict(read_json(out / "report.json", limit=SMALL))
    except (OSError, ValueError) as error:
        raise DamagedFile(
            f"{out}: no prepared data, or they are incomplete or damaged; prepare them again."
        ) from error
    tokenizer = load_tokenizer(out / "tokenizer")
    sizes = {"source": tokenizer.source_vocab_size, "target": tokenizer.target_vocab_size}
    valid = None
    if report.valid is not None and report.valid.kept:
        valid = open_verified(out / "valid", sizes)
    return Prepared(tokenizer, open_verified(out / "train", sizes), valid, report)


def _hashes(config: DataConfig) -> dict[str, str]:
    """The SHA-256 of each file, by path; it also finds missing files before any work is done."""
    if not config.train_files:
        raise ConfigError("no training text: set data.source and data.target, or data.pairs.")
    groups = (config.train_files, config.valid_files, config.test_files)
    paths = [path for group in groups for path in group.all]
    require_files(paths)
    return {str(path): file_hash(path) for path in paths}


def _nonempty(**texts: Sequence[Line]) -> dict[str, Sequence[Line]]:
    return {name: text for name, text in texts.items() if text}


def _held_out(config: DataConfig) -> dict[int, Line]:
    """A random sample of the usable training pairs by index, in the order of the files.

    The same files give the same sample. All pairs are read once (reservoir sampling, because their number is
    not known).
    """
    if config.holdout == 0:
        return {}
    most = _HOLDOUT_MOST if config.holdout is None else config.holdout
    generator = random.Random(_HOLDOUT_SEED)
    sample: list[tuple[int, Line]] = []
    usable = 0
    for index, pair in enumerate(read_aligned(config.train_files)):
        if pair.problem:
            continue
        usable += 1
        slot = len(sample) if len(sample) < most else int(generator.random() * usable)
        if slot < most:
            sample[slot : slot + 1] = [(index, pair)]
    if config.holdout is None:
        most = min(most, int(_HOLDOUT_SHARE * usable))
    elif usable <= most:
        raise ConfigError(f"data.holdout = {most}: there are only {usable} usable training pairs. Lower it.")
    generator.shuffle(sample)  # the first slots of the reservoir are not a uniform sample
    return dict(sorted(sample[:most]))


def _learn(
    config: DataConfig, tokenizer_config: TokenizerConfig, held_out: Mapping[int, Line]
) -> SentencePieceTokenizer:
    def usable() -> Iterator[Line]:
        pairs = enumerate(read_aligned(config.train_files))
        return (pair for index, pair in pairs if not pair.problem and index not in held_out)

    if next(usable(), None) is None:
        tally = SplitTally()
        for pair in read_aligned(config.train_files):
            tally.drop(pair.problem, pair)
        raise _refused("no training pair can be used", tally)
    return SentencePieceTokenizer.learn(
        tokenizer_config,
        (pair.texts["source"] for pair in usable()),
        (pair.texts["target"] for pair in usable()),
    )


def _write_valid(text: Sequence[Line], config: DataConfig, tokenizer: Tokenizer, *, out: Path) -> SplitReport:
    kept: list[Line] = []
    tally = SplitTally()

    def accept() -> None:
        # Pairs held out by default from a short text are few, so that losing them all is not an error.
        if not kept and (config.valid_files or config.holdout):
            raise _refused("no validation pair can be used", tally)

    with_fertilities = config.valid_fertilities if config.valid_files else config.fertilities
    pairs = encode_split(
        text,
        out / "valid",
        columns=translation_columns(tokenizer, fertilities=bool(with_fertilities)),
        # No limit on the ratio of lengths: scores should include unusual pairs.
        limits=Limits(SIDES, config.max_length),
        tally=tally,
        look=lambda _, chunk: kept.extend(chunk.lines),
        accept=accept,
    )
    for side in SIDES:
        write_text(out / f"valid.{side}", "".join(f"{pair.texts[side]}\n" for pair in kept))
    return _split_report(pairs, tally, tokenizer)


def _write_train(
    config: DataConfig,
    tokenizer: Tokenizer,
    held_out: frozenset[int],
    findings: Findings,
    *,
    out: Path,
    progress: Progress,
) -> SplitReport:
    tally = SplitTally()
    kept: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []

    def look(first: int, chunk: EncodedChunk) -> None:
        kept.append(np.asarray(chunk.kept, dtype=np.int64) + first)
        findings.look_at(chunk.lines)
        progress(f"encoding: {tally.read:,} pairs")

    def accept() -> None:
        if tally.read == tally.held_out + sum(tally.dropped.values()):
            raise _refused("no training pair can be used", tally)
        share = sum(tally.dropped.values()) / tally.read
        if share > config.max_dropped:
            message = (
                f"{share:.1%} of the training pairs cannot be used, more than data.max_dropped = "
                f"{config.max_dropped}. Correct the files, or raise it to accept the loss"
            )
            raise _refused(message, tally)

    pairs = encode_split(
        read_aligned(config.train_files),
        out / "train",
        columns=translation_columns(
            tokenizer, fertilities=bool(config.fertilities), alignments=bool(config.alignments)
        ),
        limits=Limits(SIDES, config.max_length, config.max_ratio),
        tally=tally,
        held_out=held_out,
        look=look,
        accept=accept,
    )
    mask = np.zeros(tally.read, dtype=bool)
    mask[np.concatenate(kept)] = True
    np.save(out / "kept.npy", mask)
    return _split_report(pairs, tally, tokenizer)


def _split_report(pairs: EncodedLines, tally: SplitTally, tokenizer: Tokenizer) -> SplitReport:
    source_bytes = byte_pieces(tokenizer.source_pieces(range(tokenizer.source_vocab_size)))
    target_bytes = byte_pieces(tokenizer.target_pieces(range(tokenizer.target_vocab_size)))
    return tally.report(
        side_report(pairs["source"], unknown=tokenizer.unknown, byte_pieces=source_bytes),
        side_report(pairs["target"], unknown=tokenizer.unknown, byte_pieces=target_bytes),
        kept=len(pairs),
    )


def _report(
    out: Path,
    tokenizer: Tokenizer,
    train: SplitReport,
    valid: SplitReport | None,
    *,
    batch_tokens: int,
    found: Findings,
    files: dict[str, str],
) -> DataReport:
    pairs = EncodedLines.open(out / "train")
    lengths = [pairs[side].lengths for side in SIDES]
    plan = plan_batches(*lengths, batch_tokens=batch_tokens, seed=0, epoch=0)
    return DataReport(
        train=train,
        valid=valid,
        duplicates=found.duplicates.report(),
        source_vocab_size=tokenizer.source_vocab_size,
        target_vocab_size=tokenizer.target_vocab_size,
        shared_vocabulary=tokenizer.shared,
        batch_tokens=batch_tokens,
        batches=len(plan),
        padding=padding_share(plan, *lengths),
        files=files,
        repeats=found.repeats.report(),
        languages=found.languages.report(),
    )


def _refused(message: str, tally: SplitTally) -> InputError:
    lines = [*tally.lines(), *tally.details.values()]
    text = "\n".join([f"{message}:", *(f"  {line}" for line in lines)])
    return InputError(text, topic="columns") if "columns" in tally.dropped else InputError(text)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turns a failed write within the block into a UserError; first removes what killed processes left."""
    remove_leftovers_in(out)
    try:
        yield
    except OSError as error:
        raise StorageError(f"{out}: cannot write the prepared data: {error.strerror or error}.") from error
