"""Make the texts of examples/ewt-genres.toml from the treebank EWT, and score logistic regression on them.

    python examples/ewt_genres.py FOLDER

FOLDER holds en_ewt-ud-{train,dev,test}.conllu of
https://github.com/UniversalDependencies/UD_English-EWT (CC BY-SA 4.0), plain or as .gz. The genre of a
sentence is the first word of its id: answers, email, newsgroup, reviews or weblog. Each FOLDER/NAME.tsv gets
a genre, a tab and the words of a sentence on each line.

The baseline is logistic regression on counts of lower-cased words that occur twice or more, with an L2
penalty that the dev text chooses, trained to convergence.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import torch

from saccade.text.conllu import read_sentences

NAMES = ("train", "dev", "test")
PENALTIES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)


def main() -> None:
    """Writes the files and prints the baseline's accuracy."""
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/ewt_genres.py FOLDER")
    folder = Path(sys.argv[1])
    texts = {name: genres(folder, name) for name in NAMES}
    for name, rows in texts.items():
        lines = "".join(f"{label}\t{' '.join(words)}\n" for label, words in rows)
        (folder / f"{name}.tsv").write_text(lines, encoding="utf-8")
        print(f"{folder / name}.tsv: {len(rows):,} texts")
    baseline(texts)


def genres(folder: Path, name: str) -> list[tuple[str, tuple[str, ...]]]:
    """The genre and the words of each sentence."""
    plain = folder / f"en_ewt-ud-{name}.conllu"
    path = plain if plain.exists() else plain.with_name(f"{plain.name}.gz")
    found = []
    for sentence in read_sentences(path, field="upos", labels=False):
        [ident] = [line for line in sentence.lines if line.startswith("# sent_id = ")]
        found.append((ident.removeprefix("# sent_id = ").partition("-")[0], sentence.words))
    return found


def baseline(texts: dict[str, list[tuple[str, tuple[str, ...]]]]) -> None:
    """Prints the accuracy of logistic regression on counts of words."""
    labels = sorted({label for label, _ in texts["train"]})
    counts = Counter(word.lower() for _, words in texts["train"] for word in words)
    words = {word: number for number, word in enumerate(w for w, count in counts.items() if count > 1)}
    sets = {name: (features(rows, words), gold(rows, labels)) for name, rows in texts.items()}
    best = (0.0, 0.0, 0.0)
    for penalty in PENALTIES:
        weight, bias = fitted(*sets["train"], classes=len(labels), penalty=penalty)
        dev, test = (accuracy(weight, bias, *sets[name]) for name in ("dev", "test"))
        best = max(best, (dev, test, penalty))
    dev, test, penalty = best
    most = Counter(label for label, _ in texts["train"]).most_common(1)[0][0]
    share = sum(label == most for label, _ in texts["test"]) / len(texts["test"])
    print(f"always {most}: test {share:.2%}")
    print(f"logistic regression on word counts (penalty {penalty:g}): dev {dev:.2%}, test {test:.2%}")


def features(rows: list[tuple[str, tuple[str, ...]]], words: dict[str, int]) -> torch.Tensor:
    """Counts of words (texts, words), sparse."""
    places = [
        (row, words[word.lower()])
        for row, (_, own) in enumerate(rows)
        for word in own
        if word.lower() in words
    ]
    index = torch.tensor(places).t()
    size = (len(rows), len(words))
    ones = torch.ones(index.size(1))
    return torch.sparse_coo_tensor(index, ones, size, check_invariants=False).coalesce()


def gold(rows: list[tuple[str, tuple[str, ...]]], labels: list[str]) -> torch.Tensor:
    """The number of each text's label."""
    return torch.tensor([labels.index(label) for label, _ in rows])


def fitted(
    x: torch.Tensor, y: torch.Tensor, *, classes: int, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases at the minimum of mean cross-entropy plus the penalty."""
    weight = torch.zeros(x.size(1), classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(torch.sparse.mm(x, weight) + bias, y)
        value = value + penalty * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def accuracy(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of texts whose label is the most probable one."""
    return float(((torch.sparse.mm(x, weight) + bias).argmax(-1) == y).float().mean())


if __name__ == "__main__":
    main()
