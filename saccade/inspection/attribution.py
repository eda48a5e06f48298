"""What each token that was read contributes to each output token, by two methods that use no attention.

- Gradient x input (Denil et al. 2014): the gradient of an output token's log-probability with respect to the
  embedding of a token, times this embedding, summed over channels. Positions are not part of the embedding.
- Erasure (Li et al. 2016): an output token's log-probability, minus the same in a run without the token.

Attention alone does not show what a prediction rests on (Jain and Wallace 2019), so that `rank_correlation`
compares the two.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from saccade.models.families import LanguageModel, Memory, Network, Seq2Seq
from saccade.models.recording import AttentionMap

_ROW_TOKENS = 8192
"""Tokens that are read at a time: source and target together, over all rows."""
_LOGITS = 1 << 22
"""Logits that are held at a time: 32 MB in float64."""
_FEWEST = 3
"""Number of keys from which on a rank correlation says something."""


class SourceAttributor:
    """Attributes the tokens of a target (ids, end symbol last) to those of its source (1, source)."""

    def __init__(self, network: Seq2Seq[Any, Any], source: Tensor, target: Sequence[int]) -> None:
        self.network, self.source = network, source
        self.target = torch.tensor(target, device=source.device)

    def hidden(self, source: Tensor) -> Tensor:
        """Hidden states (rows, target, width) given sources (rows, source) without padding."""
        rows, network = source.size(0), self.network
        lengths = torch.full((rows,), source.size(1), device=source.device)
        gold = self.target.expand(rows, -1)
        start = torch.full_like(gold[:, :1], network.vocabulary.start)
        return network.decode(torch.cat([start, gold[:, :-1]], 1), network.encode(source, lengths))

    @torch.inference_mode()
    def log_probs(self, source: Tensor) -> Tensor:
        """Log-probabilities in nats, float64 (rows, target), given sources (rows, source)."""
        return picked(self.network.output, self.hidden(source), self.target.expand(source.size(0), -1))

    def gradient(self) -> Tensor:
        """Gradient x input, float64 (target, source)."""
        return gradient_times_input(self.network, self.source, self.hidden, self.target)

    def erasure(self) -> Tensor:
        """Erasure, float64 (target, source); NaN if the source has a single token."""
        whole = self.log_probs(self.source)[0]
        length = self.source.size(1)
        if length == 1:
            return torch.full((len(whole), 1), torch.nan, dtype=torch.float64)
        shorter = without_each(self.source[0])  # (source, source - 1)
        step = max(_ROW_TOKENS // (length + len(whole)), 1)
        without = torch.cat([self.log_probs(rows) for rows in shorter.split(step)])  # (source, target)
        return (whole - without).T.cpu()


class TextAttributor:
    """Attributes each token of a text to those before it in the segment that a language model reads.

    read (1, length): the segment, after `memory`; target (length,): the token that follows each.
    """

    def __init__(self, network: LanguageModel, read: Tensor, target: Tensor, memory: Memory) -> None:
        self.network, self.read, self.target, self.memory = network, read, target, memory

    def hidden(self, read: Tensor) -> Tensor:
        """Hidden states (rows, length, width) of read (rows, length)."""
        rows = read.size(0)
        memory = tuple(tensor.expand(rows, *tensor.shape[1:]) for tensor in self.memory)
        return self.network.read(read, memory)[0]

    @torch.inference_mode()
    def log_probs(self, read: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities in nats, float64 (rows, length), of the token after each; target (length,)."""
        return picked(self.network.output, self.hidden(read), target.expand(read.size(0), -1))

    def gradient(self) -> Tensor:
        """Gradient x input, float64 (target, read); 0 for tokens that come later."""
        return gradient_times_input(self.network, self.read, self.hidden, self.target)

    def erasure(self) -> Tensor:
        """Erasure, float64 (target, read); 0 for tokens that come later, NaN if nothing is left."""
        whole = self.log_probs(self.read, self.target)[0].cpu()
        length = self.read.size(1)
        found = torch.zeros(length, length, dtype=torch.float64)
        found[0, 0] = torch.nan
        if length == 1:
            return found
        shorter = without_each(self.read[0])  # (read, read - 1)
        # Without token j, what follows token i >= j is predicted one place earlier.
        parts = shorter.split(max(_ROW_TOKENS // length, 1))
        without = torch.cat([self.log_probs(rows, self.target[1:]) for rows in parts]).cpu()
        for token in range(length):
            found[max(token, 1) :, token] = whole[max(token, 1) :] - without[token, max(token, 1) - 1 :]
        return found


def picked(output: nn.Module, hidden: Tensor, gold: Tensor) -> Tensor:
    """Log-probabilities in nats, float64 (rows, length), of gold; hidden (rows, length, width).

    Logits are made for a few positions at a time, so that a large vocabulary fits in memory.
    """
    step = max(_LOGITS // cast(nn.Linear, output).out_features, 1)
    parts = zip(hidden.flatten(0, 1).split(step), gold.flatten().split(step), strict=True)
    found = [output(part).double().log_softmax(-1).gather(1, own[:, None])[:, 0] for part, own in parts]
    return torch.cat(found).view(gold.shape)


def without_each(ids: Tensor) -> Tensor:
    """The sequences (length, length - 1) that lack one of the ids (length,) each, in their order."""
    length = len(ids)
    kept = ~torch.eye(length, dtype=torch.bool, device=ids.device)
    return ids.expand(length, -1)[kept].view(length, length - 1)


@torch.inference_mode(False)
def gradient_times_input(
    network: Network, ids: Tensor, hidden: Callable[[Tensor], Tensor], target: Tensor
) -> Tensor:
    """Gradient x input, float64 (target, length), of ids (1, length).

    hidden: from ids (rows, length) to hidden states (rows, target, width). Each output token has a row of its
    own, so that one backward pass gives the gradients of several.
    """
    length, found = ids.size(1), []
    step = max(min(_ROW_TOKENS // (length + len(target)), _LOGITS // network.output.out_features), 1)
    for part in torch.arange(len(target), device=ids.device).split(step):
        rows = ids.clone().expand(len(part), -1)
        with torch.enable_grad(), embedding_of(network, rows) as embedded:
            states = hidden(rows)[torch.arange(len(part), device=ids.device), part]  # (rows, width)
            log_probs = network.output(states).double().log_softmax(-1)
            chosen = log_probs.gather(1, target[part, None].clone())
            [inputs] = embedded
            [gradient] = torch.autograd.grad(chosen.sum(), [inputs])
        found.append((gradient.double() * inputs.detach().double()).sum(-1).cpu())
    return torch.cat(found)


@contextlib.contextmanager
def embedding_of(network: nn.Module, ids: Tensor) -> Iterator[list[Tensor]]:
    """Collects the embeddings (rows, length, width) of ids when the network first reads them.

    Their gradient can be computed, and ends there. ids (rows, length) may stand behind other ids.
    """
    found: list[Tensor] = []

    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        read = args[0]
        own = read[:, read.size(1) - ids.size(1) :] if read.dim() == 2 else read
        if found or own.shape != ids.shape or not torch.equal(own, ids):
            return None
        found.append(output[:, output.size(1) - ids.size(1) :].detach().requires_grad_())
        return torch.cat([output[:, : output.size(1) - ids.size(1)].detach(), found[0]], 1)

    handles = [
        module.register_forward_hook(hook) for module in network.modules() if isinstance(module, nn.Embedding)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def correlations(one: AttentionMap, attribution: Tensor, *, causal: bool) -> tuple[float | None, ...]:
    """The mean rank correlation of each head of a map (heads, query, key) with attributions (query, key).

    Both are compared in absolute value. causal: a query is compared on the keys up to its own alone.
    """
    weights, values = one.weights.double().numpy(), attribution.abs().numpy()
    found = []
    for head in weights:
        rows = [
            rank_correlation(row[: place + 1], value[: place + 1]) if causal else rank_correlation(row, value)
            for place, (row, value) in enumerate(zip(head, values, strict=True))
        ]
        known = [row for row in rows if row is not None]
        found.append(sum(known) / len(known) if known else None)
    return tuple(found)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's rank correlation of two vectors, equal values having their mean rank.

    None for fewer than three values, and if all values of one vector are equal or one is not a number.
    """
    if len(one) < _FEWEST or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    first, second = _ranks(one), _ranks(other)
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else None


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends: np.ndarray = counts.cumsum()
    ranks: np.ndarray = (ends - (counts - 1) / 2)[inverse]
    return ranks
