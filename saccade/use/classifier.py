"""Using classifiers: texts in, a label for each text out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from saccade.errors import InputError, TooLong
from saccade.inspection.attribution.reading import LabelAttributor
from saccade.inspection.reading import inspect_reading, word_tokens
from saccade.inspection.record import Inspection
from saccade.model_folder.checkpoint import Model
from saccade.models.families import Classifier
from saccade.text.batching import PaddedColumn, plan_for_inference
from saccade.text.classification import LabelledText, read_texts, text_column
from saccade.text.corpus import Line
from saccade.text.examples import SOURCE
from saccade.text.inputs import padded_columns
from saccade.text.labelled import LabelledTokenizer
from saccade.text.lines import require_lines, require_text
from saccade.use.label_scores import LabelScores
from saccade.use.loaded import require_no_target
from saccade.use.predictor import Predictor

_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Classified:
    """A text with its label. probabilities: of every label. problem: the reason why it has none."""

    text: str
    label: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None

    def lines(self) -> list[str]:
        """The label, a tab and the text."""
        return [f"{self.label}\t{self.text}"]

    def as_dict(self) -> dict[str, Any]:
        """The text in JSON types."""
        return {
            "text": self.text,
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "problem": self.problem,
        }


class TextLabeller(Predictor):
    """A classifier that is ready to label texts."""

    family = Classifier
    network: Classifier
    unit = "lines"

    def __init__(self, model: Model, *, device: torch.device | str = "cpu") -> None:
        """Raises UserError for a model that is not a classifier."""
        super().__init__(model, device=device)
        self.tokenizer = cast(LabelledTokenizer, model.tokenizer)

    def predict(self, texts: Sequence[str]) -> list[Classified]:
        """Labels texts. An empty text has no label, and one that is too long gets a `problem`."""
        texts = require_lines(texts, "texts")
        found = [Classified(text) for text in texts]
        lengths = [len(ids) for ids in self.tokenizer.encode_source(texts)]
        limit, fitting = self.network.max_source_length, []
        for number, length in enumerate(lengths):
            if limit is not None and length > limit:
                problem = f"{length} pieces, but the model reads at most {limit}; shorten the text."
                found[number] = Classified(texts[number], problem=problem)
            elif texts[number].strip():
                fitting.append(number)
        for batch in plan_for_inference([lengths[number] for number in fitting], batch_tokens=_BATCH_TOKENS):
            rows = [fitting[int(place)] for place in batch]
            for row, shares in zip(rows, self._probabilities([texts[row] for row in rows]), strict=True):
                each = dict(zip(self.tokenizer.labels, shares, strict=True))
                found[row] = Classified(texts[row], max(each, key=each.__getitem__), each)
        return found

    def read(self, path: Path, *, answers: bool) -> Iterator[LabelledText]:
        """See `Predictor.read`: a text a line or, with answers, a label, a tab and a text."""
        return read_texts(path, labels=answers)

    def run(self, items: Sequence[LabelledText]) -> list[Classified]:
        """See `Predictor.run`."""
        return self.predict([one.text for one in items])

    def score(self, items: Iterable[LabelledText]) -> LabelScores:
        """Compares labels with those of a file.

        Raises UserError for a label that the model does not have, and for a text that it cannot read.
        """
        every = list(items)
        pairs = []
        for one, found in zip(every, self.run(every), strict=True):
            if found.problem is not None:
                raise TooLong(f"{one.place}: {found.problem}")
            pairs.append(tuple(self.tokenizer.numbers([one.label, found.label], place=one.place)))
        return LabelScores.of(self.tokenizer.labels, cast(list[tuple[int, int]], pairs))

    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        """See `LoadedModel.inspect`. The pooling is shown as attention of the label to the text."""
        require_no_target(target)
        require_text(text, "text")
        if not text.strip():
            raise InputError("the text is empty: there is nothing to show.")
        [found] = self.predict([text])
        if found.problem is not None:
            raise TooLong(found.problem)
        inputs = self._inputs([text])
        [ids] = self.tokenizer.encode_source([text])
        pieces = self.tokenizer.source_pieces(ids)
        tokens = word_tokens(pieces)
        label = self.tokenizer.labels.index(found.label)
        return inspect_reading(
            self.network,
            lambda: self.network.encode(inputs),
            tokens,
            [found.label],
            text=text,
            name=name,
            attributor=LabelAttributor(self.network, inputs, label),
        )

    def _inputs(self, texts: Sequence[str]) -> dict[str, PaddedColumn]:
        lines = [Line({SOURCE: text}, {}, 0) for text in texts]
        columns = padded_columns([text_column(self.tokenizer)], lines)
        return {name: column.to(self.device) for name, column in columns.items()}

    @torch.inference_mode()
    def _probabilities(self, texts: Sequence[str]) -> list[list[float]]:
        """The probability of each label for each of some texts."""
        logits = self.network.output(self.network.encode(self._inputs(texts)))
        found: list[list[float]] = logits.float().softmax(-1).tolist()
        return found
