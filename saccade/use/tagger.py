"""Using taggers: words in, a label for each word out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from saccade.errors import InputError, TooLong
from saccade.inspection.attribution.tags import TagAttributor
from saccade.inspection.reading import inspect_reading, word_tokens
from saccade.inspection.record import Inspection
from saccade.model_folder.checkpoint import Model
from saccade.models.families import Tagger, TaggerSettings
from saccade.text.batching import PaddedColumn, plan_for_inference
from saccade.text.conllu import Field, Sentence, read_sentences
from saccade.text.inputs import padded_columns
from saccade.text.labelled import LabelledTokenizer
from saccade.text.lines import require_lines, require_many, require_text
from saccade.text.tagging import sentence_reader
from saccade.use.label_scores import LabelScores
from saccade.use.loaded import require_no_target
from saccade.use.predictor import Predictor

_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Tagged:
    """A sentence with its labels. log_prob: the log-probability of all labels together, in nats.

    problem: the reason why a sentence has no labels. sentence: as its file has it, if it is from a file.
    """

    words: tuple[str, ...]
    labels: tuple[str, ...]
    log_prob: float = 0.0
    problem: str | None = None
    sentence: Sentence | None = None
    field: Field = "upos"

    def lines(self) -> list[str]:
        """The lines of the sentence with its labels, and a blank line; unchanged if it has a problem."""
        if self.sentence is not None and self.sentence.form != "words":
            unchanged = self.problem is not None
            own = self.sentence.lines if unchanged else self.sentence.labelled(self.labels, self.field)
            return [*own, ""]
        return [*(f"{word}\t{label}" for word, label in zip(self.words, self.labels, strict=False)), ""]

    def as_dict(self) -> dict[str, Any]:
        """The sentence in JSON types."""
        return {
            "words": list(self.words),
            "labels": list(self.labels),
            "log_prob": self.log_prob,
            "problem": self.problem,
        }


class WordLabeller(Predictor):
    """A tagger that is ready to label words."""

    family = Tagger
    network: Tagger
    unit = "sentences"

    def __init__(self, model: Model, *, device: torch.device | str = "cpu") -> None:
        """Raises UserError for a model that is not a tagger."""
        super().__init__(model, device=device)
        self.tokenizer = cast(LabelledTokenizer, model.tokenizer)
        self.field = cast(Field, self.tokenizer.field or "upos")
        self.reader = sentence_reader(self.tokenizer, spelled=cast(TaggerSettings, model.config).spelled)

    def predict(self, sentences: Sequence[str | Sequence[str]]) -> list[Tagged]:
        """Labels sentences, each a list of words, or a str whose words are separated by blanks.

        An empty sentence stays empty. A sentence that the model cannot read gets a `problem`.
        """
        require_many(sentences, "sentences")
        words = [
            tuple(one.split()) if isinstance(one, str) else tuple(require_lines(one, f"sentences[{number}]"))
            for number, one in enumerate(sentences)
        ]
        found = [Tagged(one, ()) for one in words]
        lengths = [len(self.reader.pieces(one)) for one in words]
        limit = self.network.max_source_length
        fitting = []
        for number, length in enumerate(lengths):
            if limit is not None and length > limit:
                problem = f"{length} pieces, but the model reads at most {limit}; split the sentence."
                found[number] = replace(found[number], problem=problem)
            elif words[number]:
                fitting.append(number)
        for batch in plan_for_inference([lengths[number] for number in fitting], batch_tokens=_BATCH_TOKENS):
            rows = [fitting[int(place)] for place in batch]
            labels, log_probs = self._label([words[row] for row in rows])
            for row, own, log_prob in zip(rows, labels, log_probs, strict=True):
                found[row] = Tagged(words[row], tuple(own), log_prob)
        return found

    def read(self, path: Path, *, answers: bool) -> Iterator[Sentence]:
        """See `Predictor.read`."""
        return read_sentences(path, field=self.field, labels=answers)

    def run(self, items: Sequence[Sentence]) -> list[Tagged]:
        """See `Predictor.run`."""
        found = self.predict([one.words for one in items])
        return [
            replace(one, sentence=sentence, field=self.field)
            for sentence, one in zip(items, found, strict=True)
        ]

    def score(self, items: Iterable[Sentence]) -> LabelScores:
        """Compares labels with those of a file.

        Raises UserError for a label that the model does not have, and for a sentence that it cannot read.
        """
        pairs: list[tuple[int, int]] = []
        right_unknown = all_unknown = 0
        for found in self.run(list(items)):
            sentence = cast(Sentence, found.sentence)
            if found.problem is not None:
                raise TooLong(f"{sentence.place}: {found.problem}")
            gold = self.tokenizer.numbers(sentence.labels, place=sentence.word_places)
            guessed = self.tokenizer.numbers(found.labels, place=sentence.place)
            pairs += zip(gold, guessed, strict=True)
            lacking = [
                own == one
                for own, one, known in zip(gold, guessed, self.reader.known(sentence.words), strict=True)
                if not known
            ]
            right_unknown, all_unknown = right_unknown + sum(lacking), all_unknown + len(lacking)
        return LabelScores.of(self.tokenizer.labels, pairs, unknown=(right_unknown, all_unknown))

    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        """See `LoadedModel.inspect`. The text is one sentence, whose words are separated by blanks."""
        require_no_target(target)
        require_text(text, "text")
        [found] = self.predict([text])
        if not found.words:
            raise InputError("the text is empty: there is nothing to show.")
        if found.problem is not None:
            raise TooLong(found.problem)
        inputs = self._inputs([found.words])
        return inspect_reading(
            self.network,
            lambda: self.network.encode(inputs),
            word_tokens(self.reader.pieces(found.words)),
            found.labels,
            text=text,
            name=name,
            attributor=TagAttributor(
                self.network, inputs, labels=[self.tokenizer.labels.index(one) for one in found.labels]
            ),
        )

    def _inputs(self, words: Sequence[Sequence[str]]) -> dict[str, PaddedColumn]:
        columns = padded_columns(self.reader.columns, self.reader.as_lines(words))
        return {name: column.to(self.device) for name, column in columns.items()}

    @torch.inference_mode()
    def _label(self, words: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[float]]:
        """The labels of sentences that are not empty, and the log-probability of each sentence's labels."""
        lengths = torch.tensor([len(one) for one in words], device=self.device)
        emissions = self.network.output(self.network.encode(self._inputs(words))).float()
        crf = self.network.crf
        if crf is not None:
            best, scores = crf.best(emissions, lengths)  # (sentences, words), (sentences,)
            log_probs = scores - crf.log_partition(emissions, lengths)
        else:
            each, best = emissions.log_softmax(-1).max(-1)
            real = torch.arange(best.size(1), device=self.device) < lengths[:, None]
            log_probs = each.masked_fill(~real, 0.0).sum(1)
        rows: list[list[int]] = best.tolist()
        labels = [self.tokenizer.target_pieces(row[: len(own)]) for row, own in zip(rows, words, strict=True)]
        return labels, log_probs.tolist()
