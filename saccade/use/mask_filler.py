"""Using masked language models: gaps in a text are filled, and texts become vectors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from saccade.config import require_count
from saccade.errors import InputError, TooLong
from saccade.inspection.attribution.gaps import GapAttributor
from saccade.inspection.reading import inspect_reading, word_tokens
from saccade.inspection.record import Inspection
from saccade.model_folder.checkpoint import Model
from saccade.models.families import MaskedLanguageModel
from saccade.text.batching import PaddedColumn, plan_for_inference
from saccade.text.examples import SOURCE
from saccade.text.lines import require_lines, require_text
from saccade.text.reading import text_lines
from saccade.text.wordpiece import WordPieceTokenizer
from saccade.use.loaded import require_no_target
from saccade.use.predictor import Embedded, Filled, Predictor

_BATCH_TOKENS = 4096
_MOST_PIECES = 1000


@dataclass(frozen=True)
class FilledText:
    """A text and the most probable piece for each of its gaps.

    filled: the text with these pieces; places: for each gap, its pieces, the best ones first. problem: the
    reason why it was not read.
    """

    text: str
    filled: str
    places: tuple[tuple[Filled, ...], ...] = ()
    problem: str | None = None

    def lines(self) -> list[str]:
        """The text with its gaps filled."""
        return [self.filled]

    def as_dict(self) -> dict[str, Any]:
        """The text in JSON types."""
        places = [[vars(one) for one in place] for place in self.places]
        return {"text": self.text, "filled": self.filled, "places": places, "problem": self.problem}


class MaskFiller(Predictor):
    """A masked language model that is ready to fill gaps, written [MASK], and to embed texts."""

    family = MaskedLanguageModel
    network: MaskedLanguageModel
    unit = "lines"

    def __init__(self, model: Model, *, device: torch.device | str = "cpu") -> None:
        """Raises UserError for another model."""
        super().__init__(model, device=device)
        self.tokenizer = cast(WordPieceTokenizer, model.tokenizer)

    def predict(self, texts: Sequence[str], *, top: int = 5) -> list[FilledText]:
        """Fills the gaps of texts. A text that is too long gets a `problem`."""
        texts = require_lines(texts, "texts")
        require_count(top, "top", most=_MOST_PIECES)
        found = [FilledText(text, text) for text in texts]
        ids = self.tokenizer.encode_source(texts)
        masked = []
        for number, own in enumerate(ids):
            if problem := self._too_long(own):
                found[number] = FilledText(texts[number], texts[number], problem=problem)
            elif self.tokenizer.mask in own:
                masked.append(number)
        for rows, states in self._batches(ids, masked):
            for row, own in zip(rows, states, strict=True):
                found[row] = self._filled(texts[row], ids[row], own, top)
        return found

    def fill(self, text: str, *, top: int = 5) -> list[list[Filled]]:
        """See `Predictor.fill`. Raises UserError for a text without [MASK], and one that is too long."""
        require_text(text, "text")
        [found] = self.predict([text], top=top)
        if found.problem is not None:
            raise TooLong(found.problem)
        if not found.places:
            raise InputError("the text has no gap: write [MASK] where a piece is to be filled in.")
        return [list(place) for place in found.places]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        """See `Predictor.embed`. A text's vector is the mean of its pieces' states, or the model's pooler's.

        Raises UserError, naming the line, for a text that is too long.
        """
        texts = require_lines(texts, "texts")
        ids = self.tokenizer.encode_source(texts)
        for number, own in enumerate(ids, start=1):
            if problem := self._too_long(own):
                raise TooLong(f"line {number}: {problem}")
        found: dict[int, Embedded] = {}
        for rows, states in self._batches(ids, range(len(ids))):
            pooled = self.network.pooled(states)
            for place, row in enumerate(rows):
                each = states[place, : len(ids[row])].float().cpu()
                vector = each.mean(0) if pooled is None else pooled[place].float().cpu()
                pieces = tuple(self.tokenizer.source_pieces(ids[row]))
                found[row] = Embedded(texts[row], pieces, each, vector)
        return [found[row] for row in range(len(texts))]

    def read(self, path: Path, *, answers: bool) -> Iterator[str]:  # noqa: ARG002
        """See `Predictor.read`: the lines of a text."""
        return text_lines(path)

    def run(self, items: Sequence[str]) -> list[FilledText]:
        """See `Predictor.run`."""
        return self.predict(items)

    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        """See `LoadedModel.inspect`. The labels are the pieces that the model predicts for the gaps."""
        require_no_target(target)
        require_text(text, "text")
        if not text.strip():
            raise InputError("the text is empty: there is nothing to show.")
        [found] = self.predict([text], top=1)
        if found.problem is not None:
            raise TooLong(found.problem)
        [ids] = self.tokenizer.encode_source([text])
        inputs = {SOURCE: self._column([ids])}
        gaps = [place for place, number in enumerate(ids) if number == self.tokenizer.mask]
        return inspect_reading(
            self.network,
            lambda: self.network.encode(inputs[SOURCE]),
            word_tokens(self.tokenizer.source_pieces(ids)),
            [place[0].piece for place in found.places],
            text=text,
            name=name,
            attributor=GapAttributor(self.network, inputs, gaps=gaps) if gaps else None,
        )

    def _too_long(self, ids: Sequence[int]) -> str | None:
        limit = self.network.max_source_length
        if limit is None or len(ids) <= limit:
            return None
        return f"{len(ids)} pieces, but the model reads at most {limit}; split the text."

    @torch.inference_mode()
    def _batches(
        self, ids: Sequence[Sequence[int]], chosen: Sequence[int]
    ) -> Iterator[tuple[list[int], Tensor]]:
        """The states (rows, longest, width) of some texts, in batches, and which texts they are."""
        if not chosen:
            return
        lengths = [len(ids[number]) for number in chosen]
        for batch in plan_for_inference(lengths, batch_tokens=_BATCH_TOKENS):
            rows = [chosen[int(place)] for place in batch]
            yield rows, self.network.encode(self._column([ids[row] for row in rows]))

    def _column(self, ids: Sequence[Sequence[int]]) -> PaddedColumn:
        lengths = torch.tensor([len(own) for own in ids])
        values = torch.full((len(ids), int(lengths.max())), self.tokenizer.pad)
        for row, own in enumerate(ids):
            values[row, : len(own)] = torch.tensor(own)
        return PaddedColumn(values, lengths, self.tokenizer.pad, int(lengths.sum())).to(self.device)

    @torch.inference_mode()
    def _filled(self, text: str, ids: list[int], states: Tensor, top: int) -> FilledText:
        places = [place for place, number in enumerate(ids) if number == self.tokenizer.mask]
        logits = self.network.output(self.network.hidden(states[places])).float()
        best = logits.softmax(-1).topk(min(top, logits.size(-1)))  # each (gaps, top)
        every = []
        filled = list(ids)
        for gap, place in enumerate(places):
            numbers = best.indices[gap].tolist()
            ways = []
            for number, probability in zip(numbers, best.values[gap].tolist(), strict=True):
                whole = self.tokenizer.decode([*ids[:place], number, *ids[place + 1 :]])
                ways.append(Filled(self.tokenizer.source_pieces([number])[0], probability, whole))
            every.append(tuple(ways))
            filled[place] = numbers[0]
        return FilledText(text, self.tokenizer.decode(filled), tuple(every))
