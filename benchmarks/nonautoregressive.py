"""BLEU, decoder calls, time of one sentence and sentences/s in bulk of models that write all words at once.

Non-autoregressive students against their teacher, greedy and by beam with its cache, and against a deep
encoder with one decoder layer. Pieces in, pieces out and detokenisation are inside the timer. All run in C
if there is a compiler; SACCADE_NATIVE=0 in the environment compares them in torch.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.common import arguments, corpus, show
from saccade.decoding.autoregressive import Autoregressive
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.engine import make_engine
from saccade.evaluation import score_text
from saccade.model_folder.checkpoint import Model, load_model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.models.interface import IncrementalDecoder
from saccade.models.nonautoregressive.config import NonAutoregressiveConfig
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.text.tokenizer import SentencePieceTokenizer, Tokenizer, TokenizerConfig
from saccade.use.translator import Translator

ROUNDS = (1, 4, 10)
CANDIDATES = 10


@dataclass(frozen=True)
class System:
    """A translator and one way to ask it."""

    name: str
    translator: Translator
    options: dict[str, Any] = field(default_factory=dict)


def ways(name: str, model: Model, teacher: Model | None = None) -> list[System]:
    """The ways of decoding that there are for this model, by itself and with a teacher."""
    translator, config = Translator.of(model), model.config
    if not isinstance(config, NonAutoregressiveConfig):
        return [
            System(f"{name}, {'greedy' if beam == 1 else f'beam {beam}'}", translator, {"beam": beam})
            for beam in (1, 5)
        ]
    many = System(f"{name}, {CANDIDATES} candidates", translator, {"candidates": CANDIDATES})
    if config.decoder == "mask-predict":
        found = [System(f"{name}, {n} rounds", translator, {"iterations": n}) for n in ROUNDS]
        many = found[-1]
    elif config.decoder == "ctc":
        found = [System(f"{name}, best path", translator), many]
    else:
        found = [System(f"{name}, {way}", translator, {"fertilities": way}) for way in ("argmax", "average")]
    if teacher is not None:
        reranked = Translator.of(model, reranker=teacher)
        found.append(System(f"{many.name} and the teacher", reranked, many.options))
    return found


class Counted:
    """What search drives, its steps counted."""

    def __init__(self, searched: IncrementalDecoder) -> None:
        self.searched, self.steps = searched, 0

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.steps += 1
        return self.searched.step(token, state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.searched, name)


def decoder_calls(system: System, lines: Sequence[str]) -> float:
    """Passes through the decoder for each sentence, one sentence at a time."""
    translator, decoder = copy(system.translator), system.translator.decoder
    if isinstance(decoder, Autoregressive):
        counted = Counted(make_engine(decoder.network))
        translator.decoder = Autoregressive(decoder.network, lambda: cast(IncrementalDecoder, counted))
        for line in lines:
            translator.translate([line], **system.options)
        return counted.steps / len(lines)
    passes = [0]

    def count(*_: object) -> None:
        passes[0] += 1

    # Counted on the model itself: its engine has no layers to hook into.
    assert isinstance(decoder, NonAutoregressiveDecoder)
    network = cast(NonAutoregressiveTransformer, decoder.network)
    translator.decoder = type(decoder)(
        lambda: network, decoder.vocabulary, network=network, reranker=decoder.reranker
    )
    handle = network.decoder[0].register_forward_hook(count)
    for line in lines:
        translator.translate([line], **system.options)
    handle.remove()
    return passes[0] / len(lines)


def alone(system: System, lines: Sequence[str]) -> float:
    """Median milliseconds of a sentence by itself."""
    took = []
    for line in [lines[0], *lines]:
        started = time.perf_counter()
        system.translator.translate([line], **system.options)
        took.append(time.perf_counter() - started)
    return 1000 * statistics.median(took[1:])


def in_bulk(system: System, lines: Sequence[str]) -> float:
    """Sentences/s of all together."""
    started = time.perf_counter()
    system.translator.translate(lines, **system.options)
    return len(lines) / (time.perf_counter() - started)


def measured(
    systems: Sequence[System],
    lines: Sequence[str],
    references: Sequence[str] | None,
    *,
    tokenize: str,
    single: int,
    runs: int,
) -> list[dict[str, object]]:
    """A row for each system, which take turns; speeds are compared with the first one's."""
    latencies: list[list[float]] = [[] for _ in systems]
    rates: list[list[float]] = [[] for _ in systems]
    for _ in range(runs):
        for system, own, rate in zip(systems, latencies, rates, strict=True):
            own.append(alone(system, lines[:single]))
            rate.append(in_bulk(system, lines))
    base = statistics.median(latencies[0])
    rows: list[dict[str, object]] = []
    for system, own, rate in zip(systems, latencies, rates, strict=True):
        latency = statistics.median(own)
        row: dict[str, object] = {"system": system.name}
        if references is not None:
            texts = [one.text for one in system.translator.translate(lines, **system.options)]
            row["BLEU"] = f"{score_text(texts, references, tokenize=tokenize).bleu:.2f}"
        row |= {
            "calls": f"{decoder_calls(system, lines[:single]):.1f}",
            "ms alone": f"{latency:.1f} [{min(own):.1f}-{max(own):.1f}]",
            "times faster": f"{base / latency:.1f}",
            "sentences/s in bulk": f"{statistics.median(rate):,.0f}",
        }
        rows.append(row)
    return rows


