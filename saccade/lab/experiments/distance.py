"""Distance and time: what gradients reach, what it costs, and what memory and depth add."""

import random
import time
from collections.abc import Callable, Iterator, Sequence

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
)
from saccade.lab.learning import fit, new_model, seeded
from saccade.lab.tagger import Shape, Tagger, Tagging, tags_batch
from saccade.lab.toys import FIRST, Pair, stream, vocabulary
from saccade.models.families import LanguageModel
from saccade.models.transformer_xl import TransformerXL
from saccade.nn.attention import SelfAttention, attend
from saccade.nn.convolution import ConvolutionalEncoderLayer
from saccade.nn.layers import EncoderLayer
from saccade.nn.loss import linear_cross_entropy
from saccade.nn.recurrence import Recurrence, recurrent_layer
from saccade.text.batching import Batch
from saccade.training.objective import Objective

Body = Callable[..., Tensor]

# --- what a recurrent network forgets --------------------------------------------------------------

DISTANCE = 24


class RecurrentBody(nn.Module):
    """A GRU in the place of a Transformer layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.recurrence = Recurrence(width, width, cell="gru", layers=1, dropout=0.0)

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:  # noqa: ARG002 - as a layer
        """See `EncoderLayer.forward`."""
        out: Tensor = self.recurrence(x, [(x.new_zeros(x.size(0), x.size(2)),)])
        return out


class ConvolutionalBody(nn.Module):
    """A gated convolution of width 3 in the place of a Transformer layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = ConvolutionalEncoderLayer(width, width, kernel=3, dropout=0.0)

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:  # noqa: ARG002 - as a layer
        """See `EncoderLayer.forward`."""
        out: Tensor = self.layer(x, real=None)
        return out


def gradients(body: Body, width: int, *, rows: int = 16) -> list[float]:
    """The norm of the derivative of the last output by the input at each distance, from 0 on."""
    x = torch.randn(rows, DISTANCE + 1, width).requires_grad_()
    direction = torch.randn(width)
    [gradient] = torch.autograd.grad((body(x, visible=None)[:, -1] @ direction).sum(), [x])
    return [float(value) for value in gradient.norm(dim=-1).mean(0).flip(0)]


def first_symbol(source: list[int]) -> list[int]:
    """The first symbol at every position."""
    return source[:1] * len(source)


def _forgetful(kind: str, seed: int) -> Tagger:
    seeded(seed)
    model = Tagger(Shape(8, width=32, heads=2, causal=True, feed_forward=64))
    if kind == "gru":
        model.layers = nn.ModuleList([RecurrentBody(32)])
    return model


def _measure_forgetting(settings: Settings) -> Figures:
    width = 32
    torch.manual_seed(settings.seeds[0])
    convolutions = nn.Sequential(*(ConvolutionalBody(width) for _ in range(5)))
    start = {"convolution": gradients(lambda x, **_: convolutions(x), width)}
    trained: dict[str, list[float]] = {}
    recalled: dict[str, list[float]] = {}
    length = range(DISTANCE + 1, DISTANCE + 2)
    for kind in ("gru", "attention"):
        profiles, after, scores = [], [], []
        for seed in settings.seeds:
            settings.say(f"{kind}, seed {seed}")
            model = _forgetful(kind, seed)
            profiles.append(gradients(model.layers[0], width))
            batches = stream(seed, first_symbol, symbols=8, lengths=length, rows=32, batch=tags_batch)
            fit(model, batches, steps=settings.pick(150, 3), objective=Tagging(), peak_rate=1e-2)
            test = next(stream(-1, first_symbol, symbols=8, lengths=length, rows=200, batch=tags_batch))
            with torch.no_grad():
                said = model.output(model(test["source"].values)[:, -1]).argmax(-1)
            scores.append(float((said == test["target"].values[:, -1]).float().mean()))
            with torch.no_grad():
                embedded = model.embedding(test["source"].values[:16])
            after.append(_profile(model.layers[0], embedded))
        start[kind] = [mean(row) for row in zip(*profiles, strict=True)]
        trained[kind] = [mean(row) for row in zip(*after, strict=True)]
        recalled[kind] = scores
    return {"start": start, "trained": trained, "recalled": recalled}


