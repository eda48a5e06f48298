"""Translation of number words in miniature: the sizes of each kind, a model, and its scores."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.evaluation import score_text
from saccade.lab.learning import fit, new_model
from saccade.lab.numerals import batches, german_of, vocabulary
from saccade.lab.toys import Pair
from saccade.text.batching import Batch
from saccade.training.objective import CrossEntropy

SIZES: dict[str, dict[str, object]] = {
    "transformer": {"width": 32, "heads": 4, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1},
    "recurrent": {"width": 48, "embedding": 32, "encoder_layers": 1, "decoder_layers": 1},
    "convolutional": {"width": 32, "embedding": 32, "encoder_layers": 2, "decoder_layers": 2},
}


def translator(numbers: Sequence[int], *, seed: int, steps: int, smoothing: float = 0.0) -> Any:
    """A small Transformer trained on these numbers."""
    model = new_model("transformer", vocabulary(), seed=seed, **SIZES["transformer"])
    objective = CrossEntropy(label_smoothing=smoothing)
    fit(model, batches(numbers, seed=seed), steps=steps, objective=objective, peak_rate=6e-3)
    return model


def bleu(written: Sequence[Sequence[int]], pairs: Sequence[Pair]) -> float:
    """BLEU of German number words, their parts as tokens."""
    said = [" ".join(german_of(ids)) for ids in written]
    references = [" ".join(german_of(target)) for _, target in pairs]
    return score_text(said, references, tokenize="none").bleu


@torch.no_grad()
def log_probs(model: Any, batch: Batch) -> Tensor:
    """Teacher-forced log-probabilities (rows, target, vocabulary)."""
    memory = model.encode(batch["source"].values, batch["source"].lengths)
    found: Tensor = model.output(model.decode(batch["target_in"].values, memory)).log_softmax(-1)
    return found
