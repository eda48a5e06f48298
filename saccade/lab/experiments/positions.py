"""Positions: whether attention knows order without them, and what sinusoids can and cannot do."""

import random
from typing import Any

import torch
from torch import Tensor, nn

from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
    Series,
    Settings,
    Verdict,
    Words,
    clearly_above,
    mean,
    over_seeds,
    plain,
)
from saccade.lab.learning import exact, fit, new_model, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tag_accuracy, tags_batch
from saccade.lab.toys import FIRST, Rule, draw, previous, reverse, stream, vocabulary
from saccade.models.transformer import Positions
from saccade.nn.attention import attention_weights, split_heads
from saccade.nn.positions import SinusoidalPositions, sinusoids

_EXACT = 1e-9  # what rounding can do in float64

# --- order -----------------------------------------------------------------------------------------


@torch.no_grad()
def _disorder(*, positions: Positions, causal: bool, seed: int) -> float:
    """How far permuting the input is from permuting the output: 0 if the layers do not know the order."""
    seeded(seed)
    model = Tagger(Shape(12, width=16, heads=2, layers=2, positions=positions, causal=causal)).double().eval()
    tokens = torch.randperm(12)[None] + FIRST
    order = torch.randperm(12)
    return float((model(tokens[:, order]) - model(tokens)[:, order]).abs().max())


def _learned(rule: Rule, *, positions: Positions, seed: int, settings: Settings) -> float:
    """The share of sequences that an encoder-decoder with these positions writes without a mistake."""
    sizes = {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1}
    model = new_model("transformer", vocabulary(8), seed=seed, positions=positions, **sizes)
    task: dict[str, Any] = {"symbols": 8, "lengths": range(4, 5), "distinct": True}
    fit(model, stream(seed, rule, rows=32, **task), steps=settings.pick(150, 3), peak_rate=5e-3)
    return exact(model, draw(random.Random(-1), rule, rows=settings.pick(200, 10), **task))


def _measure_order(settings: Settings) -> Figures:
    first = settings.seeds[0]
    disorder = {
        "none": _disorder(positions="none", causal=False, seed=first),
        "sinusoidal": _disorder(positions="sinusoidal", causal=False, seed=first),
        "causal": _disorder(positions="none", causal=True, seed=first),
    }
    scores: dict[str, list[float]] = {}
    for task, rule in (("reverse", reverse), ("sort", sorted)):
        for positions in ("none", "sinusoidal"):
            settings.say(f"{task}, positions {positions}")
            scores[f"{task}_{positions}"] = [
                _learned(rule, positions=positions, seed=seed, settings=settings) for seed in settings.seeds
            ]
    return {"disorder": disorder, "exact": scores}


def _judge_order(figures: Figures) -> Verdict:
    disorder, scores = figures["disorder"], figures["exact"]
    because = Words(
        f"Without positions, permuted inputs give permuted outputs up to {disorder['none']:.0e}, but behind a "
        f"causal mask they differ by {disorder['causal']:.2f}: the mask alone tells early from late. Reversing "
        f"succeeds in {mean(scores['reverse_none']):.0%} of the sequences without positions and in "
        f"{mean(scores['reverse_sinusoidal']):.0%} with them; sorting, which needs no order, in "
        f"{mean(scores['sort_none']):.0%} and {mean(scores['sort_sinusoidal']):.0%}.",
        f"没有位置信息时，打乱输入只会同样打乱输出（误差 {disorder['none']:.0e}）；但有因果掩码时两者相差 {disorder['causal']:.2f}，"
        f"掩码本身就区分了先后。倒序任务：无位置信息的整句正确率 {mean(scores['reverse_none']):.0%}，"
        f"有位置信息 {mean(scores['reverse_sinusoidal']):.0%}；排序任务不需要次序，分别为 "
        f"{mean(scores['sort_none']):.0%} 和 {mean(scores['sort_sinusoidal']):.0%}。",
    )
    blind = disorder["none"] < _EXACT < disorder["sinusoidal"]
    fails = clearly_above(scores["reverse_sinusoidal"], scores["reverse_none"])
    if not (blind and fails):
        return Verdict("does not hold", because)
    return Verdict("only if" if disorder["causal"] > _EXACT else "holds", because)


def _chart_order(figures: Figures) -> Chart:
    scores = figures["exact"]
    return Chart(
        Words("task", "任务"),
        Words("sequences without a mistake", "整句正确率"),
        [Words("reverse", "倒序"), Words("sort", "排序")],
        [
            over_seeds(name, [scores[f"reverse_{kind}"], scores[f"sort_{kind}"]])
            for kind, name in (
                ("none", Words("no positions", "无位置")),
                ("sinusoidal", Words("sinusoids", "正弦位置")),
            )
        ],
        bars=True,
    )


ORDER = Experiment(
    name="order",
    title=Words("Attention without positions", "没有位置信息的注意力"),
    claim=Words("Attention alone does not know the order of its inputs.", "注意力本身没有先后顺序的概念。"),
    source=Words(
        "Vaswani et al. 2017, section 3.5; all study notes.", "Vaswani 等 2017，第 3.5 节；所有学习笔记。"
    ),
    prediction=Words(
        "Layers without positions map a permuted input to the permuted output, so that a model can sort but not "
        "reverse.",
        "没有位置信息的层，输入打乱，输出也只是同样被打乱，所以模型能学会排序，学不会倒序。",
    ),
    measure=_measure_order,
    judge=_judge_order,
    chart=_chart_order,
    correction=Words(
        "Attention without a causal mask does not know the order. A causal mask gives order away: the first "
        "position sees one input, the second two.",
        "没有因果掩码的注意力不知道次序。因果掩码会透露次序：第一个位置只看到一个输入，第二个看到两个。",
    ),
    code=(Code(SinusoidalPositions.forward, "return x + self.rows"),),
    seconds=35,
)

