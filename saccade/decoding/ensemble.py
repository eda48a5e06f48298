"""Several models that write one translation together: the mean of their probabilities at each step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saccade.decoding.autoregressive import SearchDecoder, scored
from saccade.decoding.options import DecodingConfig
from saccade.errors import Unsupported
from saccade.models.families import Seq2Seq
from saccade.models.interface import IncrementalDecoder, Vocabulary
from saccade.models.recording import AttentionMap
from saccade.native.search import log_softmax_
from saccade.nn.rows import Rows


@dataclass(frozen=True)
class Parts:
    """A memory or a state of each member. Satisfies `SelectableMemory` and `State` if they do."""

    members: tuple[Any, ...]

    def select(self, rows: Rows | Tensor) -> "Parts":
        """See `State.select` and `SelectableMemory.select`."""
        return Parts(tuple(own.select(rows) for own in self.members))

    def join(self, fresh: "Parts") -> "Parts":
        """See `State.join`."""
        return Parts(tuple(own.join(new) for own, new in zip(self.members, fresh.members, strict=True)))


class MeanOutput:
    """The output layers of all members: the log of the mean of their probabilities.

    Satisfies `Projection`.
    """

    def __init__(self, members: Sequence[Any], widths: Sequence[int]) -> None:
        self.members, self.widths = members, list(widths)

    @property
    def out_features(self) -> int:
        """See `Projection.out_features`."""
        size: int = self.members[0].output.out_features
        return size

    def __call__(self, x: Tensor, /) -> Tensor:
        """Log-probabilities (rows, vocabulary) of x (rows, sum of widths), the members' hidden states."""
        parts = x.split(self.widths, -1)
        return mean_log_probs([one.output(part) for one, part in zip(self.members, parts, strict=True)])


class Ensemble:
    """Models or engines that write with one vocabulary, as one. Satisfies `IncrementalDecoder`.

    The probability of a token is the mean of the members' probabilities. If all members are networks, it also
    has the methods of `TeacherForced`.
    """

    def __init__(self, members: Sequence[Any]) -> None:
        """members: at least one; their vocabularies must be equal."""
        self.members = tuple(members)
        self.vocabulary: Vocabulary = self.members[0].vocabulary

    @property
    def joins(self) -> bool:
        """See `IncrementalDecoder.joins`."""
        return all(one.joins for one in self.members)

    @property
    def concurrent(self) -> bool:
        """See `IncrementalDecoder.concurrent`."""
        return all(one.concurrent for one in self.members)

    @property
    def max_source_length(self) -> int | None:
        """The longest source that every member can read; None means no limit."""
        return _least(one.max_source_length for one in self.members)

    @property
    def max_target_length(self) -> int | None:
        """The longest target that every member can write; None means no limit."""
        return _least(one.max_target_length for one in self.members)

    def encode(self, source: Tensor, source_lengths: Tensor) -> Parts:
        """See `IncrementalDecoder.encode`."""
        return Parts(tuple(one.encode(source, source_lengths) for one in self.members))

    def start(self, memory: Parts, max_length: int) -> Parts:
        """See `IncrementalDecoder.start`."""
        pairs = zip(self.members, memory.members, strict=True)
        return Parts(tuple(one.start(own, max_length) for one, own in pairs))

    def step(self, token: Tensor, state: Parts) -> tuple[Tensor, Parts]:
        """See `IncrementalDecoder.step`; the logits are log-probabilities."""
        stepped = [one.step(token, own) for one, own in zip(self.members, state.members, strict=True)]
        return mean_log_probs([logits for logits, _ in stepped]), Parts(tuple(own for _, own in stepped))

    def decode(self, target_in: Tensor, memory: Parts) -> Tensor:
        """See `TeacherForced.decode`: the members' hidden states side by side."""
        pairs = zip(self.members, memory.members, strict=True)
        return torch.cat([one.decode(target_in, own) for one, own in pairs], -1)

    @property
    def output(self) -> MeanOutput:
        """See `TeacherForced.output`."""
        return MeanOutput(self.members, [one.output.in_features for one in self.members])


def mean_log_probs(logits: Sequence[Tensor]) -> Tensor:
    """The log of the mean of the probabilities that logits (rows, vocabulary) stand for.

    The logits may be overwritten.
    """
    stacked = torch.stack([log_softmax_(one) for one in logits])  # (members, rows, vocabulary)
    mean: Tensor = stacked.logsumexp(0) - math.log(len(logits))
    return mean


class EnsembleDecoder(SearchDecoder):
    """Search, sampling and scoring with several networks that write token by token."""

    _refusal = (
        "an ensemble has no attention of its own, and no gradient of one model: look at one of its models."
    )

    def __init__(
        self,
        networks: Sequence[Seq2Seq[Any, Any]],
        make_engines: Sequence[Callable[[], IncrementalDecoder]],
    ) -> None:
        self.networks = Ensemble(networks)
        super().__init__(
            lambda: Ensemble([make() for make in make_engines]),
            self.networks.vocabulary,
            max_source_length=self.networks.max_source_length,
            max_target_length=self.networks.max_target_length,
        )
        self.device = networks[0].output.weight.device

    def log_probs(
        self,
        source: Tensor,
        source_lengths: Tensor,
        targets: Sequence[Sequence[int]],
        *,
        options: DecodingConfig | None = None,
        prefixes: Sequence[Sequence[int]] = (),
    ) -> Tensor:
        """See `Decoder.log_probs`."""
        return scored(self.networks, source, source_lengths, targets, options=options, prefixes=prefixes)

    def align(
        self,
        source: Tensor,  # noqa: ARG002 - refused whatever they are
        source_lengths: Tensor,  # noqa: ARG002
        targets: Sequence[Sequence[int]],  # noqa: ARG002
    ) -> list[AttentionMap]:
        """See `Decoder.align`."""
        raise Unsupported(self._refusal)


def _least(limits: Any) -> int | None:
    return min((one for one in limits if one is not None), default=None)
