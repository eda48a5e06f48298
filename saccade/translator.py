"""Lines in, translations out: the one decode path of command line, Python, validation and inspection."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from saccade.checkpoint import Model, load_model
from saccade.config import build
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.padding import padded
from saccade.decoding.scoring import Judge
from saccade.decoding.writing import Writing, writing_of
from saccade.engine import ready, why_slow
from saccade.errors import ConfigError, InputError, TooLong, Unsupported
from saccade.models.interface import LanguageModel, Translating
from saccade.models.recording import record_attention
from saccade.native.quantise import Precision
from saccade.text.batching import plan_for_inference
from saccade.text.tokenizer import between, same_pieces

Engine = Literal["saccade", "torch"]


@dataclass(frozen=True)
class Alternative:
    """One hypothesis in text. score: log_prob (nats, end symbol in) under the length penalty."""

    text: str
    tokens: tuple[str, ...]
    score: float
    log_prob: float


@dataclass(frozen=True)
class Translation:
    """The best hypothesis of one line, and the others when asked for.

    problem: why the line could not be translated; its text is then empty.
    attention: name to (heads, target, source) weights, when asked for.
    """

    source: str
    text: str
    tokens: tuple[str, ...] = ()
    score: float = 0.0
    log_prob: float = 0.0
    alternatives: tuple[Alternative, ...] = ()
    problem: str | None = None
    attention: "dict[str, Tensor] | None" = None


class Translator:
    """A model ready to translate. One line in, one line out, in order, whatever the line.

    Search may run on a copy of the weights, made at the first translation: a model that is trained
    further needs a new Translator. precision: of the products in search; int8 is faster and rounds;
    None: as the folder stores the weights, and float32 where int8 can't be had. teacher: a model that
    picks among the candidates of one that writes all words at once; UserError where it can't. engine:
    "torch" searches with the network itself, in float32, also where Saccade has a faster engine for it.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: torch.device | str = "cpu",
        precision: Precision | None = None,
        teacher: Model | None = None,
        engine: Engine = "saccade",
    ) -> None:
        network = model.network
        if isinstance(network, LanguageModel):
            raise Unsupported(
                "this is a language model: it continues text and does not translate.", topic="language-model"
            )
        self.model = model
        self.network: Translating = network
        self.device = torch.device(device)
        self.model.module.to(self.device)
        judge = None if teacher is None else self._judge(teacher)
        if engine == "torch" and precision == "int8":
            raise Unsupported("precision int8 needs Saccade's own engine; torch computes in float32.")
        made = None if engine == "torch" else _readily(network, precision, model.precision)
        self.writing: Writing = writing_of(network, made, judge)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str | None = None,
        precision: Precision | None = None,
        teacher: str | Path | None = None,
        engine: Engine = "saccade",
    ) -> "Translator":
        """From a model folder or a run folder (its best checkpoint); on the GPU when there is one."""
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        judge = None if teacher is None else load_model(Path(teacher))
        model = load_model(Path(folder))
        return cls(model, device=device, precision=precision, teacher=judge, engine=engine)

    def between(self, source: str | None = None, target: str | None = None) -> Self:
        """The same model for other languages, as it names them; None leaves one as it is.

        Raises UserError for an unknown language, and where the model has none to choose from.
        """
        other = copy(self)
        other.model = replace(self.model, tokenizer=between(self.model.tokenizer, source, target))
        return other

    def options(self, **changes: Any) -> Any:
        """The model's own decoding settings with `changes`, see `Writing.options`; UserError names a wrong
        one."""
        return build(self.writing.options, {**self.model.decoding, **changes}, where="decoding")

    def translate(
        self,
        lines: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        attention: bool = False,
        first_line: int = 0,
        **options: Any,
    ) -> list[Translation]:
        """Translate lines; options as in `DecodingConfig` (beam=5, sample=True, ...).

        prefixes: text that each translation must begin with. An empty line stays empty; a line that
        the model can't read gets a `problem` and is never cut silently. first_line: number of the
        first line where `lines` are part of a text; line numbers seed sampling.
        """
        decoding = self.options(**options)
        results: list[Translation | None] = [None] * len(lines)
        ids = self.model.tokenizer.encode_source(lines)
        forced = self._forced(prefixes, len(lines))
        pending = []
        for index, (line, source) in enumerate(zip(lines, ids, strict=True)):
            if not line.strip():
                results[index] = Translation(source=line, text="")
            elif problem := self.problem(source):
                results[index] = Translation(source=line, text="", problem=f"not translated: {problem}")
            else:
                pending.append(index)
        for index, hypotheses in self._decode(pending, ids, forced, decoding, first_line=first_line):
            result = self._translation(lines[index], hypotheses)
            if attention and hypotheses:
                end = self.model.network.vocabulary.end
                maps = self._attention(ids[index], [*hypotheses[0].tokens, end])
                result = replace(result, attention=maps)
            results[index] = result
        return [result for result in results if result is not None]

    def attention(self, source: str, target: str) -> dict[str, Tensor]:
        """Every attention of the model while it reads `source` and writes the given `target`.

        Returns module name -> (heads, query, key); queries and keys are the pieces of
        `pieces(source, target)`. Raises UserError where the target has no influence and is not the model's.
        """
        if not self.writing.reads_target and target != self.translate([source])[0].text:
            raise Unsupported(
                "this model fills the same slots whatever the target is: only the attention of its own "
                "translation can be shown. Leave the target out."
            )
        tokenizer = self.model.tokenizer
        source_ids, target_ids = tokenizer.encode_source([source])[0], tokenizer.encode_target([target])[0]
        if problem := self.problem(source_ids, target_ids):
            raise TooLong(problem)
        return self._attention(source_ids, target_ids)

    def pieces(self, source: str, target: str) -> tuple[list[str], list[str]]:
        """Source and target pieces as the model sees them: the axes of `attention`."""
        tokenizer = self.model.tokenizer
        source_ids, target_ids = tokenizer.encode_source([source])[0], tokenizer.encode_target([target])[0]
        with torch.inference_mode():
            axis = self.writing.axis(*self.padded([source_ids]), target_ids)
        return tokenizer.source_pieces(source_ids), tokenizer.target_pieces(axis)

    def stream(
        self,
        lines: Iterable[str],
        *,
        prefixes: Sequence[str] | None = None,
        chunk: int = 2000,
        **options: Any,
    ) -> Iterator[Translation]:
        """Translate lines as they come, `chunk` at a time, so that a file of any size fits in memory.

        prefixes: text that each translation must begin with; UserError when there are not as many as lines.
        """
        rest, first = iter(lines), 0
        while taken := list(islice(rest, chunk)):
            end = first + len(taken)
            if prefixes is not None and len(prefixes) < end:
                raise InputError(
                    f"there are {len(prefixes):,} prefixes but more lines: each line needs one prefix."
                )
            forced = None if prefixes is None else prefixes[first:end]
            yield from self.translate(taken, prefixes=forced, first_line=first, **options)
            first = end
        if prefixes is not None and first < len(prefixes):
            raise InputError(
                f"there are {len(prefixes):,} prefixes but {first:,} lines: each line needs one prefix."
            )

    def score(
        self, sources: Sequence[str], targets: Sequence[str], *, batch_tokens: int = 4096
    ) -> list[float]:
        """Log-probability in nats of each target given its source, end symbol in; empty lines included.

        Raises UserError for unequal counts, for a line longer than the model's limit, and for models that
        give a target no probability.
        """
        if len(sources) != len(targets):
            raise InputError(
                f"{len(sources):,} source lines, but {len(targets):,} target lines: line N of one belongs to "
                "line N of the other."
            )
        tokenizer = self.model.tokenizer
        source_ids, target_ids = tokenizer.encode_source(sources), tokenizer.encode_target(targets)
        pairs = list(zip(source_ids, target_ids, strict=True))
        for number, (source, target) in enumerate(pairs, start=1):
            if problem := self.problem(source, target):
                raise TooLong(f"line {number}: {problem}")
        lengths = [max(len(source), len(target)) for source, target in pairs]
        scores = [0.0] * len(lengths)
        for batch in plan_for_inference(lengths, batch_tokens=batch_tokens):
            rows = [int(index) for index in batch]
            values = self._log_probs([source_ids[i] for i in rows], [target_ids[i] for i in rows])
            for index, value in zip(rows, values, strict=True):
                scores[index] = value
        return scores

    @torch.inference_mode()
    def _attention(self, source: list[int], target: list[int]) -> dict[str, Tensor]:
        """Recorded in one pass over a finished target, end symbol in."""
        with record_attention(self.model.module) as maps:
            self.writing.run(*self.padded([source]), target)
        return {name: weights[0].cpu() for name, weights in maps.items()}

    @torch.inference_mode()
    def _log_probs(self, sources: list[list[int]], targets: list[list[int]]) -> list[float]:
        values = self.writing.log_probs(*self.padded(sources), targets)
        return [float(value) for value in values.tolist()]

    def _decode(
        self,
        pending: list[int],
        ids: list[list[int]],
        forced: list[list[int]],
        options: Any,
        *,
        first_line: int,
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        lengths = [len(ids[index]) for index in pending]
        budget = max(options.batch_tokens // options.rows_per_sentence, 1)
        for batch in plan_for_inference(lengths, batch_tokens=budget):
            rows = [pending[int(place)] for place in batch]
            source, source_lengths = self.padded([ids[index] for index in rows])
            found = self.writing.decode(
                source,
                source_lengths,
                options=options,
                lines=[first_line + index for index in rows],
                prefixes=[forced[index] for index in rows],
            )
            yield from zip(rows, found, strict=True)

    def padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Source ids (sentences, longest) and lengths (sentences,), where the model is."""
        return padded(sequences, pad=self.model.network.vocabulary.pad, device=self.device)

    def problem(self, source: Sequence[int], target: Sequence[int] = ()) -> str | None:
        """Why the model can't read or write so many ids; None where it can."""
        for ids, verb, limit in (
            (source, "reads", self.network.max_source_length),
            (target, "writes", self.network.max_target_length),
        ):
            if limit is not None and len(ids) > limit:
                return f"{len(ids)} pieces, but the model {verb} at most {limit}; split the line."
        return None

    def _judge(self, teacher: Model) -> Judge:
        if isinstance(teacher.network, LanguageModel):
            raise Unsupported("the re-ranker is a language model; give one that translates.")
        if not same_pieces(self.model.tokenizer, teacher.tokenizer):
            raise ConfigError(
                "the re-ranker has another vocabulary than this model. Train the student "
                "with training.teacher, which takes the teacher's vocabulary."
            )
        teacher.module.to(self.device).eval()
        return Judge.of(ready(teacher.network), teacher.decoding)

    def _forced(self, prefixes: Sequence[str] | None, count: int) -> list[list[int]]:
        """What must be written first: without a text, what every target begins with (a language)."""
        if prefixes is not None and len(prefixes) != count:
            raise ValueError(f"{len(prefixes)} prefixes for {count} lines")
        encode = self.model.tokenizer.encode_target
        if prefixes is None:
            return [encode([""])[0][:-1]] * count
        return [target[:-1] for target in encode(prefixes)]

    def _translation(self, line: str, hypotheses: list[Hypothesis]) -> Translation:
        tokenizer = self.model.tokenizer
        alternatives = tuple(
            Alternative(
                text=tokenizer.decode(found.tokens),
                tokens=tuple(tokenizer.target_pieces(found.tokens)),
                score=found.score,
                log_prob=found.log_prob,
            )
            for found in hypotheses
        )
        if not alternatives:
            return Translation(
                source=line, text="", problem="no translation within the length limits was found"
            )
        best = alternatives[0]
        return Translation(line, best.text, best.tokens, best.score, best.log_prob, alternatives)


def _readily(network: Translating, precision: Precision | None, stored: Precision) -> Callable[[], Any]:
    """What makes of the network what is driven in decoding."""
    return lambda: ready(network, precision=precision or ("float32" if why_slow(network) else stored))
