"""Options of earlier versions, and what is given instead."""

from saccade.commands.parameters import Renamed

_RERANKER = Renamed("--teacher", "--teacher is now --reranker.")
_PERPLEXITY = tuple(
    Renamed(
        name,
        f"{name} of `saccade evaluate`: texts are now scored with `saccade perplexity MODEL --text FILE`.",
        flag=name == "--same-length",
    )
    for name in ("--text", "--segment", "--memory", "--same-length", "--clamp-length", "--streams")
)

RENAMED = {"translate": (_RERANKER,), "evaluate": (_RERANKER, *_PERPLEXITY)}
"""By command."""