def _profile(body: Body, x: Tensor) -> list[float]:
    """As `gradients`, for given inputs."""
    x = x.detach().requires_grad_()
    direction = torch.randn(x.size(-1))
    [gradient] = torch.autograd.grad((body(x, visible=None)[:, -1] @ direction).sum(), [x])
    return [float(value) for value in gradient.norm(dim=-1).mean(0).flip(0)]


def _ratio(profile: Sequence[float]) -> float:
    return profile[-1] / max(profile[0], 1e-30)


def _judge_forgetting(figures: Figures) -> Verdict:
    start, trained, recalled = figures["start"], figures["trained"], figures["recalled"]
    because = Words(
        f"Of the last output's gradient by its own input, {_ratio(start['gru']):.0e} is left at distance "
        f"{DISTANCE} in a GRU before training, {_ratio(start['attention']):.0e} in a layer of attention, and "
        f"{_ratio(start['convolution']):.0e} in five convolutions. Trained to recall the first symbol, the GRU "
        f"has {_ratio(trained['gru']):.0e} and recalls {mean(recalled['gru']):.0%}; attention recalls "
        f"{mean(recalled['attention']):.0%}.",
        f"与对自身输入的梯度相比，训练前最后一个输出对 {DISTANCE} 步之前输入的梯度：GRU 剩 {_ratio(start['gru']):.0e}，"
        f"一层注意力剩 {_ratio(start['attention']):.0e}，五层卷积剩 {_ratio(start['convolution']):.0e}。"
        f"训练它回忆第一个符号之后，GRU 为 {_ratio(trained['gru']):.0e}，回忆正确率 {mean(recalled['gru']):.0%}；注意力的回忆正确率 {mean(recalled['attention']):.0%}。",
    )
    vanishes = _ratio(start["gru"]) < 0.01 and _ratio(start["attention"]) > 10 * _ratio(start["gru"])
    if not vanishes:
        return Verdict("does not hold", because)
    forgets = clearly_above(recalled["attention"], recalled["gru"])
    return Verdict("holds" if forgets and _ratio(trained["gru"]) < 0.01 else "only if", because)


def _chart_forgetting(figures: Figures) -> Chart:
    floor = 1e-12
    lines = [
        (Words("GRU, at the start", "GRU，训练前"), figures["start"]["gru"]),
        (Words("attention, at the start", "注意力，训练前"), figures["start"]["attention"]),
        (Words("5 convolutions, at the start", "5 层卷积，训练前"), figures["start"]["convolution"]),
        (Words("GRU, trained", "GRU，训练后"), figures["trained"]["gru"]),
        (Words("attention, trained", "注意力，训练后"), figures["trained"]["attention"]),
    ]
    return Chart(
        Words("distance in tokens", "距离（词元数）"),
        Words("gradient norm / that at distance 0", "梯度范数（与距离 0 之比）"),
        list(range(DISTANCE + 1)),
        [
            Series(name, [value / line[0] if value / line[0] > floor else None for value in line])
            for name, line in lines
        ],
        log_y=True,
    )


FORGETTING = Experiment(
    name="forgetting",
    title=Words("What a recurrent network forgets", "循环网络会忘记什么"),
    claim=Words(
        "Recurrent networks forget: gradients vanish with distance.", "循环网络会遗忘：梯度随距离消失。"
    ),
    source=Words(
        "Bengio et al. 1994; Hochreiter 1991; all study notes.",
        "Bengio 等 1994；Hochreiter 1991；所有学习笔记。",
    ),
    prediction=Words(
        "Before training the gradient of a GRU falls exponentially with distance, that of attention does not. "
        "Training can open the gates.",
        "训练前，GRU 的梯度随距离指数下降，注意力的不会；训练可以把门打开。",
    ),
    measure=_measure_forgetting,
    judge=_judge_forgetting,
    chart=_chart_forgetting,
    correction=Words(
        "Gates make forgetting learnable: whether the gradient vanishes depends on the weights. A stack of "
        "convolutions has no gradient at all beyond its receptive field.",
        "门控让遗忘变得可以学习：梯度是否消失取决于权重。卷积堆叠在感受野之外则完全没有梯度。",
    ),
    code=(Code(Recurrence.read, "x, end = fused("), Code(SelfAttention._merge, "self.output(merge_heads")),  # noqa: SLF001
    seconds=35,
)

