"""Sentences that are decoded together with fixed sizes, for GPUs.

A GPU replays each step; the host looks at the results every few steps, and then moves the sentences that are
left to smaller tensors.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.decoding.fixed_beam import FixedBeam
from saccade.decoding.group import limits_of
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.limits import Limits
from saccade.decoding.options import DecodingConfig
from saccade.decoding.replay import Replay
from saccade.models.interface import FixedDecoder
from saccade.native.search import log_softmax_

LOOK_EVERY = 8
"""Number of steps between two looks at the results on a GPU; on a CPU a look costs nothing."""

_COLUMNS, _SOURCE = 32, 16  # target and source lengths are multiples of these, so that recorded steps recur
_MOST_KEPT = 16


class Sizes(NamedTuple):
    """The sizes that a recorded step has."""

    sentences: int
    columns: int
    source: int
    shared: tuple[object, ...]


class Workspace:
    """Tensors of fixed sizes, and the step that changes them."""

    def __init__(self, model: FixedDecoder, sizes: Sizes, *, options: DecodingConfig, limits: Limits) -> None:
        vocabulary = model.vocabulary.target_size
        self.model, self.sizes = model, sizes
        self.state = model.empty(sizes.sentences, options.beam, sizes.columns, sizes.source)
        self.beam = FixedBeam.empty(
            sizes.sentences, sizes.columns, options=options, limits=limits, vocabulary=vocabulary
        )
        self.step = Replay(self._step, limits.max_length.device)

    def fill(self, source: Tensor, source_lengths: Tensor, limits: Limits) -> None:
        """Begins with new sentences, at most as many as there are places."""
        more, longer = self.sizes.sentences - len(source_lengths), self.sizes.source - source.size(1)
        source = pad(source, (0, longer, 0, more), value=self.model.vocabulary.pad)
        self.model.fill(self.state, source, pad(source_lengths, (0, more), value=1))
        self.beam.fill(limits, start=self.model.vocabulary.start)

    def take(self, other: "Workspace", places: Sequence[int]) -> None:
        """Takes over the sentences at these places of a larger workspace."""
        index = torch.tensor(places, device=self.beam.step.device)
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):  # noqa: SLF001
            mine[: len(places)].copy_(theirs.index_select(0, index))
        self.beam.done[len(places) :] = True
        self.beam.step.copy_(other.beam.step)
        self.state.ancestry.step.copy_(other.state.ancestry.step)

    def _tensors(self) -> list[Tensor]:
        return [*self.state.tensors(), *self.beam.tensors()]

    def _step(self) -> None:
        logits = self.model.fixed_step(self.beam.last, self.state)
        parent = self.beam.advance(log_softmax_(logits))
        self.state.ancestry.follow(parent)


@dataclass
class Workspaces:
    """The workspaces of a model that nobody uses at present; the latest ones are kept."""

    _idle: "OrderedDict[int, Workspace]" = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(
        self, model: FixedDecoder, sizes: Sizes, *, options: DecodingConfig, limits: Limits
    ) -> Workspace:
        """An idle workspace of these sizes, or a new one."""
        with self._lock:
            for key, one in self._idle.items():
                if one.sizes == sizes and one.model is model:
                    return self._idle.pop(key)
        return Workspace(model, sizes, options=options, limits=limits)

    def give(self, workspace: Workspace) -> None:
        """Makes a workspace available to others."""
        with self._lock:
            self._idle[id(workspace)] = workspace
            while len(self._idle) > _MOST_KEPT:
                self._idle.popitem(last=False)


class FixedBatch:
    """Sentences that begin together and whose options agree in `DecodingConfig.shared`."""

    def __init__(
        self,
        model: FixedDecoder,
        workspaces: Workspaces,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: Sequence[DecodingConfig],
        prefixes: Sequence[Sequence[int]],
        handles: Sequence[int],
    ) -> None:
        """The arguments of `Search.add`. The first look is after `LOOK_EVERY` steps on a GPU."""
        self.model, self.workspaces, self.options = model, workspaces, options[0]
        self.limits = limits_of(model, source_lengths, options=options, prefixes=prefixes)
        self.handles: list[int | None] = [*handles]
        self.nbest = [one.nbest for one in options]
        self.every = 1 if source.device.type == "cpu" else LOOK_EVERY
        longest, self.steps = int(self.limits.max_length.max()), 0
        self.longest = longest
        shared = (*self.options.shared, self.options.beam)
        self.sizes = Sizes(
            places_for(len(handles)), _multiple(longest, _COLUMNS), _multiple(source.size(1), _SOURCE), shared
        )
        self.workspace = self._taken(self.sizes)
        self.workspace.fill(source, source_lengths, self.limits)

    def step(self) -> list[tuple[int, list[Hypothesis]]]:
        """Writes a token of every hypothesis; returns handles and hypotheses of what is seen to be done."""
        self.workspace.step()
        self.steps += 1
        if self.steps % self.every and self.steps < self.longest:
            return []
        done, finished = self.workspace.beam.done.tolist(), []
        for place, handle in enumerate(self.handles):
            if handle is not None and done[place]:
                finished.append((handle, self.workspace.beam.results(place)[: self.nbest[place]]))
                self.handles[place] = None
        if finished:
            self._shrink()
        return finished

    @property
    def present(self) -> list[int]:
        """Handles of the sentences that are not done."""
        return [handle for handle in self.handles if handle is not None]

    def drop(self, handle: int) -> None:
        """Gives up a sentence, if it is here."""
        if handle in self.handles:
            place = self.handles.index(handle)
            self.handles[place] = None
            self.workspace.beam.done[place] = True
            self._shrink()

    def best(self, handle: int) -> Hypothesis:
        """The best hypothesis so far of a sentence."""
        return self.workspace.beam.best(self.handles.index(handle))

    def _shrink(self) -> None:
        """Moves the sentences that are left to tensors of half the size or less, if they fit there."""
        kept = [place for place, handle in enumerate(self.handles) if handle is not None]
        places, before = places_for(len(kept)), self.workspace
        if kept and 2 * places > before.sizes.sentences:
            return
        if kept:
            self.workspace = self._taken(self.sizes._replace(sentences=places))
            self.workspace.take(before, kept)
        self.workspaces.give(before)
        self.handles = [self.handles[place] for place in kept]
        self.nbest = [self.nbest[place] for place in kept]

    def _taken(self, sizes: Sizes) -> Workspace:
        return self.workspaces.take(self.model, sizes, options=self.options, limits=self.limits)


def places_for(sentences: int) -> int:
    """The number of places for a number of sentences: a power of two, or one and a half times one."""
    power = 1 << max(sentences - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and sentences <= power * 3 // 4 else power


def _multiple(value: int, of: int) -> int:
    return -(-value // of) * of
