"""A decoder with its tokeniser: hypotheses of sentences of any number, in batches of similar length."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.options import DecodingConfig
from saccade.decoding.padding import padded
from saccade.text.batching import Plan, plan_for_inference
from saccade.text.tokenizer import Tokenizer
from saccade.use.minimum_risk import by_minimum_risk
from saccade.use.workers import each, workers_here

Ids = Sequence[Sequence[int]]


@dataclass(frozen=True)
class TextDecoder:
    """A decoder, the tokeniser of its model, and the device that both run on."""

    decoder: Decoder
    tokenizer: Tokenizer
    device: torch.device

    def padded(self, sequences: Ids) -> tuple[Tensor, Tensor]:
        """Padded source ids (sentences, longest) and lengths (sentences,), on the device."""
        return padded(sequences, pad=self.decoder.vocabulary.pad, device=self.device)

    def forced(self, prefixes: Sequence[str] | None, count: int) -> list[list[int]]:
        """The ids that each target must begin with: its prefix, or the token of the target language."""
        encode = self.tokenizer.encode_target
        if prefixes is None:
            return [encode([""])[0][:-1]] * count
        if len(prefixes) != count:
            raise ValueError(f"{len(prefixes)} prefixes for {count} lines")
        return [target[:-1] for target in encode(prefixes)]

    def hypotheses(
        self, ids: Ids, forced: Ids, *, rows: Sequence[int], options: Any, first_line: int
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        """Yields each of the `rows` of `ids` with its hypotheses, best first; not in order.

        forced: the ids that each target must begin with. first_line: the line number of row 0, for sampling.
        """
        plan, workers = self._plan([len(ids[row]) for row in rows], options)

        def decoded(batch: Iterable[int]) -> list[tuple[int, list[Hypothesis]]]:
            together = [rows[int(place)] for place in batch]
            source, source_lengths = self.padded([ids[row] for row in together])
            found = self.decoder.decode(
                source,
                source_lengths,
                options=options,
                lines=[first_line + row for row in together],
                prefixes=[forced[row] for row in together],
            )
            if getattr(options, "mbr", None) is not None:
                found = [self._by_risk(one, options) for one in found]
            return list(zip(together, found, strict=True))

        for found in each(decoded, plan, workers=workers):
            yield from found

    def _plan(self, lengths: Sequence[int], options: Any) -> tuple[Plan, int]:
        """The batches of sentences of these lengths, and how many of them are decoded at the same time."""
        budget = max(options.batch_tokens // options.rows_per_sentence, 1)
        plan = plan_for_inference(lengths, batch_tokens=budget)
        workers = workers_here() if len(plan) > 1 and self.decoder.concurrent(options) else 1
        if len(plan) < 2 * workers:  # the last ones would be waited for too long
            workers = 1
        if len(plan) % workers:  # smaller batches, so that all workers have one to the end
            rounds = len(plan) // workers + 1
            budget = max(budget * len(plan) // (rounds * workers), 1)
            plan = plan_for_inference(lengths, batch_tokens=budget)
        return plan, workers

    def _by_risk(self, hypotheses: list[Hypothesis], options: DecodingConfig) -> list[Hypothesis]:
        """The hypotheses of a line by expected utility, the greatest first."""
        texts = [self.tokenizer.decode(one.tokens) for one in hypotheses]
        assert options.mbr is not None
        return by_minimum_risk(hypotheses, texts, utility=options.mbr, sampled=options.sample)
