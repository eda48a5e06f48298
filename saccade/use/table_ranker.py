"""Using rankers: a table of candidates in, a probability for each row out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saccade.errors import InputError
from saccade.inspection.reading import inspect_reading, word_tokens
from saccade.inspection.record import Inspection
from saccade.model_folder.checkpoint import Model
from saccade.models.families import Ranker
from saccade.models.interface import Inputs
from saccade.text.batching import PaddedColumn, plan_for_inference
from saccade.text.lines import require_many
from saccade.text.ranking import SOURCE, ranking_columns
from saccade.text.table import Candidate, Candidates, TableFields, label_of, number_of, read_table
from saccade.use.loaded import require_no_target
from saccade.use.predictor import Predictor
from saccade.use.ranking_scores import RankingScores

_BATCH_CANDIDATES = 4096
_MOST_HISTORY = 4096


@dataclass(frozen=True)
class Ranked:
    """The candidates of a list: their values, and the probability of each. ranks: from 1, the best first."""

    rows: tuple[Mapping[str, str], ...]
    probabilities: tuple[float, ...] = ()
    problem: str | None = None

    @property
    def ranks(self) -> tuple[int, ...]:
        """The rank of each row among the others; of equal ones the first row is better."""
        order = sorted(range(len(self.rows)), key=lambda row: -self.probabilities[row])
        ranks = [0] * len(order)
        for rank, row in enumerate(order, start=1):
            ranks[row] = rank
        return tuple(ranks)

    def lines(self) -> list[str]:
        """For each row its probability, a tab and its rank."""
        return [f"{share:.6f}\t{rank}" for share, rank in zip(self.probabilities, self.ranks, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        """The list in JSON types."""
        return {
            "rows": [dict(row) for row in self.rows],
            "probabilities": list(self.probabilities),
            "ranks": list(self.ranks),
            "problem": self.problem,
        }


class TableRanker(Predictor):
    """A ranker that is ready to score the rows of tables."""

    family = Ranker
    network: Ranker
    unit = "lists"

    def __init__(self, model: Model, *, device: torch.device | str = "cpu") -> None:
        """Raises UserError for a model that is not a ranker."""
        super().__init__(model, device=device)
        assert isinstance(model.tokenizer, TableFields)
        self.tokenizer = model.tokenizer
        limit = self.network.max_history
        self._columns = ranking_columns(
            self.tokenizer, max_history=_MOST_HISTORY if limit is None else min(limit, _MOST_HISTORY)
        )

    def predict(self, lists: Sequence[Sequence[Mapping[str, Any]]]) -> list[Ranked]:
        """Scores lists of rows, each with its values by column.

        Raises UserError for a column that is missing, and for a number that is none.
        """
        require_many(lists, "lists")
        return self.run([self._candidates(number, rows) for number, rows in enumerate(lists)])

    def read(self, path: Path, *, answers: bool) -> Iterator[Candidates]:
        """See `Predictor.read`: the lists of a table."""
        return read_table(path, self.tokenizer.config, answers=answers)

    def run(self, items: Sequence[Candidates]) -> list[Ranked]:
        """See `Predictor.run`."""
        found: list[Ranked | None] = [None] * len(items)
        lengths = [len(one.rows) for one in items]
        for batch in plan_for_inference(lengths, batch_tokens=_BATCH_CANDIDATES):
            rows = [int(place) for place in batch]
            shares = self._probabilities([items[row] for row in rows])
            for row, own in zip(rows, shares, strict=True):
                found[row] = Ranked(tuple(one.values for one in items[row].rows), tuple(own))
        return [one for one in found if one is not None]

    def score(self, items: Iterable[Candidates]) -> RankingScores:
        """Compares probabilities with the labels of a table."""
        every = list(items)
        labels = [[label_of(row, self.tokenizer.config) for row in one.rows] for one in every]
        shares = [found.probabilities for found in self.run(every)]
        return RankingScores.of(zip(labels, shares, strict=True))

    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        """See `LoadedModel.inspect`. text: the name of a table, of which the first list is shown.

        With attention over fields, the first candidate is shown, with its fields along the axes.
        """
        require_no_target(target)
        first = next(self.read(Path(text), answers=False), None)
        if first is None:
            raise InputError(f"{text}: the table has no rows: there is nothing to show.")
        attends = self.network.config.attends
        shown = first if attends == "list" else Candidates(first.rows[:1])
        ids = self.tokenizer.ids(shown)
        names = self.tokenizer.source_pieces(ids[0].tolist())
        if attends == "list":
            names = [str(number) for number in range(1, len(shown.rows) + 1)]
        elif attends == "history":
            past = self.tokenizer.source_pieces(self.tokenizer.past(shown)[::-1])
            names = ["candidate", *past]
        inputs = self._inputs([shown])
        label = f"{self._probabilities([shown])[0][0]:.4f}"
        return inspect_reading(
            self.network,
            lambda: self.network.scores(inputs),
            word_tokens(names),
            [label],
            text=text,
            name=name,
        )

    def _candidates(self, number: int, rows: Sequence[Mapping[str, Any]]) -> Candidates:
        config, place = self.tokenizer.config, f"lists[{number}]"
        needed = [*self.tokenizer.names, *([config.history] if config.history else [])]
        found = []
        for row in rows:
            missing = [name for name in needed if name not in row]
            if missing:
                raise InputError(f"{place}: a row has no column {', '.join(missing)}.")
            found.append(Candidate({name: str(value) for name, value in row.items()}, place))
            for name in config.numbers:
                number_of(found[-1], name)
        if not found:
            raise InputError(f"{place}: a list without rows.")
        return Candidates(tuple(found))

    def _inputs(self, lists: Sequence[Candidates]) -> dict[str, PaddedColumn]:
        found: dict[str, PaddedColumn] = {}
        for one in self._columns:
            rows = one.encode(lists)
            lengths = torch.tensor([len(row) for row in rows])
            shape = (len(rows), int(lengths.max()), *one.column.shape)
            values = np.zeros(shape, dtype=one.column.batch_dtype)
            for own, row in zip(values, rows, strict=True):
                own[: len(row)] = row
            column = PaddedColumn(torch.from_numpy(values), lengths, 0, int(lengths.sum()))
            found[one.column.name] = column.to(self.device)
        return found

    def _probabilities(self, lists: Sequence[Candidates]) -> list[list[float]]:
        return probabilities(self.network, self._inputs(lists))


@torch.inference_mode()
def probabilities(network: Ranker, inputs: Inputs) -> list[list[float]]:
    """The probability of each candidate of some lists; listwise, those of a list sum to 1."""
    lengths = inputs[SOURCE].lengths
    scores = network.scores(inputs).double()
    real = torch.arange(scores.size(1), device=scores.device) < lengths[:, None]
    listwise: bool = network.config.listwise
    shares = scores.masked_fill(~real, -torch.inf).softmax(-1) if listwise else scores.sigmoid()
    return [own[:length] for own, length in zip(shares.tolist(), lengths.tolist(), strict=True)]
