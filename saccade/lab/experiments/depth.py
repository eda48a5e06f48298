"""What makes deep models trainable: residual connections, the kind of norm, and warm-up."""

import random
from collections.abc import Callable

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
from saccade.nn.layers import Norm, Residual
from saccade.training.optim import learning_rate

RESIDUALS_OF = ("self_attention_residual", "feed_forward_residual")


def replace_residuals(model: Tagger, change: Callable[[Residual], nn.Module]) -> None:
    """Puts other modules in place of the residual connections of every layer."""
    for layer in model.layers:
        for name in RESIDUALS_OF:
            setattr(layer, name, change(getattr(layer, name)))


# --- residual connections --------------------------------------------------------------------------

DEPTHS = (2, 6)
LONG = 12


class Bare(nn.Module):
    """A sub-layer with its norm and without the connection past it."""

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        self.norm = residual.norm

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """See `Residual.forward`."""
        out: Tensor = self.norm(sublayer(x))
        return out


@torch.no_grad()
def probed(model: Tagger, seed: int) -> list[float]:
    """How often a linear probe reads the position from the states after each layer, embeddings first."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(FIRST, FIRST + 10, (120, LONG), generator=generator)
    gold = torch.arange(LONG).expand(len(tokens), -1)
    half, found = len(tokens) // 2, []
    for states in model.states(model.embedding(tokens)):
        known, fresh = states[:half].flatten(0, 1), states[half:].flatten(0, 1)
        wanted = nn.functional.one_hot(gold[:half].flatten()).float()
        probe = torch.linalg.lstsq(known.double(), wanted.double(), driver="gelsd").solution
        said = (fresh.double() @ probe).argmax(-1)
        found.append(float((said == gold[half:].flatten()).float().mean()))
    return found


def _measure_residuals(settings: Settings) -> Figures:
    accuracy: dict[str, list[list[float]]] = {"with": [], "without": []}
    probe: dict[str, list[list[float]]] = {"with": [], "without": []}
    for depth in DEPTHS:
        for kind, table in accuracy.items():
            scores, probes = [], []
            for seed in settings.seeds:
                settings.say(f"{depth} layers {kind} residual connections, seed {seed}")
                seeded(seed)
                model = Tagger(Shape(10, width=32, heads=2, layers=depth, feed_forward=64))
                if kind == "without":
                    replace_residuals(model, Bare)
                probes.append(probed(model, seed))
                batches = stream(seed, previous, symbols=10, lengths=range(6, 11), rows=32, batch=tags_batch)
                fit(model, batches, steps=settings.pick(120, 2), objective=Tagging(), peak_rate=3e-3)
                test = draw(random.Random(-1), previous, rows=100, symbols=10, lengths=range(6, 11))
                scores.append(tag_accuracy(model, tags_batch(test)))
            table.append(scores)
            if depth == DEPTHS[-1]:
                probe[kind] = [list(row) for row in zip(*probes, strict=True)]
    return {"accuracy": accuracy, "probe": probe}


def _judge_residuals(figures: Figures) -> Verdict:
    accuracy, probe = figures["accuracy"], figures["probe"]
    deep, bare = accuracy["with"][-1], accuracy["without"][-1]
    top, bare_top = probe["with"][-1], probe["without"][-1]
    because = Words(
        f"With {DEPTHS[-1]} layers, {mean(deep):.1%} of the symbols are right with residual connections and "
        f"{mean(bare):.1%} without (with {DEPTHS[0]} layers {mean(accuracy['with'][0]):.1%} and "
        f"{mean(accuracy['without'][0]):.1%}). In the top layer of {DEPTHS[-1]}, before training, a linear probe "
        f"reads {mean(top):.0%} of the positions with and {mean(bare_top):.0%} without them.",
        f"{DEPTHS[-1]} 层时，有残差连接的逐符号正确率 {mean(deep):.1%}，没有则为 {mean(bare):.1%}"
        f"（{DEPTHS[0]} 层时为 {mean(accuracy['with'][0]):.1%} 和 {mean(accuracy['without'][0]):.1%}）。"
        f"训练前，线性探针能从 {DEPTHS[-1]} 层模型的顶层读出 {mean(top):.0%} 的位置；没有残差时只有 {mean(bare_top):.0%}。",
    )
    helps, carries = clearly_above(deep, bare), clearly_above(top, bare_top)
    if helps and carries:
        return Verdict("holds", because)
    return Verdict("only if" if helps or carries else "does not hold", because)


def _chart_residuals(figures: Figures) -> Chart:
    return Chart(
        Words("layer (0: embeddings)", "层（0 为嵌入）"),
        Words("positions read by a linear probe", "线性探针读出的位置比例"),
        list(range(DEPTHS[-1] + 1)),
        [
            over_seeds(Words("with residual connections", "有残差连接"), figures["probe"]["with"]),
            over_seeds(Words("without", "无残差连接"), figures["probe"]["without"]),
        ],
    )


RESIDUALS = Experiment(
    name="residuals",
    title=Words("Residual connections", "残差连接"),
    claim=Words(
        "Residual connections carry positions to higher layers, and deep models train badly without them.",
        "残差连接帮助位置信息顺利传递到高层；没有它，深层模型难以训练。",
    ),
    source=Words("He et al. 2016; study notes.", "He 等 2016；学习笔记。"),
    prediction=Words(
        "A linear probe reads the position from every layer with residual connections, and less and less of it "
        "without. A deep model without them learns less in the same number of updates.",
        "有残差连接时，线性探针在每一层都能读出位置；没有时越往上越读不出来。同样的更新次数，没有残差的深层模型学到的更少。",
    ),
    measure=_measure_residuals,
    judge=_judge_residuals,
    chart=_chart_residuals,
    correction=Words(
        "The reason has nothing to do with ReLU, as some notes say: the identity path keeps what a layer does "
        "not change, and gives gradients a way around every layer.",
        "原因与某些笔记所说的 ReLU 无关：恒等通路保留了该层没有改变的内容，也给梯度一条绕过每一层的路。",
    ),
    code=(Code(Residual.forward, "self.norm(x + self.dropout(y))"),),
    seconds=45,
)

# --- the kind of norm ------------------------------------------------------------------------------


class OverTokens(nn.Module):
    """Batch norm over all tokens of a batch, padding included."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises x (batch, length, width) by channel."""
        out: Tensor = self.norm(x.flatten(0, 1)).view_as(x)
        return out


