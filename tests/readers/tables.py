"""Rankers of tables, over fields, a history and a list."""

from __future__ import annotations

from pathlib import Path

from tests.readers import SIZES, Reader, Refusal
from tests.tables import HEADER, write_lists

_TABLE = (
    *SIZES,
    *('tokenizer.fields=["brand","shop"]', 'tokenizer.numbers=["price"]'),
    *("tokenizer.group=query", "tokenizer.label=chosen"),
)
_OWN = {
    "fields": ("model.attends=fields",),
    "history": ("model.attends=history", "tokenizer.history=past", "tokenizer.item=brand"),
    "list": ("model.attends=list",),
}
_ROW = "1,a,x,2,a b,1\n"

_WRONG = (
    Refusal(HEADER.replace("price", "cost") + _ROW, "FILE:1: no column price"),
    Refusal(HEADER.replace("shop", "brand") + _ROW, "FILE:1: "),
    Refusal(HEADER + _ROW + "1,a,x,2\n", "FILE:3: 4 values for 6 columns"),
    Refusal(HEADER + _ROW.replace(",2,", ",nan,"), "FILE:2: price is 'nan' and no number"),
    Refusal(HEADER + _ROW.replace(",1\n", ",2\n"), "FILE:2: chosen is '2'; it has to be 0 or 1"),
    Refusal("", "FILE is empty"),
    Refusal(HEADER, "no list can be used"),
)
"""Tables that are wrong, for one of the readers, because they are read alike."""


def _write(path: Path, count: int, seed: int) -> None:
    write_lists(path, count=count, seed=seed)


READERS = {
    f"ranker, {attends}": Reader(
        "ranker",
        (*_TABLE, *own),
        _write,
        metrics=("log_loss", "ndcg", "hit"),
        scored="log-loss",
        shown=str,
        wrong=_WRONG if attends == "list" else (),
        unknown=Refusal(HEADER + _ROW.replace(",1\n", ",maybe\n"), "FILE:2: chosen is 'maybe'"),
        ending=".csv",
    )
    for attends, own in _OWN.items()
}