# --- paths and costs -------------------------------------------------------------------------------

LENGTHS = (64, 256, 1024, 4096)
SIZE = 64


def layers_needed(layer: Callable[[], nn.Module], distance: int) -> int:
    """The smallest number of layers through which the last output has a gradient by the first input."""
    layers: list[nn.Module] = []
    while len(layers) < distance:
        layers.append(layer())
        x = torch.randn(1, distance + 1, 8).requires_grad_()
        out = x
        for one in layers:
            out = one(out)
        [gradient] = torch.autograd.grad(out[:, -1].sum(), [x])
        if float(gradient[:, 0].abs().max()) > 0:
            break
    return len(layers)


@torch.no_grad()
def _fastest(work: Callable[[], object], runs: int) -> float:
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def _measure_cost(settings: Settings) -> Figures:
    lengths = LENGTHS[: settings.pick(len(LENGTHS), 2)]
    runs = settings.pick(5, 1)
    torch.manual_seed(settings.seeds[0])
    attention = SelfAttention(SIZE, heads=1, causal=False).eval()
    gru = recurrent_layer(SIZE, SIZE, cell="gru").eval()
    times: dict[str, list[float]] = {"attention": [], "gru": []}
    for length in lengths:
        settings.say(f"length {length}")
        x = torch.randn(1, length, SIZE)
        times["attention"].append(_fastest(lambda x=x: attention(x), runs))  # type: ignore[misc]
        times["gru"].append(_fastest(lambda x=x: gru(x), runs))  # type: ignore[misc]
    distance = 16
    return {
        "lengths": list(lengths),
        "milliseconds": times,
        "products": {
            "attention": [2 * length**2 * SIZE for length in lengths],
            "gru": [6 * length * SIZE**2 for length in lengths],
        },
        "distance": distance,
        "layers_needed": {
            "attention": layers_needed(lambda: SelfAttention(8, heads=1, causal=False), distance),
            "convolution": layers_needed(lambda: ConvolutionalBody(8), distance),
        },
    }


def _judge_cost(figures: Figures) -> Verdict:
    times, lengths, needed = figures["milliseconds"], figures["lengths"], figures["layers_needed"]
    first, last = (times["attention"][place] / times["gru"][place] for place in (0, -1))
    products = figures["products"]
    counted = [a / b for a, b in zip(products["attention"], products["gru"], strict=True)]
    because = Words(
        f"At width {SIZE}, attention takes {first:.2f} times the time of a GRU at length {lengths[0]} and "
        f"{last:.2f} times at length {lengths[-1]} (multiplications: {counted[0]:.2f} and {counted[-1]:.1f} times "
        f"as many). Over {figures['distance']} positions a gradient needs {needed['attention']} layer of "
        f"attention and {needed['convolution']} convolutions of width 3.",
        f"宽度 {SIZE} 时，注意力的耗时与 GRU 之比：长度 {lengths[0]} 时 {first:.2f}，长度 {lengths[-1]} 时 {last:.2f}"
        f"（乘法次数之比为 {counted[0]:.2f} 和 {counted[-1]:.1f}）。梯度跨过 {figures['distance']} 个位置，"
        f"需要 {needed['attention']} 层注意力，或 {needed['convolution']} 层宽度为 3 的卷积。",
    )
    if needed["attention"] != 1 or first >= 1:
        return Verdict("does not hold", because)
    return Verdict("holds" if last < 1 and counted[-1] < 1 else "only if", because)