class PostNorm(nn.Module):
    """Norm(x + f(x)) with a norm of any kind."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """See `Residual.forward`."""
        out: Tensor = self.norm(x + sublayer(x))
        return out


def _normed(kind: str, seed: int) -> Tagger:
    seeded(seed)
    model = Tagger(Shape(10, width=32, heads=2, layers=2, feed_forward=64))
    if kind == "batch":
        replace_residuals(model, lambda _: PostNorm(OverTokens(32)))
    return model


@torch.no_grad()
def _company(model: Tagger, seed: int) -> float:
    """How much a sentence's states change in training mode when other sentences are in the batch."""
    generator = random.Random(seed)
    pairs = draw(generator, previous, rows=4, symbols=10, lengths=range(3, 13))
    model.train()
    batch = tags_batch(pairs)["source"]
    alone = tags_batch(pairs[:1])["source"]
    length = int(alone.lengths[0])
    together = model(batch.values, batch.lengths)[0, :length]
    return float((together - model(alone.values, alone.lengths)[0]).abs().max())


def _measure_norms(settings: Settings) -> Figures:
    found: dict[str, dict[str, list[float]]] = {}
    for kind in ("layer", "batch"):
        accuracy, company = [], []
        for seed in settings.seeds:
            settings.say(f"{kind} norm, seed {seed}")
            company.append(_company(_normed(kind, seed), seed))
            model = _normed(kind, seed)
            batches = stream(seed, previous, symbols=10, lengths=range(3, 13), rows=4, batch=tags_batch)
            fit(model, batches, steps=settings.pick(300, 3), objective=Tagging(), peak_rate=5e-3)
            test = draw(random.Random(-1), previous, rows=150, symbols=10, lengths=range(3, 13))
            accuracy.append(tag_accuracy(model, tags_batch(test)))
        found[kind] = {"accuracy": accuracy, "company": company}
    return found


def _judge_norms(figures: Figures) -> Verdict:
    layer, batch = figures["layer"], figures["batch"]
    because = Words(
        f"In training, other sentences in the batch change a sentence's states by {max(layer['company']):.0e} "
        f"with layer norm and by {mean(batch['company']):.2f} with batch norm. Trained on four sentences at a "
        f"time, {mean(layer['accuracy']):.1%} and {mean(batch['accuracy']):.1%} of the symbols are right.",
        f"训练时，同一批里的其他句子使一个句子的状态改变：层归一化 {max(layer['company']):.0e}，批归一化 {mean(batch['company']):.2f}。"
        f"每批四句训练后，逐符号正确率分别为 {mean(layer['accuracy']):.1%} 和 {mean(batch['accuracy']):.1%}。",
    )
    if max(layer["company"]) > 1e-4 or min(batch["company"]) < 1e-3:
        return Verdict("does not hold", because)
    return Verdict("holds" if clearly_above(layer["accuracy"], batch["accuracy"]) else "only if", because)


def _chart_norms(figures: Figures) -> Chart:
    sides = (("layer", Words("layer norm", "层归一化")), ("batch", Words("batch norm", "批归一化")))
    return Chart(
        Words("measure", "指标"),
        Words("value", "数值"),
        [Words("right symbols", "逐符号正确率"), Words("change by other sentences", "受其他句子的影响")],
        [over_seeds(name, [figures[side]["accuracy"], figures[side]["company"]]) for side, name in sides],
        bars=True,
    )


