"""Tiny models with random weights, batches and tokenisers that several tests share."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.model_folder.checkpoint import Model, vocabulary_of
from saccade.models.interface import Vocabulary
from saccade.models.nonautoregressive import SCHEMES
from saccade.models.recording import AttentionMap, record_attention
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.nn.alibi import AlibiPositions
from saccade.nn.positions import SinusoidalPositions
from saccade.nn.rows import RowLayout, Rows
from saccade.text.batching import Batch, PaddedColumn
from saccade.text.tokenizer import SentencePieceTokenizer, Tokenizer, TokenizerConfig
from saccade.text.translation import translation_batch
from tests.reference.positions import slope
from tests.reference.transformer import position_encoding

PAD, UNKNOWN, START, END = 0, 1, 2, 3


def vocabulary(size: int = 13, *, target_size: int | None = None) -> Vocabulary:
    return Vocabulary(
        source_size=size,
        target_size=size if target_size is None else target_size,
        pad=PAD,
        start=START,
        end=END,
        shared=target_size is None,
    )


def randomise(network: nn.Module, *, seed: int = 0, scale: float = 0.3) -> None:
    """Move every parameter off its initial value: zero biases and unit gains would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(network.named_parameters(), key=lambda item: _rank(item[0])):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise.to(parameter), alpha=scale)


def _rank(name: str) -> int:
    """Embeddings come first, whichever module has them, so that models stay the same when modules move."""
    if "." not in name:
        return 0
    if "embedding." in name:
        return 1
    return 3 if name.startswith(("encoder.norm.", "decoder_norm.", "output.", "predictor.")) else 2


def config(**changes: Any) -> TransformerConfig:
    sizes = {"width": 12, "heads": 3, "feed_forward": 20, "encoder_layers": 2, "decoder_layers": 2}
    return TransformerConfig(**{"dropout": 0.0, **sizes, **changes})


def transformer(
    *, words: Vocabulary | None = None, seed: int = 0, dtype: torch.dtype = torch.float64, **changes: Any
) -> Transformer:
    """In evaluation mode; float64 so that a mistake can't pass as rounding."""
    torch.manual_seed(seed)
    model = Transformer(config(**changes), words or vocabulary()).to(dtype)
    randomise(model, seed=seed)
    return model.eval()


def exact_positions(network: nn.Module) -> None:
    """Tables of sines and slopes in float64; models keep them in float32."""
    for module in network.modules():
        if isinstance(module, SinusoidalPositions):
            table = position_encoding(128, module.table.size(1), layout=module.layout)
            module.table = torch.from_numpy(table)
        elif isinstance(module, AlibiPositions):
            slopes = [slope(head, len(module.slopes)) for head in range(1, len(module.slopes) + 1)]
            module.slopes = torch.tensor(slopes, dtype=torch.float64)[:, None, None]


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """(rows, longest) ids with padding on the right, and the lengths."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
    return ids, torch.tensor([len(row) for row in rows])


def rows_of(chosen: Sequence[Sequence[int]] | Tensor, layout: RowLayout) -> Rows:
    """Which old rows go on, a list for each sentence that stays; layout: of the old rows."""
    lists = [[int(row) for row in rows] for rows in chosen]
    owner = [sentence for sentence, count in enumerate(layout.counts) for _ in range(count)]
    stay = [owner[rows[0]] for rows in lists]
    assert all(owner[row] == sentence for rows, sentence in zip(lists, stay, strict=True) for row in rows)
    sentences = None if stay == list(range(layout.sentences)) else torch.tensor(stay)
    index = torch.tensor([row for rows in lists for row in rows])
    return Rows(index, sentences, RowLayout(tuple(map(len, lists))))


def sentences(lengths: Sequence[int], *, seed: int = 0, size: int = 13) -> list[list[int]]:
    """Random ids of these lengths, the end symbol last and counted."""
    generator = torch.Generator().manual_seed(seed)
    return [[*torch.randint(4, size, (length - 1,), generator=generator).tolist(), END] for length in lengths]


def value(x: Tensor) -> float:
    """A scalar whose gradient nobody wants."""
    return float(x.detach())


def batch(
    source: Sequence[Sequence[int]],
    target: Sequence[Sequence[int]],
    fertilities: Sequence[Sequence[int]] | None = None,
) -> Batch:
    """Pairs of ids with the end symbol last; fertilities: a number for each source id."""
    columns = {"source": column(source), "target": column(target)}
    if fertilities is not None:
        columns["fertilities"] = column(fertilities)
    return translation_batch(columns, start=START)


def column(rows: Sequence[Sequence[int]]) -> PaddedColumn:
    ids, lengths = padded(rows)
    return PaddedColumn(ids, lengths, PAD, positions=int(lengths.sum()))


LINES = [
    f"{subject} {verb} {thing}{mark}"
    for subject in ("the dog", "a cat", "our neighbour", "nobody")
    for verb in ("sees", "eats", "has lost", "paints")
    for thing in ("an apple", "the old house", "seven books", "its tail")
    for mark in (".", "!", " – Straße?")
]


@functools.cache
def sentence_pieces(*, joint: bool = True) -> SentencePieceTokenizer:
    """Learned on LINES: about 300 pieces, bytes for everything else."""
    settings = TokenizerConfig(vocab_size=300 if joint else None, joint=joint)
    return SentencePieceTokenizer.learn(settings, LINES, [line.upper() for line in LINES])


class Words:
    """A tokeniser whose ids and texts stand for each other: "5 7 4" is ids 5, 7, 4 and the end symbol."""

    pad, unknown, start, end, shared = PAD, UNKNOWN, START, END, True

    def __init__(self, size: int = 13) -> None:
        self.source_vocab_size = self.target_vocab_size = size

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        return [[*map(int, line.split()), END] for line in lines]

    encode_target = encode_source

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(str(token) for token in ids if token != END)

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        return [str(token) for token in ids]

    target_pieces = source_pieces

    def save(self, folder: Path) -> None:
        raise NotImplementedError


def model(tokenizer: Tokenizer | None = None, *, seed: int = 0, **changes: Any) -> Model:
    """A model with its tokeniser, ready for a translator or a folder."""
    tokenizer = tokenizer or sentence_pieces()
    dtype = changes.pop("dtype", torch.float64)
    network = transformer(words=vocabulary_of(tokenizer), seed=seed, dtype=dtype, **changes)
    return Model(network=network, config=network.config, tokenizer=tokenizer)


def scheme(body: Any) -> Any:
    """The scheme of a non-autoregressive network, or of an engine that replaces it."""
    return SCHEMES[body.config.decoder](body)


class Weights(Mapping[str, Tensor]):
    """What was recorded, the weights alone, by the modules' names."""

    def __init__(self, maps: Mapping[str, AttentionMap]) -> None:
        self.maps = maps

    def __getitem__(self, name: str) -> Tensor:
        return self.maps[name].weights

    def __iter__(self) -> Iterator[str]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)


@contextlib.contextmanager
def recorded_weights(network: nn.Module) -> Iterator[Weights]:
    with record_attention(network) as maps:
        yield Weights(maps)