def _chart_cost(figures: Figures) -> Chart:
    return Chart(
        Words("length n", "长度 n"),
        Words(f"milliseconds (width {SIZE})", f"毫秒（宽度 {SIZE}）"),
        figures["lengths"],
        [
            Series(Words("self-attention", "自注意力"), figures["milliseconds"]["attention"]),
            Series(Words("GRU", "GRU"), figures["milliseconds"]["gru"]),
        ],
        log_x=True,
        log_y=True,
    )


COST = Experiment(
    name="cost",
    title=Words("Path length and cost", "路径长度与计算量"),
    claim=Words(
        "Self-attention has paths of length 1 and is cheaper than recurrence, above all for long sequences.",
        "自注意力的路径长度总是 1，计算比循环网络更省，长序列尤其如此。",
    ),
    source=Words(
        "Vaswani et al. 2017, table 1; study notes add the second half.",
        "Vaswani 等 2017，表 1；后半句是学习笔记加的。",
    ),
    prediction=Words(
        "The path is 1. Attention needs on the order of n²d multiplications and a recurrent layer nd², so that "
        "attention has fewer only while n is smaller than about d.",
        "路径确实是 1。注意力的乘法次数是 n²d 量级，循环层是 nd² 量级，所以只有 n 小于 d 左右时注意力才更省。",
    ),
    measure=_measure_cost,
    judge=_judge_cost,
    chart=_chart_cost,
    correction=Words(
        "Counted in multiplications, attention costs more than recurrence from a length of about 3 d on. The time "
        "depends on the machine, because a recurrent layer takes its n steps one after the other. The gains of "
        "attention are the short path and that all positions are computed at once.",
        "按乘法次数算，长度超过约 3d 之后，注意力比循环层更贵。实际耗时取决于机器，因为循环层的 n 步只能依次进行。注意力的好处是路径短，而且所有位置同时计算。",
    ),
    code=(Code(attend, "scaled_dot_product_attention(\n".strip()),),
    seconds=5,
)

# --- context that segments cut -----------------------------------------------------------------------

SEGMENT, SEGMENTS = 8, 3
WORDS_OF = 12


