"""Tables, and rankers with random weights that read them, for tests."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from saccade.model_folder.checkpoint import Model
from saccade.text.table import FieldsConfig, TableFields
from tests.labelled import built

FIELDS = FieldsConfig(fields=("brand", "shop"), numbers=("price",), group="query", label="chosen")
PAST = FIELDS.model_copy(update={"history": "past", "item": "brand"})
HEADER = "query,brand,shop,price,past,chosen\n"


def tokenizer(config: FieldsConfig = FIELDS) -> TableFields:
    return TableFields(config, [["a", "b", "c"], ["x", "y"]], [(2.0, 0.5)])


def ranker(attends: str = "fields", **changes: Any) -> Model:
    """In float64, so that a mistake cannot pass as rounding."""
    table = {"kind": "ranker", "width": 12, "heads": 3, "feed_forward": 20, "attends": attends, **changes}
    return built(table, tokenizer(PAST if attends == "history" else FIELDS))


def write_lists(path: Path, *, count: int, seed: int, most: int = 4) -> None:
    """Lists in which the cheapest candidate is chosen, or with one candidate that of brand a."""
    generator = random.Random(seed)
    rows = []
    for query in range(count):
        size = generator.randint(1, most)
        prices = [round(generator.uniform(1, 3), 3) for _ in range(size)]
        past = " ".join(generator.choices("abc", k=generator.randint(0, 5)))
        for price in prices:
            brand, shop = generator.choice("abc"), generator.choice("xy")
            chosen = int(price == min(prices)) if size > 1 else int(brand == "a")
            rows.append(f"{query},{brand},{shop},{price},{past},{chosen}\n")
    path.write_text(HEADER + "".join(rows))
