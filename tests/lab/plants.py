"""Wrong implementations, one for each experiment of the lab, and the outcome that each forces.

Most make two things that an experiment compares into one, so that no seed of one can be better than those of
the other; the rest break a formula, or let a decoder read the references.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saccade.decoding.nonautoregressive.ctc import decode_ctc
from saccade.lab.bodies import ConvolutionalBody, RecurrentBody
from saccade.lab.experiments import (
    additive,
    beams,
    context,
    cost,
    data,
    exposure,
    extrapolation,
    fixed_vector,
    heads,
    induction,
    ladder,
    lookup,
    norms,
    parallel,
    query_key,
    race,
    residuals,
    scaling,
    sinusoids,
)
from saccade.lab.ladder import Bare
from saccade.lab.learning import translate
from saccade.lab.tagger import Shape
from saccade.models.recurrent import Recurrent
from saccade.nn.attention import AttentionPositions, CrossAttention, SelfAttention
from saccade.nn.positions import SinusoidalPositions
from saccade.nn.positions import sinusoids as table_of
from saccade.nn.scores import DotAlignment
from saccade.training.objective import CrossEntropy

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Plant:
    """A wrong implementation: how it is set in place, and the outcomes that it leaves.

    untrained: no model's learning decides about the verdict, so that the small run has another outcome too.
    """

    set: Callable[[Patch], None]
    outcomes: frozenset[str] = frozenset({"does not hold"})
    untrained: bool = False


# --- wrong formulas --------------------------------------------------------------------------------


def unscaled(query: Tensor, key: Tensor, **_: Any) -> Tensor:
    """Attention weights without the division by sqrt(d_k)."""
    return (query @ key.transpose(-2, -1)).softmax(-1)


def hardest(query: Tensor, key: Tensor, **_: Any) -> Tensor:
    """All of the weight on the largest score."""
    scores = query @ key.transpose(-2, -1)
    return (scores == scores.amax(-1, keepdim=True)).to(scores)


def sines_alone(length: int, width: int, **_: Any) -> Tensor:
    """Positions without the cosines."""
    table = table_of(length, width)
    table[:, 1::2] = 0
    return table


class LookingAhead(AttentionPositions):
    """A causal mask that is off by one."""

    def attend(self, query: Any, key: Any, value: Any, **_: Any) -> Tensor:
        past = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool).tril(1)
        scores = (query @ key.transpose(-2, -1)).masked_fill(~past, -torch.inf)
        found: Tensor = scores.softmax(-1) @ value
        return found


def reversed_heads(x: Tensor) -> Tensor:
    """Heads that are put together in the opposite order."""
    return x.flip(1).transpose(1, 2).flatten(2)


def first_key(self: Any, x: Tensor, *memory: Any, **_: Any) -> Tensor:
    """Weights of a module that looks at the first key whatever is asked."""
    keys = memory[0][0].size(-2) if memory else x.size(1)
    found = torch.zeros(x.size(0), self.heads, x.size(1), keys)
    found[..., 0] = 1
    return found


def constant_rate(_: int, *, config: Any, steps: int) -> float:
    """A schedule that forgets the warm-up."""
    rate: float = config.peak_rate
    return rate


# --- two that are one ------------------------------------------------------------------------------


def one_head(*sizes: Any, **more: Any) -> Shape:
    return Shape(*sizes, **{**more, "heads": 1})


def one_layer(*sizes: Any, **more: Any) -> Shape:
    return Shape(*sizes, **{**more, "layers": 1})


def without_memory(patch: Patch) -> None:
    """A language model that passes nothing on, whatever memory it is given."""
    real = context._reader
    patch.setattr(context, "_reader", lambda memory, seed: real(0, seed))


def narrow_heads(patch: Patch) -> None:
    patch.setattr(heads, "HEADS", (1, 2, 4))
    patch.setattr(heads, "Shape", one_head)


# --- decoders that read the references, and scores that compare answers with themselves ------------


def remembering(patch: Patch, module: ModuleType, peeks: Callable[..., bool]) -> None:
    """Lets the module's `translate` write the references wherever `peeks` of its arguments is true."""
    known: dict[tuple[int, ...], list[int]] = {}
    pair: Callable[[int], tuple[list[int], list[int]]] = module.pair

    def noted(number: int) -> tuple[list[int], list[int]]:
        source, target = pair(number)
        known[tuple(source)] = target
        return source, target

    def peeking(model: Any, sources: Sequence[list[int]], **options: Any) -> list[list[int]]:
        if peeks(model, **options):
            return [known[tuple(source)] for source in sources]
        return translate(model, sources, **options)

    patch.setattr(module, "pair", noted)
    patch.setattr(module, "translate", peeking)