def running_text(seed: int, *, rows: int = 32) -> Iterator[Batch]:
    """Text of random words of four symbols from a small lexicon, without spaces, cut at random places."""
    lexicon_generator = random.Random(0)
    lexicon = [lexicon_generator.choices(range(FIRST, FIRST + 6), k=4) for _ in range(WORDS_OF)]
    generator, length = random.Random(seed), SEGMENT * SEGMENTS + 1
    while True:
        pairs: list[Pair] = []
        for _ in range(rows):
            text = [symbol for _ in range(length // 4 + 2) for symbol in generator.choice(lexicon)]
            first = generator.randrange(4)
            pairs.append((text[first : first + length - 1], text[first + 1 : first + length]))
        yield tags_batch(pairs)


class Segmentwise(Objective):
    """The loss of reading a text segment by segment, the memory passing from each to the next."""

    def losses(self, model: LanguageModel, batch: Batch) -> Tensor:
        """The loss of each token, summed over rows and segments, (segment,)."""
        tokens, gold = batch["source"].values, batch["target"].values
        memory, found = model.start(len(tokens)), []
        for first in range(0, tokens.size(1), SEGMENT):
            hidden, memory = model.read(tokens[:, first : first + SEGMENT], memory)
            logits = model.output(hidden)
            own = gold[:, first : first + SEGMENT]
            found.append(nn.functional.cross_entropy(logits.transpose(1, 2), own, reduction="none").sum(0))
        return torch.stack(found[1:] if not model.training and len(found) > 1 else found).sum(0)

    def __call__(self, model: LanguageModel, batch: Batch) -> Tensor:
        """See `Objective`."""
        return self.losses(model, batch).sum()


def _reader(memory: int, seed: int) -> LanguageModel:
    sizes = {"width": 32, "heads": 2, "feed_forward": 64, "layers": 2}
    model: LanguageModel = new_model(
        "transformer-xl", vocabulary(6), seed=seed, segment=SEGMENT, memory=memory, **sizes
    )
    return model


def _measure_context(settings: Settings) -> Figures:
    found: dict[str, list[list[float]]] = {}
    for name, memory in (("with", SEGMENT), ("without", 0)):
        rows = []
        for seed in settings.seeds:
            settings.say(f"{name} memory, seed {seed}")
            model = _reader(memory, seed)
            fit(
                model,
                running_text(seed),
                steps=settings.pick(150, 2),
                objective=Segmentwise(),
                peak_rate=5e-3,
            )
            test = next(running_text(-1, rows=settings.pick(300, 10)))
            with torch.no_grad():
                losses = Segmentwise().losses(model, test) / (test.rows * (SEGMENTS - 1))
            rows.append([float(loss) for loss in losses])
        found[name] = [list(row) for row in zip(*rows, strict=True)]
    return {"loss_by_place": found}


def _judge_context(figures: Figures) -> Verdict:
    with_, without = figures["loss_by_place"]["with"], figures["loss_by_place"]["without"]
    because = Words(
        f"At the first place of a segment the loss is {mean(with_[0]):.2f} nats with a memory and "
        f"{mean(without[0]):.2f} without; at the last place {mean(with_[-1]):.2f} and {mean(without[-1]):.2f}.",
        f"片段第一个位置的损失：有记忆 {mean(with_[0]):.2f} 奈特，无记忆 {mean(without[0]):.2f}；"
        f"最后一个位置：{mean(with_[-1]):.2f} 和 {mean(without[-1]):.2f}。",
    )
    if not clearly_above(without[0], with_[0]):
        return Verdict("does not hold", because)
    level = mean(with_[0]) - mean(with_[-1]) < 0.3 * (mean(without[0]) - mean(without[-1]))
    return Verdict("holds" if level else "only if", because)


def _chart_context(figures: Figures) -> Chart:
    table = figures["loss_by_place"]
    return Chart(
        Words("place in the segment", "片段中的位置"),
        Words("loss, nats", "损失（奈特）"),
        list(range(1, SEGMENT + 1)),
        [
            over_seeds(Words("with memory", "有记忆"), table["with"]),
            over_seeds(Words("without", "无记忆"), table["without"]),
        ],
    )


CONTEXT = Experiment(
    name="context",
    title=Words("Context fragmentation", "上下文碎片"),
    claim=Words(
        "Reading a text in segments cuts context off; Transformer-XL's memory cures this.",
        "把文本切成片段会割断上下文；Transformer-XL 的片段级递归解决了这个问题。",
    ),
    source=Words("Dai et al. 2019; study notes.", "Dai 等 2019；学习笔记。"),
    prediction=Words(
        "Without memory the first tokens of a segment are predicted worse than the last; with memory all places "
        "are alike.",
        "没有记忆时，片段开头的词元预测得比结尾差；有记忆时各位置相近。",
    ),
    measure=_measure_context,
    judge=_judge_context,
    chart=_chart_context,
    correction=Words(
        "What is passed on are the states below each layer, put before the keys and values of the next segment "
        "without gradient; they do not go “to the same place of the next segment”.",
        "传递的是每一层的输入状态：不带梯度，拼接在下一片段的键和值之前；并不是送到“下一片段的同样位置”。",
    ),
    code=(Code(TransformerXL.read, "context = torch.cat([past, x], 1)"),),
    seconds=40,
)

# --- induction ---------------------------------------------------------------------------------------

KEYS = 6
PAIRS = 10


def associations(seed: int, *, rows: int = 32) -> Iterator[Batch]:
    """Sequences k v k v ..., in which each key has its own value; what follows a key seen before is known.

    The target is the next symbol where it is known, and a mark (the first symbol behind all others) elsewhere.
    """
    generator, mark = random.Random(seed), FIRST + 2 * KEYS
    while True:
        pairs: list[Pair] = []
        for _ in range(rows):
            values = [FIRST + KEYS + generator.randrange(KEYS) for _ in range(KEYS)]
            source: list[int] = []
            target: list[int] = []
            for _ in range(PAIRS):
                key = generator.randrange(KEYS)
                known = FIRST + key in source[::2]
                source += [FIRST + key, values[key]]
                target += [values[key] if known else mark, mark]
            pairs.append((source, target))
        yield tags_batch(pairs)


class Known(Objective):
    """Cross-entropy where the next symbol is known."""

    def __call__(self, model: Tagger, batch: Batch) -> Tensor:
        """See `Objective`."""
        gold = batch["target"].values
        known = gold != FIRST + 2 * KEYS
        total: Tensor = linear_cross_entropy(
            model(batch["source"].values)[known], model.output.weight, model.output.bias, gold[known]
        )
        return total


def _measure_induction(settings: Settings) -> Figures:
    scores: dict[str, list[float]] = {}
    for layers in (1, 2):
        found = []
        for seed in settings.seeds:
            settings.say(f"{layers} layers, seed {seed}")
            seeded(seed)
            shape = Shape(2 * KEYS + 1, width=32, heads=2, layers=layers, positions="relative", causal=True)
            model = Tagger(shape)
            fit(model, associations(seed), steps=settings.pick(400, 3), objective=Known(), peak_rate=5e-3)
            test = next(associations(-1, rows=settings.pick(200, 10)))
            gold = test["target"].values
            known = gold != FIRST + 2 * KEYS
            with torch.no_grad():
                said = model.output(model(test["source"].values)).argmax(-1)
            found.append(float((said == gold)[known].float().mean()))
        scores[str(layers)] = found
    return {"accuracy": scores}


def _judge_induction(figures: Figures) -> Verdict:
    one, two = figures["accuracy"]["1"], figures["accuracy"]["2"]
    because = Words(
        f"Where the same symbol has come before, its follower is named rightly in {mean(one):.0%} of the cases "
        f"with one layer and in {mean(two):.0%} with two; guessing gets {1 / KEYS:.0%}.",
        f"同一符号之前出现过时，正确说出其后继的比例：一层 {mean(one):.0%}，两层 {mean(two):.0%}；瞎猜为 {1 / KEYS:.0%}。",
    )
    if not clearly_above(two, one):
        return Verdict("does not hold", because)
    return Verdict("holds" if min(two) > 0.9 and max(one) < 0.6 else "only if", because)


def _chart_induction(figures: Figures) -> Chart:
    return Chart(
        Words("layers", "层数"),
        Words("followers that are right", "后继正确率"),
        ["1", "2"],
        [over_seeds(Words("accuracy", "正确率"), [figures["accuracy"]["1"], figures["accuracy"]["2"]])],
        bars=True,
    )


INDUCTION = Experiment(
    name="induction",
    title=Words("Why several layers of attention", "为什么要多层注意力"),
    claim=Words(
        "One layer of attention is not enough: repeating what followed last time needs two.",
        "一层注意力不够：要重复“上次后面跟着什么”，需要两层。",
    ),
    source=Words(
        "An empty heading in the study notes; Olsson et al. 2022 on induction heads.",
        "学习笔记里只有标题的问题；归纳头见 Olsson 等 2022。",
    ),
    prediction=Words(
        "The first layer writes into each position what stands before it; the second looks for its own symbol "
        "among these notes and copies. One layer cannot do both.",
        "第一层在每个位置记下前一个符号，第二层在这些记录里找自己的符号并复制；一层做不到两件事。",
    ),
    measure=_measure_induction,
    judge=_judge_induction,
    chart=_chart_induction,
    correction=Words(
        "Layers let attention use what attention has found. On this task two layers are needed; how many a "
        "translator needs has to be measured.",
        "多层让注意力可以利用上一层注意力找到的东西。这个任务需要两层；翻译需要几层要靠测量。",
    ),
    code=(Code(EncoderLayer.forward, "self.self_attention_residual(x,"),),
    seconds=70,
)
