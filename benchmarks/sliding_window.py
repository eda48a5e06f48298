"""Evaluation of a language model by reused memory against a sliding window, at equal context.

The window is read again for every token, as a model without a memory has to do to use its whole context
(Al-Rfou et al. 2019); Transformer-XL reads a segment at a time and keeps the states of what came before, so
that each token sees at least as much (Dai et al. 2019, on evaluation speed). One stream, random weights,
since speed does not depend on what they say; the two models have the same sizes.
"""

import statistics
import time
from typing import Any, cast

import torch

from benchmarks.common import arguments, show
from saccade.models import build_model, model_config
from saccade.models.families import LanguageModel
from saccade.models.interface import Vocabulary

VOCABULARY = Vocabulary(4000, 4000, pad=0, start=2, end=3, shared=True)
CONTEXTS = (128, 512, 1024, 2048, 3800)


def network(kind: str, *, preset: str, context: int, segment: int) -> LanguageModel:
    settings = {"kind": kind, "preset": preset, "memory": context, "segment": segment}
    torch.manual_seed(0)
    built: Any = build_model(model_config(settings), VOCABULARY)
    built.eval()
    return cast(LanguageModel, built)


@torch.inference_mode()
def seconds_a_token(model: LanguageModel, *, context: int, segment: int, runs: int) -> float:
    """Median over `runs` segments, each read after `context` tokens; what is predicted is computed too."""
    tokens = torch.randint(4, 4000, (1, context))
    memory = model.start(1)
    for piece in tokens.split(512, 1):
        _, memory = model.read(piece, memory)
    took = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        hidden, memory = model.read(tokens[:, :segment], memory)
        model.output(hidden).log_softmax(-1)
        took.append((time.perf_counter() - started) / segment)
    return statistics.median(took[1:])


def main() -> None:
    """Measure both at each length of context."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--preset", default="tiny", help="size of both models")
    parser.add_argument("--segment", type=int, default=128, help="tokens that Transformer-XL reads at a time")
    parser.add_argument("--contexts", type=int, nargs="+", default=list(CONTEXTS), metavar="TOKENS")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, object]] = []
    for context in options.contexts:
        window = network("transformer-lm", preset=options.preset, context=context, segment=1)
        memory = network("transformer-xl", preset=options.preset, context=context, segment=options.segment)
        slow = seconds_a_token(window, context=context, segment=1, runs=options.runs)
        fast = seconds_a_token(memory, context=context, segment=options.segment, runs=options.runs)
        rows.append(
            {
                "context": context,
                "window, ms a token": f"{1000 * slow:.3f}",
                "memory, ms a token": f"{1000 * fast:.3f}",
                "times faster": f"{slow / fast:.0f}",
            }
        )
    show(f"evaluation, preset {options.preset}, {options.threads} threads", rows, options.out)


if __name__ == "__main__":
    main()
