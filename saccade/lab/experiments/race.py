"""A race of decoders: word by word, in rounds, and all at once; how many steps, how long, how well."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.ctc import decode_ctc
from saccade.decoding.nonautoregressive.mask_predict import decode_masked, refine
from saccade.decoding.nonautoregressive.options import CtcDecoding, MaskPredictDecoding
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import Search, search
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
from saccade.lab.learning import fit, new_model
from saccade.lab.numerals import batches, english, german_of, pair, split, vocabulary
from saccade.lab.timing import milliseconds
from saccade.lab.toys import column
from saccade.lab.translating import SIZES, bleu
from saccade.models.nonautoregressive.ctc import Ctc
from saccade.models.nonautoregressive.interface import AnyMemory
from saccade.models.nonautoregressive.mask_predict import MaskPredict
from saccade.text.vocabulary import END
from saccade.training.glancing import GlancingCtc
from saccade.training.masked import MaskedCrossEntropy
from saccade.training.objective import Objective

RACERS = ("recurrent", "transformer", "mask-predict", "ctc")
ROUNDS = 3
SHOWN = (423, 3_031, 7_777, 117, 1_234, 5_555, 8_712, 9_999)
"""The numbers whose translation is shown step by step; none is trained with."""

Decode = Callable[[Tensor, Tensor], list[list[Hypothesis]]]
BLANK, MASK = "·", "▢"


def decoder(racer: str, model: Any) -> Decode:
    """Decodes a batch, source (sentences, source) and lengths, as the toolkit does for this kind of model."""
    if racer == "mask-predict":
        rounds = MaskPredictDecoding(iterations=ROUNDS, candidates=1)
        return torch.no_grad()(lambda s, n: decode_masked(MaskPredict(model), s, n, options=rounds))
    if racer == "ctc":
        once = CtcDecoding(candidates=1)
        return torch.no_grad()(lambda s, n: decode_ctc(Ctc(model), s, n, options=once))
    greedy = DecodingConfig(beam=1, max_ratio=2.0, max_extra=4)
    return lambda s, n: search(model, s, n, options=greedy)


class Watched(MaskPredict):
    """Keeps what the decoder reads in each round."""

    def __init__(self, body: Any) -> None:
        super().__init__(body)
        self.rounds: list[list[int]] = []

    def write(self, tokens: Tensor, lengths: Tensor, memory: AnyMemory) -> Tensor:
        """See `MaskPredict.write`."""
        self.rounds.append(tokens[0].tolist())
        return super().write(tokens, lengths, memory)


def _names(ids: Sequence[int], special: str) -> str:
    """The words of ids, with a sign for each special id."""
    return " ".join((german_of([one]) or [special])[0] for one in ids)


@torch.no_grad()
def steps_of(racer: str, model: Any, source: list[int]) -> list[str]:
    """What stands there after each call of the decoder's network, for one sentence."""
    given = column([[*source, END]])
    if racer == "mask-predict":
        scheme = Watched(model)
        memory = model.encode(given.values, given.lengths)
        lengths = scheme.length_of(scheme.length_logits(memory).topk(1).indices, memory).flatten()
        tokens, _ = refine(scheme, memory, lengths, iterations=ROUNDS)
        return [_names(ids, MASK) for ids in (*scheme.rounds[1:], tokens[0].tolist())]
    if racer == "ctc":
        [[found]] = decoder(racer, model)(given.values, given.lengths)
        return [_names(found.path or found.tokens, BLANK)]
    running, found_steps = Search(model), []
    [handle] = running.add(
        given.values, given.lengths, options=DecodingConfig(beam=1, max_ratio=2.0, max_extra=4)
    )
    while not running.done:
        running.step()
        if not running.done:
            found_steps.append(_names(running.best(handle).tokens, ""))
    [(_, [best])] = running.take_finished()
    return [*found_steps, " ".join(german_of(best.tokens))]


def _trained(racer: str, numbers: Sequence[int], *, seed: int, settings: Settings) -> Any:
    objectives: dict[str, Objective] = {
        "mask-predict": MaskedCrossEntropy(),
        "ctc": GlancingCtc(share=(0.3, 0.1)),
    }
    if racer in SIZES:
        model = new_model(racer, vocabulary(), seed=seed, **SIZES[racer])
    else:
        sizes = {**SIZES["transformer"], "decoder_layers": 2}
        model = new_model("nonautoregressive", vocabulary(), seed=seed, decoder=racer, **sizes)
    objective = objectives.get(racer)
    steps = settings.pick(200, 2)
    fit(model, batches(numbers, seed=seed), steps=steps, objective=objective, peak_rate=6e-3)
    return model


def one_by_one(decode: Decode, sources: Sequence[list[int]]) -> None:
    """Translates each sentence by itself."""
    for source in sources:
        given = column([[*source, END]])
        decode(given.values, given.lengths)


