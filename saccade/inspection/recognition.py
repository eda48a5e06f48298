"""The record of a recogniser: what it looks at in a picture or a sound, and how it searched for the text."""

from dataclasses import replace

import torch
from torch import Tensor

from saccade.decoding.autoregressive import Autoregressive
from saccade.decoding.options import DecodingConfig
from saccade.decoding.trace import Trace
from saccade.errors import Unsupported
from saccade.inspection.facts import facts
from saccade.inspection.limits import require_shown
from saccade.inspection.reading import word_tokens
from saccade.inspection.record import Inspection, Search, Side, Written
from saccade.inspection.translation import path_of
from saccade.models.recording import AttentionKind, cross_maps
from saccade.text.tokenizer import Tokenizer

_SIDES: dict[AttentionKind, tuple[Side, Side]] = {
    "encoder": ("source", "source"),
    "decoder": ("target", "read"),
    "cross": ("target", "source"),
}


def inspect_recognition(
    decoder: Autoregressive,
    tokenizer: Tokenizer,
    source: Tensor,
    lengths: Tensor,
    *,
    options: DecodingConfig,
    text: str,
    name: str,
) -> Inspection:
    """The record of one file. source (1, frames, width), lengths (1,). text: what the file is called.

    Raises UserError for a file that is too long.
    """
    every = options if options.sample else options.model_copy(update={"nbest": options.beam})
    found, trace = decoder.traced(source, lengths, options=every, prefix=())
    if not found or not isinstance(trace, Trace):
        raise Unsupported("no text within the length limits was found.")
    vocabulary = decoder.vocabulary
    target = [*found[0].tokens, vocabulary.end]
    with torch.inference_mode():
        recorded = decoder.attention(source, lengths, target)
    maps = tuple(replace(one, weights=one.weights[0].float().cpu()) for one in recorded)
    positions = max(one.weights.size(-1) for one in cross_maps(maps))
    require_shown(positions, "file", topic="drawing")
    ids = sorted({candidate.token for step in trace.steps for candidate in step})
    return Inspection(
        name=name,
        model=facts(decoder.network, maps),
        source=text,
        output=tokenizer.decode(target),
        given=False,
        tokens={
            "source": word_tokens([str(number) for number in range(1, positions + 1)]),
            "target": word_tokens(tokenizer.target_pieces(target)),
            "read": word_tokens(tokenizer.target_pieces([vocabulary.start, *target[:-1]])),
        },
        maps=maps,
        sides=tuple(_SIDES[one.kind] for one in maps),
        hypotheses=tuple(
            Written(
                tokenizer.decode(one.tokens),
                tuple(tokenizer.target_pieces(one.tokens)),
                one.log_prob,
                one.score,
                path_of(trace, one.tokens, end=vocabulary.end),
            )
            for one in found
        ),
        search=Search(trace, dict(zip(ids, tokenizer.target_pieces(ids), strict=True))),
        absent={"attributions": "frames"},
    )
