"""The record of a translation model: what it attends to, how it searched, and what its tokens rest on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.options import DecodingConfig
from saccade.decoding.padding import padded
from saccade.decoding.trace import Rounds, Trace
from saccade.errors import InputError, Unsupported
from saccade.inspection.attributed import attributed
from saccade.inspection.facts import facts
from saccade.inspection.limits import require_shown
from saccade.inspection.record import Inspection, Passes, Search, Side, Written
from saccade.inspection.words import Tokens, tokens_of
from saccade.models.recording import AttentionKind, AttentionMap
from saccade.text.tokenizer import Tokenizer
from saccade.text.vocabulary import without_surrogates

_AXES: Mapping[AttentionKind, tuple[Side, Side]] = {
    "encoder": ("source", "source"),
    "decoder": ("target", "read"),
    "cross": ("target", "source"),
    "positional": ("target", "target"),
}
_SENTENCE = "<sentence>"


class TranslationInspector:
    """Makes records with one decoder and its tokeniser."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, *, device: torch.device | str) -> None:
        self.decoder, self.tokenizer, self.device = decoder, tokenizer, device

    def inspect(
        self, text: str, target: str | None, *, options: Any, attributions: bool = True, name: str = ""
    ) -> Inspection:
        """The record of a text and its translation, or a given target.

        options: an instance of `Decoder.options`. attributions: whether they are computed; they take one run
        for each source token. Raises UserError for an empty text, one that is too long, and a model without
        the weights of its network.
        """
        text = without_surrogates(text)
        source = self._source(text)
        prefix = self.tokenizer.encode_target([""])[0][:-1]
        found, steps = self.decoder.traced(
            *self._batch(source), options=_all_hypotheses(options), prefix=prefix
        )
        if not found:
            raise Unsupported("no translation within the length limits was found.")
        end = self.decoder.vocabulary.end
        own = [*found[0].tokens, end]
        ids = own if target is None else self._target(without_surrogates(target))
        if not self.decoder.reads_target and ids != own:
            raise Unsupported(
                "the attention of this model does not depend on the target, so that only its own translation "
                "can be shown. Leave the target out."
            )
        require_shown(len(ids), "translation")
        return self._record(
            text,
            source,
            ids,
            given=target is not None,
            found=found,
            steps=steps,
            wanted=attributions,
            name=name,
        )

    def _record(
        self,
        text: str,
        source: list[int],
        target: list[int],
        *,
        given: bool,
        found: Sequence[Hypothesis],
        steps: Trace | Rounds,
        wanted: bool,
        name: str,
    ) -> Inspection:
        decoder, batch = self.decoder, self._batch(source)
        trace, rounds = (steps, ()) if isinstance(steps, Trace) else (None, steps)
        written = () if given else rounds
        with torch.inference_mode():
            maps = tuple(_single(one) for one in self.decoder.attended(*batch, target, written))
            axis = decoder.axis(*batch, target)
            fertilities = decoder.fertilities(*batch, target)
            slots = self._slots(batch, target)
        sides = tuple(self._sides(one, source=len(source)) for one in maps)
        attributions, log_probs, absent = attributed(
            decoder, batch[0], target, maps, rounds=written, slots=slots, wanted=wanted
        )
        if trace is None:
            absent["search"] = "all-at-once"
        if not maps:
            absent["maps"] = "no-attention"
        tokens = self._tokens(source, target, axis, used={side for pair in sides for side in pair})
        if slots is not None:
            tokens["output"] = tokens_of(self.tokenizer, self.tokenizer.target_pieces(target))
        return Inspection(
            name=without_surrogates(name),
            model=facts(decoder.network, maps),
            source=text,
            output=self.tokenizer.decode(target),
            given=given,
            tokens=tokens,
            maps=maps,
            sides=sides,
            written="target" if slots is None else "output",
            log_probs=log_probs,
            hypotheses=tuple(self._written(one, trace) for one in found),
            search=None if trace is None else Search(trace, self._pieces(trace)),
            passes=Passes(rounds, self._pieces_of(rounds), slots) if rounds else None,
            attributions=attributions,
            fertilities=None if fertilities is None else tuple(fertilities),
            absent=absent,
        )

    def _slots(self, batch: tuple[Tensor, Tensor], target: list[int]) -> tuple[tuple[int, ...], ...] | None:
        found = self.decoder.slots(*batch, target)
        return None if found is None else tuple(found)

    def _tokens(
        self, source: list[int], target: list[int], axis: list[int], *, used: set[Side]
    ) -> dict[Side, Tokens]:
        tokenizer, start = self.tokenizer, self.decoder.vocabulary.start
        pieces: dict[Side, list[str]] = {
            "source": tokenizer.source_pieces(source),
            "target": tokenizer.target_pieces(axis),
        }
        if "sentence" in used:
            pieces["sentence"] = [_SENTENCE, *pieces["source"]]
        if "read" in used:
            pieces["read"] = tokenizer.target_pieces([start, *target[:-1]])
        return {side: tokens_of(tokenizer, found) for side, found in pieces.items()}

    def _sides(self, one: AttentionMap, *, source: int) -> tuple[Side, Side]:
        queries, keys = _AXES[one.kind]
        if queries == "source" and one.weights.size(1) == source + 1:
            return "sentence", "sentence"
        if keys == "read" and not self.decoder.reads_before:
            return "target", "target"
        return queries, keys

    def _written(self, one: Hypothesis, trace: Trace | None) -> Written:
        tokenizer = self.tokenizer
        path = () if trace is None else path_of(trace, one.tokens, end=self.decoder.vocabulary.end)
        pieces = tuple(tokenizer.target_pieces(one.tokens))
        return Written(tokenizer.decode(one.tokens), pieces, one.log_prob, one.score, path)

    def _pieces(self, trace: Trace) -> dict[int, str]:
        return self._named({candidate.token for step in trace.steps for candidate in step})

    def _pieces_of(self, rounds: Rounds) -> dict[int, str]:
        candidates = {token for one in rounds for own in one.candidates for token, _ in own}
        return self._named(candidates.union(*(one.tokens for one in rounds)))

    def _named(self, tokens: Iterable[int]) -> dict[int, str]:
        ids = sorted(tokens)
        return dict(zip(ids, self.tokenizer.target_pieces(ids), strict=True))

    def _batch(self, source: list[int]) -> tuple[Tensor, Tensor]:
        return padded([source], pad=self.decoder.vocabulary.pad, device=self.device)

    def _source(self, text: str) -> list[int]:
        if not text.strip():
            raise InputError("the text is empty: there is nothing to show.")
        ids = self.tokenizer.encode_source([text])[0]
        require_shown(len(ids), "text", limit=self.decoder.max_source_length)
        return ids

    def _target(self, text: str) -> list[int]:
        if not text.strip():
            raise InputError("the target is empty: there is nothing to show.")
        ids = self.tokenizer.encode_target([text])[0]
        require_shown(len(ids), "target", limit=self.decoder.max_target_length)
        return ids


def _all_hypotheses(options: Any) -> Any:
    """The options with every hypothesis of the beam returned; the best one stays the same."""
    if isinstance(options, DecodingConfig) and not options.sample:
        return options.model_copy(update={"nbest": options.beam})
    return options


def _single(one: AttentionMap) -> AttentionMap:
    """The map of a single sentence, on the CPU: weights (heads, query, key) in float32."""
    return AttentionMap(one.kind, one.layer, one.weights[0].float().cpu())


def path_of(trace: Trace, tokens: Sequence[int], *, end: int) -> tuple[int, ...]:
    """The index of a hypothesis' candidate in each step, its end last; empty if the trace lacks it."""
    last = len(tokens)
    if last >= len(trace.steps):
        return ()
    for candidate in trace.steps[last]:
        if candidate.token == end and candidate.fate == "finished":
            path = trace.path(last, candidate)
            if [one.token for one in path[:-1]] == list(tokens):
                return tuple(step.index(one) for step, one in zip(trace.steps, path, strict=False))
    return ()