def _measure(settings: Settings) -> Figures:
    scores: dict[str, list[float]] = {racer: [] for racer in RACERS}
    written: dict[str, list[list[str]]] = {}
    works: dict[str, Callable[[], None]] = {}
    shown = SHOWN[: settings.pick(len(SHOWN), 2)]
    for racer in RACERS:
        for seed in settings.seeds:
            settings.say(f"{racer}, seed {seed}")
            train, test = split(settings.pick(3000, 40), settings.pick(100, 5), seed=seed)
            train = [one for one in train if one not in SHOWN]
            model = _trained(racer, train, seed=seed, settings=settings)
            pairs = [pair(number) for number in test]
            given = column([[*source, END] for source, _ in pairs])
            decode = decoder(racer, model)
            found = decode(given.values, given.lengths)
            scores[racer].append(bleu([best.tokens for best, *_ in found], pairs))
            if seed == settings.seeds[0]:
                written[racer] = [steps_of(racer, model, pair(number)[0]) for number in shown]
                works[racer] = partial(one_by_one, decode, [pair(number)[0] for number in shown])
    times = milliseconds(works, repeats=settings.pick(7, 1))
    return {
        "bleu": scores,
        "calls": {racer: mean([len(steps) for steps in written[racer]]) for racer in RACERS},
        "milliseconds": {racer: times[racer] / len(shown) for racer in RACERS},
        "sources": [" ".join(english(number)) for number in shown],
        "references": [" ".join(german_of(pair(number)[1])) for number in shown],
        "steps": written,
    }


def _judge(figures: Figures) -> Verdict:
    scores, times, calls = figures["bleu"], figures["milliseconds"], figures["calls"]
    chinese = {
        racer: f"{mean(scores[racer]):.1f} BLEU、{calls[racer]:.1f} 次、{times[racer]:.1f} 毫秒"
        for racer in RACERS
    }
    listed = {
        racer: f"{mean(scores[racer]):.1f} BLEU, {calls[racer]:.1f}, {times[racer]:.1f} ms"
        for racer in RACERS
    }
    because = Words(
        f"BLEU, calls of the decoder per sentence, and processor time of a sentence by itself: Transformer "
        f"{listed['transformer']}; recurrent {listed['recurrent']}; mask-predict {listed['mask-predict']}; CTC "
        f"{listed['ctc']}.",
        f"BLEU、每句调用解码器的次数、单独翻译一句的处理器时间：Transformer：{chinese['transformer']}；循环网络：{chinese['recurrent']}；"
        f"mask-predict：{chinese['mask-predict']}；CTC：{chinese['ctc']}。",
    )
    if times["ctc"] >= times["transformer"]:
        return Verdict("does not hold", because)
    as_good = not any(
        clearly_above(scores["transformer"], scores[racer]) for racer in ("mask-predict", "ctc")
    )
    return Verdict(
        "holds" if as_good and times["mask-predict"] < times["transformer"] else "only if", because
    )


_NAMES = {
    "recurrent": Words("recurrent", "循环网络"),
    "transformer": Words("Transformer", "Transformer"),
    "mask-predict": Words("mask-predict", "mask-predict"),
    "ctc": Words("CTC", "CTC"),
}


def _chart(figures: Figures) -> Chart:
    measures = (
        Words("BLEU", "BLEU"),
        Words("calls of the decoder per sentence", "每句调用解码器的次数"),
        Words("processor time per sentence, ms", "每句处理器时间（毫秒）"),
    )
    series = []
    for racer in RACERS:
        scores = figures["bleu"][racer]
        counted = (figures["calls"][racer], figures["milliseconds"][racer])
        series.append(over_seeds(_NAMES[racer], [scores, *([one] for one in counted)]))
    return Chart(Words("measure", "指标"), Words("value", "数值"), measures, series, bars=True, panels=True)


EXPERIMENT = Experiment(
    name="race",
    title=Words("The race of the decoders", "解码器赛跑"),
    claim=Words(
        "Writing all words at once is faster than writing them one by one, and as good.",
        "一次写出所有的词比逐词写更快，而且同样好。",
    ),
    source=Words(
        "Gu et al. 2018; Ghazvininejad et al. 2019; Libovický and Helcl 2018.",
        "Gu 等 2018；Ghazvininejad 等 2019；Libovický 与 Helcl 2018。",
    ),
    prediction=Words(
        "The number of steps falls from one for each word to a few or one, and the time with it; the translations "
        "are somewhat worse after equal training.",
        "步数从每词一步降到几步甚至一步，时间随之减少；同样训练之后，译文稍差。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "What is saved is waiting, not work. One sentence at a time gains most; in full batches the difference "
        "shrinks. On a task with one right answer, as here, there is nothing to mix; with natural text, quality "
        "depends on distillation (docs/nonautoregressive.md).",
        "省下的是等待而不是计算量：一次只译一句时收益最大，成批翻译时差距缩小。这里的任务只有一个正确答案，没有可混的译法；对自然文本，质量取决于蒸馏（docs/nonautoregressive.md）。",
    ),
    code=(
        Code(refine, "tokens[masked], log_probs[masked] = scheme.body.argmax"),
        Code(Search.step, "self.model.step(batch.token, batch.state)"),
    ),
    seconds=80,
)
