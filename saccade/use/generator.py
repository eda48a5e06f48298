"""Using language models: scoring and continuing a text."""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Self, Unpack, cast

import numpy as np
import torch

from saccade.config import build, require_count
from saccade.decoding.continuation import continue_text
from saccade.decoding.keywords import ContinuationOptions
from saccade.decoding.text_options import ContinuationConfig
from saccade.errors import ConfigError, InputError
from saccade.inspection.language_model import inspect_text
from saccade.inspection.record import Inspection
from saccade.machine import chosen_device, usable_device
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models.families import LanguageModel, expect
from saccade.native.fork import survive_fork
from saccade.nn.loss import linear_cross_entropy
from saccade.nn.reading import OVERRIDABLE, LanguageModelConfig, MemoryConfig
from saccade.text.cache import Ids
from saccade.text.language_model import TextSize, text_size
from saccade.text.lines import require_lines, require_text
from saccade.text.streams import Streams
from saccade.text.vocabulary import without_surrogates
from saccade.use.loaded import LoadedModel, require_no_target
from saccade.use.problems import unknown_text
from saccade.use.results import Problem, described

MOST_STREAMS = 100_000
"""Bound of the parts of a text that are read in parallel."""


@dataclass(frozen=True)
class TextScore:
    """The score of a text. nats: minus its log-probability, including line ends."""

    nats: float
    size: TextSize

    @property
    def perplexity(self) -> float:
        """Perplexity per token, which depends on the tokeniser."""
        return _perplexity(self.nats / self.size.tokens)

    @property
    def word_perplexity(self) -> float:
        """Perplexity per word between white space or line end; comparable between tokenisers."""
        return _perplexity(self.nats / self.size.words)

    @property
    def bits_per_character(self) -> float:
        """Bits per character; comparable between tokenisers and languages."""
        return self.nats / math.log(2) / self.size.characters

    def as_dict(self) -> dict[str, float | int]:
        """The scores in JSON types."""
        scores = {
            name: getattr(self, name) for name in ("perplexity", "word_perplexity", "bits_per_character")
        }
        return {"nats": self.nats, **scores, **asdict(self.size)}


@dataclass(frozen=True)
class Continuation:
    """A continuation. text: the text after the prompt; tokens: its pieces; log_prob: their sum, in nats.

    problems: what is wrong with the prompt, that is, characters that the vocabulary lacks.
    """

    prompt: str
    text: str
    tokens: tuple[str, ...]
    log_prob: float
    problems: tuple[Problem, ...] = ()

    @property
    def problem(self) -> str | None:
        """The messages of `problems` in one line; None if there are none."""
        return described(self.problems)