def random_model(tokenizer: Tokenizer, preset: str, table: dict[str, object]) -> Model:
    """Untrained, with lengths like those of the source, which they would have after training."""
    torch.manual_seed(1)
    config = model_config({"preset": preset, **table})
    network: Any = build_model(config, vocabulary_of(tokenizer))
    if table.get("decoder") == "fertility":
        # About six of ten draws are distinct, as in trained models.
        network.predictor.weight.data.zero_()
        network.predictor.bias.data.fill_(-100.0)
        network.predictor.bias.data[:3] = torch.tensor([0.03, 0.94, 0.03]).log()
    if table.get("decoder") == "mask-predict":
        middle = network.predictor.out_features // 2
        network.predictor.bias.data[middle - 2 : middle + 3] = 100.0
    network.eval()
    return Model(network, config, tokenizer)


def random_systems(train: tuple[Path, Path], preset: str, tokens: int) -> list[System]:
    """Untrained models, for their speed alone. tokens: length of each search result, end symbol included."""
    texts = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in train]
    tokenizer = SentencePieceTokenizer.learn(TokenizerConfig(), *texts)
    fixed = {"min_length": tokens - 1, "max_length": tokens}
    teacher = random_model(tokenizer, preset, {})
    config: Any = teacher.config
    layers = config.encoder_layers + config.decoder_layers
    deep = random_model(tokenizer, preset, {"encoder_layers": layers - 1, "decoder_layers": 1})
    found: list[System] = []
    for name, model in (("teacher", teacher), ("deep encoder", deep)):
        both = ways(name, model)
        found += [System(one.name, one.translator, {**one.options, **fixed}) for one in both]
    for decoder in ("fertility", "mask-predict", "ctc"):
        model = random_model(tokenizer, preset, {"kind": "nonautoregressive", "decoder": decoder})
        found += ways(decoder, model, teacher)
    return found


def as_long(lines: Sequence[str], tokens: int, tokenizer: Tokenizer) -> list[str]:
    """The words of these lines in order, cut into lines of at most `tokens` pieces, end symbol included."""
    found: list[list[str]] = [[]]
    pieces = 1
    for word in " ".join(lines).split():
        size = len(tokenizer.encode_source([word])[0]) - 1
        if pieces + size > tokens and found[-1]:
            found.append([])
            pieces = 1
        found[-1].append(word)
        pieces += size
    return [" ".join(words) for words in found[:-1]]


def trained_systems(teacher: Path, others: Sequence[Path]) -> list[System]:
    """The teacher first, which the others are compared with."""
    first = load_model(teacher)
    found = ways("teacher", first)
    for folder in others:
        found += ways(folder.name, load_model(folder), first)
    return found


def main() -> None:
    """Measure the teacher and each model named, or untrained ones."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--teacher", type=Path, help="a model or run folder; without it, random weights")
    parser.add_argument("--preset", default="tiny", help="of random weights")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a student or rival; repeat")
    parser.add_argument(
        "--tokens", type=int, help="of source and target with random weights; unset: the text, and 15"
    )
    parser.add_argument("--source", type=Path, help="test text (with --reference), tokenised as in training")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--tokenize", default="none", help="sacreBLEU's tokeniser; none: tokenised text")
    parser.add_argument("--single", type=int, default=100, help="sentences translated one at a time")
    parser.add_argument("--sentences", type=int, help="number of sentences of the test text, the first ones")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        text = corpus(options.data, Path(scratch))
        source, reference = (options.source, options.reference) if options.source else text.test
        lines = source.read_text(encoding="utf-8").split("\n")[:-1]
        references = None
        if options.teacher is not None:
            references = reference.read_text(encoding="utf-8").split("\n")[:-1][: options.sentences]
            systems = trained_systems(options.teacher, options.model)
        else:
            systems = random_systems(text.train, options.preset, options.tokens or 15)
            if options.tokens:
                lines = as_long(lines, options.tokens, systems[0].translator.tokenizer)
        lines = lines[: options.sentences]
        settings = {name: getattr(options, name) for name in ("tokenize", "single", "runs")}
        rows = measured(systems, lines, references, **settings)
    weights = f"{options.preset}, random weights" if options.teacher is None else str(options.teacher)
    weights += f", {options.tokens} tokens" if options.tokens else ""
    title = f"non-autoregressive, {weights}, {text.name}, float32, {options.threads} threads"
    show(title, rows, options.out)


if __name__ == "__main__":
    main()