NORMS = Experiment(
    name="norms",
    title=Words("Layer norm, not batch norm", "用层归一化而不是批归一化"),
    claim=Words(
        "Batch norm does not suit sequences of different lengths in small batches; layer norm does.",
        "批归一化很难用在长度不同的序列和小批量上，层归一化可以。",
    ),
    source=Words("Ba et al. 2016; study notes.", "Ba 等 2016；学习笔记。"),
    prediction=Words(
        "With batch norm a sentence's result depends on its company and on padding, and the averages that are "
        "used afterwards do not fit; with layer norm it depends on the sentence alone.",
        "用批归一化，一个句子的结果取决于同批的句子和填充，之后使用的滑动平均又与训练时不符；用层归一化则只取决于句子本身。",
    ),
    measure=_measure_norms,
    judge=_judge_norms,
    chart=_chart_norms,
    correction=Words(
        "Layer norm standardises the features of one token, by mean and variance. It neither whitens nor makes "
        "features independent, and it is not a regulariser.",
        "层归一化按均值和方差标准化单个词元的各个特征。它既不是白化，也不会让特征相互独立，更不是正则化手段。",
    ),
    code=(Code(Residual.__init__, "self.norm = nn.LayerNorm(width"),),
    seconds=25,
)

# --- warm-up ---------------------------------------------------------------------------------------


def _measure_warmup(settings: Settings) -> Figures:
    scores: dict[str, list[float]] = {}
    norms: tuple[Norm, ...] = ("post", "pre")
    for norm in norms:
        for warmup in (0, 40):
            found = []
            for seed in settings.seeds:
                settings.say(f"{norm}-norm, warm-up {warmup}, seed {seed}")
                seeded(seed)
                model = Tagger(Shape(10, width=32, heads=2, layers=4, feed_forward=64, norm=norm))
                batches = stream(seed, previous, symbols=10, lengths=range(6, 11), rows=32, batch=tags_batch)
                fit(
                    model,
                    batches,
                    steps=settings.pick(120, 2),
                    objective=Tagging(),
                    peak_rate=6e-3,
                    warmup=warmup,
                    schedule="constant",
                )
                test = draw(random.Random(-1), previous, rows=100, symbols=10, lengths=range(6, 11))
                found.append(tag_accuracy(model, tags_batch(test)))
            scores[f"{norm}_{'with' if warmup else 'without'}"] = found
    return {"accuracy": scores}


def _judge_warmup(figures: Figures) -> Verdict:
    scores = figures["accuracy"]
    shares = {name: f"{mean(values):.1%}" for name, values in scores.items()}
    because = Words(
        f"Right symbols after equal training with and without warm-up: {shares['post_with']} and "
        f"{shares['post_without']} with norms after the residual sums, {shares['pre_with']} and "
        f"{shares['pre_without']} with norms before each sub-layer.",
        f"同样训练之后，有、无预热的逐符号正确率：后置归一化 {shares['post_with']} 和 {shares['post_without']}，"
        f"前置归一化 {shares['pre_with']} 和 {shares['pre_without']}。",
    )
    post = clearly_above(scores["post_with"], scores["post_without"])
    pre = clearly_above(scores["pre_with"], scores["pre_without"])
    if post and pre:
        return Verdict("holds", because)
    return Verdict("only if" if post or pre else "does not hold", because)


def _chart_warmup(figures: Figures) -> Chart:
    scores = figures["accuracy"]
    return Chart(
        Words("place of the norm", "归一化的位置"),
        Words("symbols that are right", "逐符号正确率"),
        [Words("post-norm", "后置"), Words("pre-norm", "前置")],
        [
            over_seeds(Words("with warm-up", "有预热"), [scores["post_with"], scores["pre_with"]]),
            over_seeds(Words("without", "无预热"), [scores["post_without"], scores["pre_without"]]),
        ],
        bars=True,
    )


WARMUP = Experiment(
    name="warmup",
    title=Words("Warm-up", "学习率预热"),
    claim=Words("A Transformer needs warm-up.", "训练 Transformer 需要学习率预热。"),
    source=Words(
        "Vaswani et al. 2017, section 5.3; Xiong et al. 2020 for pre-norm; study notes.",
        "Vaswani 等 2017，第 5.3 节；前置归一化见 Xiong 等 2020；学习笔记。",
    ),
    prediction=Words(
        "At a high rate, post-norm layers need warm-up, because their gradients are large at the start; pre-norm "
        "layers do not.",
        "学习率高时，后置归一化需要预热，因为开始时梯度很大；前置归一化不需要。",
    ),
    measure=_measure_warmup,
    judge=_judge_warmup,
    chart=_chart_warmup,
    correction=Words(
        "The paper's schedule is a linear rise and then a fall as 1/sqrt(step); nothing is “set back”. How much "
        "warm-up matters depends on the place of the norm, the depth and the peak rate.",
        "论文的方案是先线性上升、再按步数的 −0.5 次方下降，并没有“调回去”。预热有多重要，取决于归一化的位置、层数和学习率峰值。",
    ),
    code=(Code(learning_rate, "inverse_sqrt(step, warmup=config.warmup)"),),
    seconds=45,
)