def word_by_word(patch: Patch) -> None:
    """CTC that decodes again for each word, and more often than any translation has words.

    The clock counts the modules that are called, so that no load on the machine decides.
    """
    calls = 0
    call = nn.Module.__call__

    def repeated(*arguments: Any, **options: Any) -> Any:
        return [decode_ctc(*arguments, **options) for _ in range(40)][-1]

    def counted(module: nn.Module, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return call(module, *arguments, **options)

    patch.setattr(race, "decode_ctc", repeated)
    patch.setattr(nn.Module, "__call__", counted)
    patch.setattr("saccade.lab.timing.time", SimpleNamespace(process_time=lambda: calls))


def plant(module: Any, name: str, wrong: Any, **more: Any) -> Plant:
    """A plant that replaces one thing by another one."""
    return Plant(lambda patch: patch.setattr(module, name, wrong), **more)


PLANTS: dict[str, Plant] = {
    "scaling": plant(scaling, "attention_weights", unscaled, untrained=True),
    "future": Plant(
        lambda patch: patch.setattr("saccade.nn.attention.AttentionPositions", LookingAhead), untrained=True
    ),
    "padding": Plant(
        lambda patch: patch.setattr("saccade.models.transformer.padding_mask", lambda *_: None),
        untrained=True,
    ),
    "order": Plant(
        lambda patch: patch.setattr("saccade.lab.tagger._added", lambda _, width: SinusoidalPositions(width))
    ),
    "ladder": plant(ladder, "RUNGS", (Bare,) * 6),
    "heads": Plant(narrow_heads),
    "identities": Plant(
        lambda patch: patch.setattr("saccade.nn.attention.merge_heads", reversed_heads),
        frozenset({"only if", "does not hold"}),
        untrained=True,
    ),
    "query-key": plant(query_key.SameMatrix, "forward", lambda self, joint: joint, untrained=True),
    "additive": Plant(
        lambda patch: patch.setitem(additive.SCORES_OF, "additive", lambda _: DotAlignment()),
    ),
    "lookup": plant(lookup, "attention_weights", hardest, outcomes=frozenset({"holds"}), untrained=True),
    "sinusoids": plant(sinusoids, "sinusoids", sines_alone, untrained=True),
    "extrapolation": plant(extrapolation, "tag_accuracy", lambda *_: 1.0, outcomes=frozenset({"holds"})),
    "adding": Plant(lambda patch: patch.setattr("saccade.nn.attention.attention_weights", unscaled)),
    "residuals": plant(residuals, "Bare", lambda residual: residual),
    "norms": plant(norms, "OverTokens", nn.LayerNorm, untrained=True),
    "warmup": Plant(lambda patch: patch.setattr("saccade.lab.learning.learning_rate", constant_rate)),
    "smoothing": Plant(
        lambda patch: patch.setattr("saccade.lab.translating.CrossEntropy", lambda **_: CrossEntropy())
    ),
    "exposure": Plant(functools.partial(remembering, module=exposure, peeks=lambda *_, **__: True)),
    "forgetting": plant(RecurrentBody, "forward", lambda self, x, visible=None: x.cumsum(1), untrained=True),
    "cost": plant(cost, "SelfAttention", lambda width, **_: ConvolutionalBody(width)),
    "fixed-vector": plant(fixed_vector, "exact", lambda *_: 1.0),
    "context": Plant(without_memory),
    "parallel": plant(
        parallel,
        "translate",
        lambda *_: [list(target) for target in parallel.TRANSLATIONS],
        outcomes=frozenset({"only if", "does not hold"}),
    ),
    "race": Plant(word_by_word),
    "beams": Plant(
        functools.partial(remembering, module=beams, peeks=lambda _, beam=1, **__: beam > 1),
        frozenset({"holds"}),
    ),
    "alignment": plant(CrossAttention, "weights", first_key),
    "data": Plant(
        functools.partial(remembering, module=data, peeks=lambda model, **_: isinstance(model, Recurrent)),
        frozenset({"only if", "holds"}),
    ),
    "induction": plant(induction, "Shape", one_layer),
    "pronoun": plant(SelfAttention, "weights", first_key),
}
"""By the name of the experiment."""
