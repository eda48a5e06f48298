"""The decoding loop: one model step for all hypotheses of all sentences, then the choice of the next ones.

Immutable values make that choice from the probabilities: `Beam` for beam search, `Samples` for greedy search
and sampling. This file moves tensors between them and the model.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.batch import Batch
from saccade.decoding.fixed import FixedBatch, Workspaces
from saccade.decoding.fixed_beam import may_be_fixed
from saccade.decoding.group import Group, Sentence
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import DecodingConfig
from saccade.decoding.trace import Trace
from saccade.models.interface import FixedDecoder, IncrementalDecoder
from saccade.native.search import log_softmax_
from saccade.nn.rows import RowLayout


class Search:
    """A search that decodes sentences together, a token per step; sentences may join or leave at any time.

    A sentence is identified by a number, its handle. Its result depends on its source and its own options
    alone, not on the sentences that are decoded with it.
    """

    def __init__(self, model: IncrementalDecoder, *, workspaces: Workspaces | None = None) -> None:
        """model: what the search drives. If its states cannot be joined, each `add` makes its own batch.

        workspaces: those of a `FixedDecoder`, whose sentences are then decoded with fixed sizes wherever that
        is possible; None: nothing is fixed, so that sentences can join.
        """
        self.model, self.workspaces = model, workspaces
        self._batches: list[Batch] = []
        self._fixed: list[FixedBatch] = []
        self._finished: list[tuple[int, list[Hypothesis]]] = []
        self._handles = 0

    @property
    def present(self) -> list[int]:
        """Handles of the sentences that are being decoded."""
        found = [one.handle for batch in self._batches for group in batch.groups for one in group.sentences]
        return found + [handle for batch in self._fixed for handle in batch.present]

    @property
    def done(self) -> bool:
        """Whether no sentence is being decoded; finished ones may still wait for `take_finished`."""
        return not self._batches and not self._fixed

    @torch.inference_mode()
    def add(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: DecodingConfig | Sequence[DecodingConfig],
        lines: Sequence[int] | None = None,
        prefixes: Sequence[Sequence[int]] | None = None,
        traces: Sequence[Trace | None] | None = None,
    ) -> list[int]:
        """Adds sentences: source (sentences, source) ids padded on the right, source_lengths (sentences,).

        options: the same for all, or one for each sentence. lines: line number of each sentence, which seeds
        its sampling; unset: its handle. prefixes: target ids that each result must start with. traces: a
        `Trace` that records the search for a sentence, or None. Returns a handle for each sentence.
        """
        sentences = source.size(0)
        handles = list(range(self._handles, self._handles + sentences))
        self._handles += sentences
        lines = handles if lines is None else lines
        prefixes = [()] * sentences if prefixes is None else prefixes
        traces = [None] * sentences if traces is None else traces
        if self.workspaces is not None and not any(traces) and isinstance(self.model, FixedDecoder):
            each = [options] * sentences if isinstance(options, DecodingConfig) else options
            if may_be_fixed(each):
                self._fixed.append(
                    FixedBatch(
                        self.model,
                        self.workspaces,
                        source,
                        source_lengths,
                        options=each,
                        prefixes=prefixes,
                        handles=handles,
                    )
                )
                return handles
        parts = _by_options(options, sentences)
        each = [options] * sentences if isinstance(options, DecodingConfig) else options
        groups = [
            Group.start(
                self.model,
                [
                    Sentence(handles[place], each[place].nbest, each[place].sample, traces[place])
                    for place in part
                ],
                options=[each[place] for place in part],
                source_lengths=source_lengths if len(parts) == 1 else source_lengths[part],
                lines=[lines[place] for place in part],
                prefixes=[prefixes[place] for place in part],
            )
            for part in parts
        ]
        if len(groups) > 1:  # the rows of a group must be adjacent
            order = [place for part in parts for place in part]
            source, source_lengths = source[order], source_lengths[order]
        longest = max(int(group.limits.max_length.max()) for group in groups)
        state = self.model.start(self.model.encode(source, source_lengths), longest)
        token = torch.full((sentences,), self.model.vocabulary.start, device=source.device)
        self._place(Batch(state, groups, token, RowLayout.even(sentences, 1)))
        return handles

    @torch.inference_mode()
    def step(self) -> None:
        """Extends every hypothesis of every sentence by one token."""
        for batch in self._batches:
            logits, batch.state = self.model.step(batch.token, batch.state)
            self._finished += batch.advance(log_softmax_(logits))
        self._batches = [batch for batch in self._batches if batch.groups]
        for fixed in self._fixed:
            self._finished += fixed.step()
        self._fixed = [fixed for fixed in self._fixed if fixed.handles]

    def take_finished(self) -> list[tuple[int, list[Hypothesis]]]:
        """Sentences finished since the last call: handle and up to `nbest` hypotheses, best first."""
        taken, self._finished = self._finished, []
        return taken

    @torch.inference_mode()
    def cancel(self, handle: int) -> None:
        """Removes a sentence from the search; a handle that is not present is ignored."""
        for batch in self._batches:
            batch.drop(handle)
        self._batches = [batch for batch in self._batches if batch.groups]
        for fixed in self._fixed:
            fixed.drop(handle)
        self._fixed = [fixed for fixed in self._fixed if fixed.handles]

    def best(self, handle: int) -> Hypothesis:
        """The best hypothesis so far of a sentence that is being decoded; raises KeyError for any other."""
        for batch in self._batches:
            for group in batch.groups:
                for place, one in enumerate(group.sentences):
                    if one.handle == handle:
                        return group.candidates.best(place)
        for fixed in self._fixed:
            if handle in fixed.present:
                return fixed.best(handle)
        raise KeyError(handle)

    def _place(self, fresh: Batch) -> None:
        if self._batches and self.model.joins:
            self._batches[0].join(fresh)
        else:
            self._batches.append(fresh)


def _by_options(options: DecodingConfig | Sequence[DecodingConfig], sentences: int) -> list[list[int]]:
    """Groups the places of sentences whose hypotheses can be advanced in one operation."""
    if isinstance(options, DecodingConfig):
        return [list(range(sentences))]
    found: dict[tuple[object, ...], list[int]] = {}
    for place, one in enumerate(options):
        found.setdefault(one.shared, []).append(place)
    return list(found.values())


def search(
    model: IncrementalDecoder,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: DecodingConfig | Sequence[DecodingConfig],
    lines: Sequence[int] | None = None,
    prefixes: Sequence[Sequence[int]] | None = None,
    traces: Sequence[Trace | None] | None = None,
    workspaces: Workspaces | None = None,
) -> list[list[Hypothesis]]:
    """Decodes a batch to its end; see `Search` and `Search.add` for the arguments.

    Returns up to `options.nbest` hypotheses for each sentence, best first, in the order of the sources.
    Finished sentences leave the batch.
    """
    running = Search(model, workspaces=workspaces)
    handles = running.add(
        source, source_lengths, options=options, lines=lines, prefixes=prefixes, traces=traces
    )
    while not running.done:
        running.step()
    found = dict(running.take_finished())
    return [found[handle] for handle in handles]