# --- sinusoids -------------------------------------------------------------------------------------


def _shift_error(table: Tensor, shift: int) -> float:
    """The relative error of the best linear map from each row to the row `shift` further on."""
    rows, later = table[:-shift].double(), table[shift:].double()
    found = torch.linalg.lstsq(rows, later, driver="gelsd").solution
    return float((rows @ found - later).norm() / later.norm())


def _nearest(table: Tensor) -> float:
    """The smallest distance between two rows."""
    least = torch.inf
    for first in range(0, len(table), 500):
        distances = torch.cdist(table[first : first + 500], table)
        own = torch.arange(len(distances))
        distances[own, first + own] = torch.inf
        least = min(least, float(distances.min()))
    return least


def _measure_sinusoids(settings: Settings) -> Figures:
    length = settings.pick(2000, 300)
    table = sinusoids(length, 64)
    shifts = (1, 7, 37, 100)
    wide = sinusoids(settings.pick(5000, 300), 512)
    products = wide[:101] @ wide[0]
    return {
        "shifts": list(shifts),
        "both": [_shift_error(table, shift) for shift in shifts],
        "sine": [_shift_error(table[:, 0::2], shift) for shift in shifts],
        "norms": [float(wide.norm(dim=1).min()), float(wide.norm(dim=1).max())],
        "products": {str(shift): float(products[shift]) for shift in (0, 1, 10, 100)},
        "nearest": _nearest(wide),
        "neighbour_cosine": float(products[1] / products[0]),
    }


def _judge_sinusoids(figures: Figures) -> Verdict:
    both, sine = max(figures["both"]), min(figures["sine"])
    because = Words(
        f"The best linear map from PE(p) to PE(p + k) has a relative error of at most {both:.0e} with sine and "
        f"cosine and of at least {sine:.0%} with sine alone. All norms are between {figures['norms'][0]:.3f} and "
        f"{figures['norms'][1]:.3f} (width 512), and no two of the positions are closer than "
        f"{figures['nearest']:.2f}.",
        f"从 PE(p) 到 PE(p+k) 的最佳线性映射：正弦余弦都用时，相对误差最多 {both:.0e}；只用正弦时，至少 {sine:.0%}。"
        f"（宽度 512）所有位置向量的模在 {figures['norms'][0]:.3f} 与 {figures['norms'][1]:.3f} 之间，"
        f"任意两个位置的距离不小于 {figures['nearest']:.2f}。",
    )
    if both > 1e-4 or figures["nearest"] < 0.1:
        return Verdict("does not hold", because)
    return Verdict("holds" if sine > 0.1 else "only if", because)


def _chart_sinusoids(figures: Figures) -> Chart:
    return Chart(
        Words("shift k", "平移 k"),
        Words("relative error of the best linear map", "最佳线性映射的相对误差"),
        figures["shifts"],
        [
            Series(Words("sine and cosine", "正弦和余弦"), figures["both"]),
            Series(Words("sine alone", "只有正弦"), figures["sine"]),
        ],
        log_x=True,
        log_y=True,
    )


SINUSOIDS = Experiment(
    name="sinusoids",
    title=Words("Why both sine and cosine", "为什么同时用正弦和余弦"),
    claim=Words(
        "With sine and cosine, PE(p + k) is a linear function of PE(p), and no two positions collide.",
        "同时使用正弦和余弦，PE(p+k) 才是 PE(p) 的线性函数，而且不同位置的编码不会相同。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.5; an open question in the study notes.",
        "Vaswani 等 2017，第 3.5 节；学习笔记把它留作问题。",
    ),
    prediction=Words(
        "Each pair (sine, cosine) is a point on a circle, and a shift turns it: the map is exact. With sine "
        "alone, the angle cannot be recovered from one number, so no linear map fits.",
        "每一对（正弦，余弦）是圆上的一点，平移就是旋转，所以线性映射是精确的；只有正弦时，一个数定不出角度，没有合适的线性映射。",
    ),
    measure=_measure_sinusoids,
    judge=_judge_sinusoids,
    chart=_chart_sinusoids,
    correction=Words(
        "The map is a rotation of each pair, which also keeps the norm sqrt(d/2) and makes PE(p) · PE(q) depend "
        "on p − q alone. That such a map exists does not mean that a model uses it.",
        "这个映射是对每一对分量的旋转，因此模长恒为 √(d/2)，PE(p)·PE(q) 只取决于 p−q。存在这样的映射，不等于模型会用它。",
    ),
    code=(Code(sinusoids, "torch.stack([angle.sin(), angle.cos()]"),),
    seconds=3,
)

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
    code=(Code(SinusoidalPositions.rows, "sinusoids(length, table.size(1)"),),
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
    return torch.linalg.svd(table - table.mean(0), full_matrices=False).Vh[:size]


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
