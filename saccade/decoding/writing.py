"""The two ways to write a target, behind one face: word by word, or all at once.

`writing_of` is where a model's way is chosen; nothing above asks what kind of model it has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from saccade.config import Section
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import DecodingConfig
from saccade.decoding.parallel import AllAtOnce
from saccade.decoding.scoring import Judge, target_log_probs
from saccade.decoding.search import search
from saccade.errors import Unsupported
from saccade.models.interface import Parallel, Seq2Seq, Stepwise, Translating


class Writing(Protocol):
    """Sources are (sentences, source) ids padded on the right, with lengths (sentences,); targets are lists
    of ids with the end symbol last."""

    @property
    def options(self) -> type[Section]:
        """The section `[decoding]`; its `batch_tokens` and `rows_per_sentence` size the batches."""
        ...

    @property
    def reads_target(self) -> bool:
        """Whether what `run` does depends on the target."""
        ...

    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: Any,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[Hypothesis]]:
        """Hypotheses of each sentence, best first. lines: their numbers, which seed what is drawn; prefixes:
        ids that each must begin with."""
        ...

    def log_probs(self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
        """Nats, float64 (sentences,), end symbol in where there is one."""
        ...

    def run(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> None:
        """One pass over a finished translation of one sentence, for its attention to be recorded."""
        ...

    def axis(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:
        """The ids along the target axis of that attention."""
        ...


@dataclass(frozen=True)
class WordByWord:
    """See `Writing`. ready: makes what search drives of the model, when it is first needed."""

    model: Seq2Seq
    ready: Callable[[], Stepwise]

    @cached_property
    def _searched(self) -> Stepwise:
        return self.ready()

    @property
    def options(self) -> type[Section]:
        """As ever."""
        return DecodingConfig

    @property
    def reads_target(self) -> bool:
        """Teacher-forced."""
        return True

    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: DecodingConfig,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[Hypothesis]]:
        """Search or sampling."""
        return search(self._searched, source, source_lengths, options=options, lines=lines, prefixes=prefixes)

    def log_probs(self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
        """Teacher-forced."""
        return target_log_probs(self.model, source, source_lengths, targets)

    def run(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> None:
        """Teacher-forced."""
        shifted = torch.tensor([[self.model.vocabulary.start, *target[:-1]]], device=source.device)
        self.model.decode(shifted, self.model.encode(source, source_lengths))

    def axis(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:  # noqa: ARG002
        """The target."""
        return list(target)


def writing_of(
    model: Translating, ready: Callable[[], Any] | None = None, judge: Judge | None = None
) -> Writing:
    """How this model writes. ready: makes of it something faster to drive, where there is such a thing;
    judge: who picks among the candidates of a non-autoregressive one.

    Raises UserError for a judge that would have nothing to do.
    """
    if isinstance(model, Parallel):
        return AllAtOnce(model, ready or (lambda: model), judge)
    if judge is not None:
        raise Unsupported("a re-ranker is for non-autoregressive models; this one decodes word by word.")
    return WordByWord(model, ready or (lambda: model))
