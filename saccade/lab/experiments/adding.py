"""Adding positions to embeddings, or concatenating them."""

import random
from typing import Any

import torch
from torch import Tensor, nn

from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
    Settings,
    Verdict,
    Words,
    clearly_above,
    mean,
    over_seeds,
)
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tag_accuracy, tags_batch
from saccade.lab.toys import FIRST, draw, previous, stream
from saccade.nn.attention import attention_weights, split_heads
from saccade.nn.positions import SinusoidalPositions, sinusoids


class Concatenated(nn.Module):
    """Gives positions half of the channels of their own: embeddings lose these channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.places = SinusoidalPositions(width // 2)

    def forward(self, x: Tensor, *, start: int | Tensor = 0) -> Tensor:
        """See `SinusoidalPositions.forward`."""
        words = x[..., : x.size(-1) // 2]
        out: Tensor = torch.cat([words, self.places(torch.zeros_like(words), start=start)], -1)
        return out


def _principal(table: Tensor, size: int) -> Tensor:
    """An orthonormal basis (size, width) of the directions in which the rows vary most."""
    found: Tensor = torch.linalg.svd(table - table.mean(0), full_matrices=False).Vh[:size]
    return found


@torch.no_grad()
def _terms(model: Tagger, tokens: Tensor) -> dict[str, float]:
    """The standard deviation of each of the four terms of the first layer's scores, and their sum's error.

    (Wq (x + p)) · (Wk (y + r)) = Wq x · Wk y + Wq x · Wk r + Wq p · Wk y + Wq p · Wk r, biases with x and y.
    """
    layer: Any = model.layers[0]
    attention = layer.self_attention
    words = model.embedding.scaled(tokens)
    places: Tensor = model.embedding.positions(torch.zeros_like(words))
    width = words.size(-1)
    weight, bias = attention.query_key_value.weight, attention.query_key_value.bias
    sides = []
    for number in range(2):  # queries, then keys
        part = slice(number * width, (number + 1) * width)
        own = (words @ weight[part].T + bias[part], places @ weight[part].T)
        sides.append([split_heads(side, attention.heads) for side in own])
    scale = (width // attention.heads) ** -0.5
    found = {
        f"{left}_{right}": scale * query @ key.transpose(-2, -1)
        for left, query in zip(("word", "place"), sides[0], strict=True)
        for right, key in zip(("word", "place"), sides[1], strict=True)
    }
    weights = sum(found.values(), torch.zeros(())).softmax(-1)
    error = float((weights - attention.weights(words + places)).abs().max())
    return {**{name: float(term.std()) for name, term in found.items()}, "error": error}


def _adding(seed: int, settings: Settings) -> tuple[float, float, float, dict[str, float]]:
    """Accuracy with added and with concatenated positions, and overlap and terms of the former."""
    width, size = 32, 8
    accuracy = []
    model = Tagger(Shape(16, width=width, heads=2, feed_forward=64))
    for added in (False, True):
        seeded(seed)
        model = Tagger(Shape(16, width=width, heads=2, feed_forward=64))
        if not added:
            model.embedding.positions = Concatenated(width)
        task: dict[str, Any] = {"symbols": 16, "lengths": range(6, 17)}
        batches = stream(seed, previous, rows=32, batch=tags_batch, **task)
        fit(model, batches, steps=settings.pick(200, 3), objective=Tagging(), peak_rate=1e-2)
        test = tags_batch(draw(random.Random(-1), previous, rows=100, **task))
        accuracy.append(tag_accuracy(model, test))
    words = model.embedding.tokens.weight.detach()[FIRST:]
    overlap = _principal(words, size) @ _principal(sinusoids(16, width), size).T
    tokens = torch.randint(FIRST, FIRST + 16, (20, 16))
    return accuracy[1], accuracy[0], float(overlap.square().sum() / size), _terms(model, tokens)


def _measure(settings: Settings) -> Figures:
    found = []
    for seed in settings.seeds:
        settings.say(f"seed {seed}")
        found.append(_adding(seed, settings))
    added, concatenated, overlaps, terms = (list(part) for part in zip(*found, strict=True))
    table = sinusoids(16, 32)
    return {
        "added": added,
        "concatenated": concatenated,
        "overlap": overlaps,
        "chance": 8 / 32,
        "terms": terms,
        "neighbour_cosine": float(nn.functional.cosine_similarity(table[1], table[2], dim=0)),
        "random_cosine": 32**-0.5,
    }


def _judge(figures: Figures) -> Verdict:
    added, apart = figures["added"], figures["concatenated"]
    overlap, chance = mean(figures["overlap"]), figures["chance"]
    error = max(terms["error"] for terms in figures["terms"])
    because = Words(
        f"After equal training, added positions give {mean(added):.1%} right symbols and concatenated ones "
        f"{mean(apart):.1%}. The subspaces of words and positions overlap by {overlap:.0%}, where random ones of "
        f"that size would by {chance:.0%}. Neighbouring positions have a cosine of "
        f"{figures['neighbour_cosine']:.2f}; that of random vectors has a spread of "
        f"{figures['random_cosine']:.2f}. The four terms add up to the scores (error {error:.0e}).",
        f"同样训练之后，相加的逐符号正确率 {mean(added):.1%}，拼接 {mean(apart):.1%}。词与位置两个子空间的重叠度为 {overlap:.0%}，"
        f"同样大小的随机子空间为 {chance:.0%}。相邻位置向量的余弦为 {figures['neighbour_cosine']:.2f}，"
        f"随机向量余弦的标准差只有 {figures['random_cosine']:.2f}。四项之和等于得分（误差 {error:.0e}）。",
    )
    worse = clearly_above(apart, added) and mean(apart) - mean(added) > 0.02
    if worse or error > 1e-3:
        return Verdict("does not hold", because)
    orthogonal = overlap <= 1.25 * chance and figures["neighbour_cosine"] < 3 * figures["random_cosine"]
    return Verdict("holds" if orthogonal else "only if", because)


def _chart(figures: Figures) -> Chart:
    names = {
        "word_word": Words("word · word", "词·词"),
        "word_place": Words("word · position", "词·位置"),
        "place_word": Words("position · word", "位置·词"),
        "place_place": Words("position · position", "位置·位置"),
    }
    table = [[terms[name] for terms in figures["terms"]] for name in names]
    return Chart(
        Words("term of the score", "得分的四项"),
        Words("standard deviation", "标准差"),
        list(names.values()),
        [over_seeds(Words("trained model", "训练后的模型"), table)],
        bars=True,
    )


EXPERIMENT = Experiment(
    name="adding",
    title=Words("Adding positions to embeddings", "把位置加到词向量上"),
    claim=Words(
        "Adding positions is as good as concatenating them, because random vectors in many dimensions are "
        "almost orthogonal.",
        "把位置编码相加与拼接效果相当，因为高维随机向量几乎总是近似正交。",
    ),
    source=Words("Study notes, after discussions on Reddit.", "学习笔记，源自 Reddit 上的讨论。"),
    prediction=Words(
        "Adding works, but not for that reason: positions are not random vectors, and embeddings are learned.",
        "相加确实可行，但理由不对：位置编码不是随机向量，词向量是学出来的。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "Adding works because training places embeddings and projections so that the four terms of the score can "
        "be used one by one. Transformer-XL gives the terms parameters of their own.",
        "相加可行，是因为训练会安排词向量和投影，使得分的四项各自可用。Transformer-XL 则给这四项各自的参数。",
    ),
    code=(
        Code(SinusoidalPositions.forward, "return x + self.rows"),
        Code(attention_weights, "scores = query @ key.transpose"),
    ),
    seconds=15,
)
