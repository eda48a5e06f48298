"""The record of what a model does with one text, as values: maps, search, attributions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from saccade.decoding.trace import Rounds, Trace
from saccade.inspection.seen import Seen
from saccade.inspection.words import Tokens
from saccade.models.recording import AttentionKind, AttentionMap

Side = Literal["source", "sentence", "read", "target", "output"]
"""What stands along an axis. source: the pieces of the source; sentence: the same behind the token of the
whole sentence that mask-predict adds; read: what the decoder reads, the start symbol or memory first; target:
what is written, or the slots of CTC and the vertices of a graph; output: what these slots or vertices
write."""
Method = Literal["gradient", "erasure"]
"""How a token is attributed. gradient: the gradient of the log-probability times the token's embedding;
erasure: the log-probability minus that without the token."""
Part = Literal["maps", "search", "attributions", "log_probs", "text"]
Reason = Literal[
    "no-attention", "all-at-once", "masked", "language-model", "switched-off", "labels", "frames"
]
"""Why a part of a record is absent: the model has no attention; it writes all positions at once; a token of a
given target has a probability only given which others are masked; a language model has no search; it was not
asked for; the model labels a text; it reads frames of a picture or a sound."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of each head of a map with an attribution, the mean over output tokens.

    None for a head without a token for which the correlation is defined.
    """

    kind: AttentionKind
    layer: int
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Attribution:
    """What each token that was read (a column) contributes to each output token (a row), in nats.

    values (tokens of `Inspection.written`, side), NaN if undefined. side: the tokens along the columns.
    """

    method: Method
    side: Side
    values: Tensor
    correlations: tuple[Correlation, ...] = ()


@dataclass(frozen=True)
class Written:
    """A hypothesis of search. path: the index of its candidate in each step, empty if the trace lacks it."""

    text: str
    pieces: tuple[str, ...]
    log_prob: float
    score: float
    path: tuple[int, ...] = ()


@dataclass(frozen=True)
class Search:
    """The search for a translation. pieces: the piece of each id that occurs in the trace."""

    trace: Trace
    pieces: Mapping[int, str]


@dataclass(frozen=True)
class Passes:
    """The passes in which a non-autoregressive model wrote its translation.

    rounds: one for each pass. pieces: the piece of each id that occurs in them. slots: for each token of side
    "output", the places on side "target" that write it on the likeliest path; None if there is no such side.
    """

    rounds: Rounds
    pieces: Mapping[int, str]
    slots: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class Inspection:
    """What a model did with one text; `saccade.inspection.document` describes the form as JSON.

    name: what the record is called on a page. model: facts about the model. source, output: the texts; a
    language model has no source. given: whether the output was given and not written by the model. tokens:
    those along each axis. maps: the weights (heads, query, key) of every attention module, and `sides` the
    axes of each. written: the side whose tokens are the output. log_probs: of each of these, in nats. search,
    passes: how a model that writes token by token, or at once, found its translation. fertilities: of each
    source piece. places: for each output token, the source position that it labels or fills. picture: what
    the source positions lie on. memory: number of tokens at the beginning of side "read" that were read
    before the segment shown. absent: the parts that are not defined for this model, with the reason.
    """

    name: str
    model: Mapping[str, Any]
    source: str | None
    output: str
    given: bool
    tokens: Mapping[Side, Tokens]
    maps: tuple[AttentionMap, ...] = ()
    sides: tuple[tuple[Side, Side], ...] = ()
    written: Side = "target"
    log_probs: tuple[float, ...] | None = None
    hypotheses: tuple[Written, ...] = ()
    search: Search | None = None
    passes: Passes | None = None
    attributions: tuple[Attribution, ...] = ()
    fertilities: tuple[int, ...] | None = None
    places: tuple[int, ...] | None = None
    picture: Seen | None = None
    memory: int = 0
    absent: Mapping[Part, Reason] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The record in JSON types; see `saccade.inspection.document`."""
        from saccade.inspection.document import document

        return document([self])

    def save(self, path: str | Path) -> None:
        """Writes the record to a .json, .npz or .html file. Raises UserError if that is not possible."""
        from saccade.inspection.saving import save

        save([self], Path(path))

    def _repr_html_(self) -> str:
        """The page in a frame, which is how a notebook shows the record."""
        from saccade.inspection.saving import frame

        return frame([self])
