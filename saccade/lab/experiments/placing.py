"""Positions in use: longer sequences than in training, and adding them to embeddings."""

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
    plain,
)
from saccade.lab.learning import fit, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tag_accuracy, tags_batch
from saccade.lab.toys import FIRST, draw, previous, stream
from saccade.models.placing import Positions
from saccade.nn.attention import attention_weights, split_heads
from saccade.nn.positions import SinusoidalPositions, sinusoids

# --- longer than in training -----------------------------------------------------------------------

KINDS: tuple[Positions, ...] = ("sinusoidal", "learned", "relative", "rotary", "alibi", "none")
TRAINED = range(5, 21)
LENGTHS = (20, 30, 40, 60)


def _measure_extrapolation(settings: Settings) -> Figures:
    scores: dict[str, list[list[float]]] = {}
    for kind in KINDS:
        table = []
        for seed in settings.seeds:
            settings.say(f"positions {kind}, seed {seed}")
            seeded(seed)
            model = Tagger(Shape(10, width=32, heads=2, positions=kind, causal=True, feed_forward=64))
            batches = stream(seed, previous, symbols=10, lengths=TRAINED, rows=16, batch=tags_batch)
            fit(model, batches, steps=settings.pick(200, 3), objective=Tagging(), peak_rate=1e-2)
            generator = random.Random(-1)
            tests = [
                tags_batch(draw(generator, previous, rows=40, symbols=10, lengths=range(n, n + 1)))
                for n in LENGTHS
            ]
            table.append([tag_accuracy(model, test) for test in tests])
        scores[kind] = [list(row) for row in zip(*table, strict=True)]
    return {"lengths": list(LENGTHS), "accuracy": scores}


def _judge_extrapolation(figures: Figures) -> Verdict:
    scores = figures["accuracy"]
    near, _, _, far = scores["sinusoidal"]
    best = max(KINDS, key=lambda kind: mean(scores[kind][-1]))
    because = Words(
        f"Trained on up to 20 symbols, sinusoids get {mean(near):.1%} of the symbols right at 20 and "
        f"{mean(far):.1%} at 60. At 60, {best} positions are best with {mean(scores[best][-1]):.1%}; learned "
        f"ones have {mean(scores['learned'][-1]):.1%}.",
        f"在不超过 20 个符号的序列上训练后，正弦位置在长度 20 时逐符号正确率 {mean(near):.1%}，长度 60 时 {mean(far):.1%}。"
        f"长度 60 时最好的是 {best}，{mean(scores[best][-1]):.1%}；学习得到的位置为 {mean(scores['learned'][-1]):.1%}。",
    )
    if mean(near) < 0.9 or clearly_above([0.95 * value for value in near], far):
        return Verdict("does not hold", because)
    return Verdict("holds" if min(far) >= 0.95 * min(near) else "only if", because)


def _chart_extrapolation(figures: Figures) -> Chart:
    return Chart(
        Words("length (trained up to 20)", "长度（训练不超过 20）"),
        Words("symbols that are right", "逐符号正确率"),
        figures["lengths"],
        [over_seeds(plain(kind), figures["accuracy"][kind]) for kind in KINDS],
    )


EXTRAPOLATION = Experiment(
    name="extrapolation",
    title=Words("Longer than in training", "比训练时更长"),
    claim=Words(
        "With sinusoidal positions a model works on sequences longer than those it was trained on.",
        "使用正弦位置编码，模型可以外推到比训练时更长的序列。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.5 (“may allow”); study notes drop the “may”.",
        "Vaswani 等 2017，第 3.5 节（原文是“may allow”，可能）；学习笔记去掉了“可能”。",
    ),
    prediction=Words(
        "Sinusoids are defined at any length, but accuracy falls soon behind the trained length. Positions that "
        "depend on distance alone fall less.",
        "正弦编码对任意长度都有定义，但一超过训练长度，正确率就很快下降；只依赖距离的位置方案下降较少。",
    ),
    measure=_measure_extrapolation,
    judge=_judge_extrapolation,
    chart=_chart_extrapolation,
    correction=Words(
        "Defined for any position is not the same as working there. On the task “name your left neighbour” it is "
        "positions by distance inside attention that carry over. See also docs/positions.md for translation.",
        "对任意位置有定义，不等于在那里有效。在“说出左邻符号”任务上，能推广的是注意力内部按距离计算的位置方案。翻译任务的测量见 docs/positions.md。",
    ),
    code=(Code(SinusoidalPositions.rows, "return _rows("),),
    seconds=60,
)

# --- adding or concatenating -----------------------------------------------------------------------


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


def _measure_adding(settings: Settings) -> Figures:
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


def _judge_adding(figures: Figures) -> Verdict:
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


def _chart_adding(figures: Figures) -> Chart:
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


ADDING = Experiment(
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
    measure=_measure_adding,
    judge=_judge_adding,
    chart=_chart_adding,
    correction=Words(
        "Adding works because training places embeddings and projections so that the four terms of the score can "
        "be used one by one. Transformer-XL gives the terms parameters of their own.",
        "相加可行，是因为训练会安排词向量和投影，使得分的四项各自可用。Transformer-XL 则给这四项各自的参数。",
    ),
    code=(
        Code(SinusoidalPositions.forward, "return x + self.rows"),
        Code(attention_weights, "scores = query @ key.transpose"),
    ),
    seconds=20,
)
