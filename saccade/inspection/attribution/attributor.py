"""The base of all attributors, and the parts that they share."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from saccade.inspection.attribution.embeddings import Embeddings, embedding_of

ROW_TOKENS = 8192
"""Tokens that are read at a time: source and target together, over all rows."""


class Attributor(ABC):
    """Attributes the tokens of one output to the tokens that were read for it."""

    length: int
    """Number of tokens that were read."""
    positions: int
    """Number of tokens that are computed for each run without a token: a measure of memory."""
    erasable: int
    """Number of tokens, the first ones, that can be left out."""
    places: Tensor | None = None
    """The places (tokens,), among those read, of which the output tokens speak, such as labels of words."""

    @abstractmethod
    def log_probs(self) -> Tensor:
        """Log-probabilities in nats, float64 (tokens,)."""

    @abstractmethod
    def without(self, places: Tensor) -> Tensor:
        """Those without the token at each place, float64 (places, tokens); NaN for an output that depends on
        its own place."""

    @abstractmethod
    def gradient(self) -> Tensor:
        """Gradient x input, float64 (tokens, read)."""

    def erasure(self) -> Tensor:
        """Erasure, float64 (tokens, read); NaN for what cannot be left out, such as a single token."""
        with torch.inference_mode():
            whole = self.log_probs().cpu()
            found = torch.full((len(whole), self.length), torch.nan, dtype=torch.float64)
            if self.length == 1:
                return found
            step = max(ROW_TOKENS // self.positions, 1)
            parts = [self.without(part) for part in torch.arange(self.erasable).split(step)]
            if parts:
                found[:, : self.erasable] = (whole - torch.cat(parts).cpu()).T
        return found


def without_places(values: Tensor, places: Tensor) -> Tensor:
    """Rows (places, length - 1, ...) of values (1, length, ...) that lack the value at one place each."""
    length = values.size(1)
    kept = places.to(values.device)[:, None] != torch.arange(length, device=values.device)
    rows: Tensor = values.expand(len(places), *values.shape[1:])[kept]
    return rows.view(len(places), length - 1, *values.shape[2:])


@torch.inference_mode(False)
def backward(log_probs: Callable[[], Tensor], embeddings: Embeddings) -> Tensor:
    """Gradient x input, float64 (tokens, length), by one forward pass and a backward pass for each token.

    log_probs: computes log-probabilities (tokens,) from the embeddings.
    """
    found = []
    with torch.enable_grad(), embeddings as kept:
        values = log_probs()
        [inputs] = kept
        for value in values:
            [gradient] = torch.autograd.grad(value, [inputs], retain_graph=True)
            found.append((gradient.double() * inputs.detach().double()).sum(-1)[0].cpu())
    return torch.stack(found) if found else torch.zeros(0, inputs.size(1), dtype=torch.float64)


@torch.inference_mode(False)
def backward_rows(
    network: nn.Module,
    ids: Tensor,
    log_probs: Callable[[Tensor, Tensor], Tensor],
    *,
    tokens: int,
    step: int,
    copies: Tensor | None = None,
) -> Tensor:
    """Gradient x input, float64 (tokens, length), of ids (1, length), `step` output tokens at a time.

    log_probs: from ids (rows, length) and one output token (rows,) for each row to the log-probabilities
    (rows,). Each token has a row of its own, so that one backward pass gives the gradients of several.
    copies: see `embedding_of`.
    """
    found = [torch.zeros(0, ids.size(1), dtype=torch.float64)]
    again = None if copies is None else copies.clone()
    for part in torch.arange(tokens, device=ids.device).split(step):
        rows = ids.clone().expand(len(part), -1)
        copied = None if again is None else again.expand(len(part), -1)
        with torch.enable_grad(), embedding_of(network, rows, copied) as kept:
            values = log_probs(rows, part)
            [inputs] = kept
            [gradient] = torch.autograd.grad(values.sum(), [inputs])
        found.append((gradient.double() * inputs.detach().double()).sum(-1).cpu())
    return torch.cat(found)
