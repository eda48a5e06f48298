"""The record of a language model that reads a text: what each token attends to, and what it rests on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from saccade.errors import InputError
from saccade.inspection.attribution.text import TextAttributor
from saccade.inspection.correlation import correlations
from saccade.inspection.facts import facts
from saccade.inspection.limits import require_shown
from saccade.inspection.record import Attribution, Correlation, Inspection, Part, Reason, Side
from saccade.inspection.words import Tokens, tokens_of
from saccade.models.families import LanguageModel, Memory
from saccade.models.recording import AttentionMap, record_attention
from saccade.text.tokenizer import Tokenizer
from saccade.text.vocabulary import without_surrogates


def inspect_text(
    network: LanguageModel,
    tokenizer: Tokenizer,
    text: str,
    *,
    segment: int,
    device: torch.device | str,
    attributions: bool = True,
    name: str = "",
) -> Inspection:
    """The record of a text as a language model reads it.

    The model reads `segment` tokens at a time. The record shows the last segment, and as keys also the tokens
    before it that the model's memory holds. Raises UserError for an empty text, and one that is too long.
    """
    text = without_surrogates(text)
    ids = _ids(tokenizer, text)
    read, target = [tokenizer.end, *ids[:-1]], ids
    first = (len(ids) - 1) // segment * segment  # of the segment that is shown
    memory = _memory(network, read[:first], segment=segment, device=device)
    own = torch.tensor([read[first:]], device=device)
    gold = torch.tensor(target[first:], device=device)
    maps = _maps(network, own, memory)
    held = max((one.weights.size(2) - own.size(1) for one in maps), default=0)
    tokens: dict[Side, Tokens] = {
        "target": tokens_of(tokenizer, tokenizer.target_pieces(target[first:])),
        "read": tokens_of(tokenizer, tokenizer.target_pieces(read[first - held :])),
    }
    attributor = TextAttributor(network, own, gold, memory)
    with torch.inference_mode():
        log_probs = tuple(attributor.log_probs().tolist())
    return Inspection(
        name=without_surrogates(name),
        model=facts(network, maps),
        source=None,
        output=text,
        given=True,
        tokens=tokens,
        maps=maps,
        sides=(("target", "read"),) * len(maps),
        log_probs=log_probs,
        attributions=_attributions(attributor, maps, held) if attributions else (),
        memory=held,
        absent=_absent(maps, attributions=attributions),
    )


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text, line ends included."""
    if not text.strip():
        raise InputError("the text is empty: there is nothing to show.")
    ids = list(chain.from_iterable(tokenizer.encode_target(text.split("\n"))))
    require_shown(len(ids), "text")
    return ids


def _absent(maps: Sequence[AttentionMap], *, attributions: bool) -> dict[Part, Reason]:
    absent: dict[Part, Reason] = {"search": "language-model"}
    if not maps:
        absent["maps"] = "no-attention"
    if not attributions:
        absent["attributions"] = "switched-off"
    return absent


@torch.no_grad()
def _memory(
    network: LanguageModel, read: Sequence[int], *, segment: int, device: torch.device | str
) -> Memory:
    """The memory behind these tokens. Gradients are computed later, so no inference tensors are made."""
    memory = network.start(1)
    for first in range(0, len(read), segment):
        part = torch.tensor([list(read[first : first + segment])], device=device)
        _, memory = network.read(part, memory)
    return memory


@torch.inference_mode()
def _maps(network: LanguageModel, read: Tensor, memory: Memory) -> tuple[AttentionMap, ...]:
    """The maps (heads, query, key) of the tokens read (1, length); keys include those in memory."""
    with record_attention(network) as recorded:
        network.read(read, memory)
    # A model that reads its memory again has queries for it, too.
    return tuple(
        replace(one, weights=one.weights[0, :, -read.size(1) :].float().cpu()) for one in recorded.values()
    )


def _attributions(
    attributor: TextAttributor, maps: Sequence[AttentionMap], held: int
) -> tuple[Attribution, ...]:
    values: dict[Any, Tensor] = {"gradient": attributor.gradient(), "erasure": attributor.erasure()}
    found = []
    for method, value in values.items():
        own = tuple(
            Correlation(
                one.kind,
                one.layer,
                correlations(replace(one, weights=one.weights[..., held:]), value, causal=True),
            )
            for one in maps
        )
        # Tokens in memory are not attributed to: no gradient reaches them.
        unknown = torch.full((value.size(0), held), torch.nan, dtype=torch.float64)
        found.append(Attribution(method, "read", torch.cat([unknown, value], 1), own))
    return tuple(found)
