"""Make the arrays of examples/vowels.toml: nine speakers who say two Japanese vowels, and score a baseline.

    python examples/vowels.py FOLDER

The recordings are 640 series of 7 to 29 frames with 12 cepstral coefficients (Japanese Vowels, Kudo, Toyama
and Shimbo 1999, UCI, CC BY 4.0), 270 to train on and 370 to test, as the wheel of aeon 1.6.0 has them
(BSD-3-Clause). Every ninth training series is for validation.

FOLDER/vowels gets an array (frames, 12) for each, and train.tsv, valid.tsv, test.tsv. The baseline is
logistic regression on mean and standard deviation of each coefficient, its first and its last value, with
an L2 penalty that the validation set chooses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from fetching import from_pip

PLACE = "aeon/datasets/data/JapaneseVowels/JapaneseVowels_{}.ts"
DIGESTS = {
    "TRAIN": "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
    "TEST": "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
}
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
Series = list[tuple[np.ndarray, str]]


def main() -> None:
    """Writes the arrays and prints the baseline's accuracy."""
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/vowels.py FOLDER")
    folder = Path(sys.argv[1])
    members = {PLACE.format(name): digest for name, digest in DIGESTS.items()}
    files = from_pip("aeon", "1.6.0", members, folder / "packages")
    training, test = (series(files[PLACE.format(name)].decode()) for name in DIGESTS)
    sets = {
        "train": [one for number, one in enumerate(training) if number % 9 != 4],
        "valid": [one for number, one in enumerate(training) if number % 9 == 4],
        "test": test,
    }
    place = folder / "vowels"
    (place / "arrays").mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        lines = []
        for number, (values, speaker) in enumerate(rows):
            np.save(place / f"arrays/{name}-{number:03d}.npy", values.astype(np.float32))
            lines.append(f"arrays/{name}-{number:03d}.npy\t{speaker}\n")
        (place / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
        print(f"{place / name}.tsv: {len(rows)} series")
    baseline(sets)


def series(text: str) -> Series:
    """The series (frames, 12) of a file and their speakers."""
    found = []
    for line in text.split("@data", 1)[1].split("\n"):
        if not line.strip():
            continue
        *coefficients, speaker = line.strip().split(":")
        values = np.array([[float(value) for value in one.split(",")] for one in coefficients])
        found.append((values.T, speaker))
    return found


def baseline(sets: dict[str, Series]) -> None:
    """Prints the accuracy of logistic regression on summaries of each series."""
    x = {
        name: torch.tensor(
            np.array([np.concatenate([v.mean(0), v.std(0), v[0], v[-1]]) for v, _ in rows])
        ).float()
        for name, rows in sets.items()
    }
    mean, deviation = x["train"].mean(0), x["train"].std(0)
    x = {name: (own - mean) / deviation for name, own in x.items()}
    y = {name: torch.tensor([int(speaker) - 1 for _, speaker in rows]) for name, rows in sets.items()}
    found = []
    for penalty in PENALTIES:
        weight = torch.zeros(x["train"].size(1), 9, requires_grad=True)
        bias = torch.zeros(9, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

        def loss(
            weight: torch.Tensor = weight,
            bias: torch.Tensor = bias,
            penalty: float = penalty,
            optimizer: torch.optim.Optimizer = optimizer,
        ) -> torch.Tensor:
            optimizer.zero_grad()
            value = torch.nn.functional.cross_entropy(x["train"] @ weight + bias, y["train"])
            value = value + penalty * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        right = {name: float(((x[name] @ weight + bias).argmax(1) == y[name]).float().mean()) for name in x}
        found.append((right["valid"], right["test"], penalty))
    valid, test, penalty = max(found)
    print(f"logistic regression on summaries (penalty {penalty:g}): valid {valid:.2%}, test {test:.2%}")


if __name__ == "__main__":
    main()
