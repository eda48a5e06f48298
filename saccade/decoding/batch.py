"""Sentences that are decoded together: one state of the model, and the groups whose rows it holds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.decoding.group import Group
from saccade.decoding.hypothesis import Hypothesis
from saccade.models.interface import State
from saccade.nn.rows import RowLayout, Rows


@dataclass
class _Move:
    """The change of a group in one step.

    first_row, first_sentence: its offsets in the old batch; row_count, sentence_count: its old size.
    rows: see `Candidates.advance`; kept: places of the sentences that stay, None if all do.
    """

    group: Group
    first_row: int
    first_sentence: int
    row_count: int
    sentence_count: int
    rows: Tensor | None = None
    kept: list[int] | None = None

    def index(self, device: torch.device) -> Tensor:
        """Index (rows,) of the old rows that continue, among the rows of all groups."""
        rows = self.rows
        if rows is None:
            rows = torch.arange(self.row_count, device=device).view(self.sentence_count, -1)
        if self.kept is not None:
            rows = rows[self.kept]
        return rows.flatten() + self.first_row if self.first_row else rows.flatten()

    @property
    def sentences(self) -> list[int]:
        """Indices of the old sentences that stay, among the sentences of all groups."""
        kept = range(self.sentence_count) if self.kept is None else self.kept
        return [self.first_sentence + place for place in kept]


@dataclass
class Batch:
    """A state whose rows are those of the groups, in order. token (rows,): the next input of each row."""

    state: State
    groups: list[Group]
    token: Tensor
    layout: RowLayout

    def advance(self, log_probs: Tensor) -> list[tuple[int, list[Hypothesis]]]:
        """Extends every hypothesis by one token; log_probs (rows, vocabulary).

        Returns handle and best hypotheses of each sentence that is done; these sentences leave the batch.
        """
        moves, finished = self._stay(), []
        for move in moves:
            group, first = move.group, move.first_row
            move.rows, done = group.advance(log_probs[first : first + move.row_count])
            if done is not None:
                finished += [group.result(place) for place, over in enumerate(done) if over]
                move.kept = [place for place, over in enumerate(done) if not over]
        self._go_on(moves)
        if len(self.groups) == 1:
            self.token = self.groups[0].candidates.last
        elif self.groups:
            self.token = torch.cat([group.candidates.last for group in self.groups])
        return finished

    def drop(self, handle: int) -> None:
        """Removes the sentence with this handle, if the batch holds it."""
        moves = self._stay()
        for move in moves:
            handles = [one.handle for one in move.group.sentences]
            if handle in handles:
                move.kept = [place for place, one in enumerate(handles) if one != handle]
        if (index := self._go_on(moves)) is not None:
            self.token = self.token[index]

    def join(self, fresh: "Batch") -> None:
        """Appends the sentences of another batch, which has not been stepped yet."""
        self.state = self.state.join(fresh.state)
        self.groups = self.groups + fresh.groups
        self.token = torch.cat([self.token, fresh.token])
        self.layout = self.layout.joined(fresh.layout)

    def _stay(self) -> list[_Move]:
        """A `_Move` for each group that leaves it unchanged."""
        moves, row, sentence = [], 0, 0
        for group in self.groups:
            moves.append(_Move(group, row, sentence, group.rows, len(group.sentences)))
            row, sentence = row + group.rows, sentence + len(group.sentences)
        return moves

    def _go_on(self, moves: list[_Move]) -> Tensor | None:
        """Applies the moves to the groups and the state; groups that fit together become one.

        Returns the index of the old rows that the new ones continue, None if every row stays in its place.
        """
        merged: list[tuple[Group, list[_Move]]] = []
        for move in moves:
            if move.kept is not None:
                if not move.kept:
                    continue
                move.group.select(move.kept)
            for group, members in merged:
                if group.fits(move.group):
                    group.join(move.group)
                    members.append(move)
                    break
            else:
                merged.append((move.group, [move]))
        self.groups = [group for group, _ in merged]
        order = [move for _, members in merged for move in members]
        if not order or (order == moves and all(move.rows is None and move.kept is None for move in moves)):
            return None
        index = [move.index(self.token.device) for move in order]
        rows = index[0] if len(index) == 1 else torch.cat(index)
        self._select(rows, [place for move in order for place in move.sentences])
        return rows

    def _select(self, index: Tensor, sentences: list[int]) -> None:
        """Selects these rows and sentences, in this order, from the state."""
        counts = tuple(
            count for group in self.groups for count in (group.candidates.hypotheses,) * len(group.sentences)
        )
        layout = self.layout if counts == self.layout.counts else RowLayout(counts)
        stay = sentences == list(range(self.layout.sentences))
        kept = None if stay else torch.tensor(sentences, device=index.device)
        self.state = self.state.select(Rows(index, kept, layout))
        self.layout = layout