class TextGenerator(LoadedModel):
    """A language model that is ready to score and generate text."""

    topic = "language-model"
    sections = ("model", "decoding")

    def __init__(self, model: Model, *, device: torch.device | str = "cpu", **settings: Any) -> None:
        """settings: settings of the model that its weights do not depend on, see `OVERRIDABLE`.

        Raises UserError for a model that is not a language model, or does not have such a setting.
        """
        survive_fork()
        expect(model.network, LanguageModel)
        self.model = _changed(model, settings)
        self.network = expect(self.model.network, LanguageModel)
        self.config = cast(LanguageModelConfig, self.model.config)
        self.device = usable_device(device)
        self.network.to(self.device)

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str | None = None, **settings: Any) -> Self:
        """Loads a model folder or a run folder (its best checkpoint). device: unset: a GPU if available."""
        place = chosen_device(device)
        made = cls(load_model(Path(folder)), device=place, **settings)
        made.reopen = partial(cls.load, Path(folder).absolute(), device=place, **settings)
        return made

    def score(self, lines: Sequence[str], *, streams: int = 1) -> TextScore:
        """The score of lines as one text, including line ends.

        streams: number of parts of the text that are read in parallel, which is faster. Each begins without
        memory, so that more parts give a slightly higher perplexity; one is exact.

        Raises UserError if there are no lines, and TypeError unless they are a list of str.
        """
        lines = require_lines(lines, "lines")
        require_count(streams, "streams", most=MOST_STREAMS)
        if not lines:
            raise InputError("the text is empty: there is nothing to score.")
        tokenizer = self.model.tokenizer
        ids = np.fromiter(chain.from_iterable(tokenizer.encode_target(lines)), dtype=np.uint32)
        return TextScore(self.nats(ids, streams=streams), text_size(lines, tokenizer))

    @torch.inference_mode()
    def nats(self, ids: Ids, *, streams: int) -> float:
        """Minus the log-probability in nats of a text given as ids; streams: see `score`."""
        network, pad = self.network, self.network.vocabulary.pad
        text = Streams(ids, min(streams, len(ids)))
        memory, total = network.start(text.count), 0.0
        for number in range(text.segments(self.config.segment)):
            read, gold = (
                torch.from_numpy(part).to(self.device)
                for part in text.segment(number, self.config.segment, pad=pad)
            )
            hidden, memory = network.read(read, memory)
            real = gold != pad
            total += float(
                linear_cross_entropy(hidden[real], network.output.weight, network.output.bias, gold[real])
            )
        return total

    def options(self, **changes: Unpack[ContinuationOptions]) -> ContinuationConfig:
        """The model's settings [decoding] with `changes`; raises UserError, naming it, for an invalid one."""
        return build(ContinuationConfig, {**self.model.decoding, **changes}, where="decoding")

    def generate(self, prompt: str = "", **options: Unpack[ContinuationOptions]) -> list[Continuation]:
        """Continues a text; options as in `ContinuationConfig` (tokens=200, temperature=0.8, ...).

        An empty prompt is the beginning of a line. Padding, start and unknown pieces are never written.
        Characters of the prompt that the vocabulary lacks are read as unknown, and reported as a problem.
        """
        require_text(prompt, "prompt")
        settings, tokenizer = self.options(**options), self.model.tokenizer
        prompt = without_surrogates(prompt)
        ids = list(chain.from_iterable(tokenizer.encode_target(prompt.split("\n"))))[:-1]
        found = continue_text(
            self._attentive().network,
            torch.tensor([tokenizer.end, *ids], device=self.device),
            options=settings,
            segment=self.config.segment,
            banned=(tokenizer.pad, tokenizer.start, tokenizer.unknown),
        )
        before, problems = self._text(ids), tuple(self._problems(prompt, ids))
        return [
            Continuation(
                prompt=prompt,
                text=self._text([*ids, *one.tokens]).removeprefix(before),
                tokens=tuple(tokenizer.target_pieces(one.tokens)),
                log_prob=one.log_prob,
                problems=problems,
            )
            for one in found
        ]

    def _with_settings(self, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        other = self._changed("with_settings", sections)
        decoding = {**self.model.decoding, **sections.get("decoding", {})}
        other.model = replace(_changed(self.model, sections.get("model", {})), decoding=decoding)
        other.network = expect(other.model.network, LanguageModel)
        other.config = cast(LanguageModelConfig, other.model.config)
        other.options()
        return other

    def inspect(
        self, text: str, target: str | None = None, *, attributions: bool = True, name: str = ""
    ) -> Inspection:
        """What the model does with a text: attention, and what the probability of each token rests on.

        The text is read in segments, of which the last is shown, with the memory before it. name: what the
        record is called on a page. Raises UserError for an empty text, one that is too long, and a target.
        """
        require_no_target(target)
        return inspect_text(
            self.network,
            self.model.tokenizer,
            text,
            segment=self.config.segment,
            device=self.device,
            attributions=attributions,
            name=name,
        )

    def unknown(self, text: str) -> int:
        """Number of tokens of a text for words or characters outside the vocabulary."""
        return text_size(text.split("\n"), self.model.tokenizer).unknown

    def _problems(self, prompt: str, ids: Sequence[int]) -> Iterator[Problem]:
        tokenizer = self.model.tokenizer
        if count := ids.count(tokenizer.unknown):
            lacking = unknown_text(prompt, tokenizer.encode_target, unknown=tokenizer.unknown)
            yield Problem("unknown", f"{count} token(s) of the prompt are not in the vocabulary: {lacking}")

    def _attentive(self) -> "TextGenerator":
        """A generator that sees its own text: a model without memory gets one as long as its segment."""
        if isinstance(self.config, MemoryConfig) and not self.config.memory and self.config.segment > 1:
            return TextGenerator(self.model, device=self.device, memory=self.config.segment - 1)
        return self

    def _text(self, ids: Sequence[int]) -> str:
        """The text of ids, in which an end symbol ends a line."""
        lines: list[list[int]] = [[]]
        for token in ids:
            if token == self.model.tokenizer.end:
                lines.append([])
            else:
                lines[-1].append(token)
        return "\n".join(self.model.tokenizer.decode(line) for line in lines)


def _changed(model: Model, settings: Mapping[str, Any]) -> Model:
    """A model with the same weights and other settings."""
    if not settings:
        return model
    kind = type(model.config)
    for name in settings:
        if name in kind.model_fields and name not in OVERRIDABLE:
            raise ConfigError(
                f"model.{name}: the weights depend on it; only {', '.join(OVERRIDABLE)} can be changed."
            )
    table = {**model.config.model_dump(mode="json", exclude_none=True), **settings}
    config = build(kind, table, where="model")
    network: Any = copy(model.network)  # shares the weights; networks have no other state than their settings
    network.config = config
    return replace(model, network=network, config=config)


def _perplexity(nats: float) -> float:
    return math.exp(min(nats, 700.0))
