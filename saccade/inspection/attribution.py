"""What each token that was read contributes to each output token, by two methods that use no attention.

- Gradient x input (Denil et al. 2014): the gradient of an output token's log-probability with respect to the
  embedding of a token, times this embedding, summed over channels. Positions are not part of the embedding.
- Erasure (Li et al. 2016): an output token's log-probability, minus the same in a run without the token.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.trace import Rounds
from saccade.models.families import LanguageModel, Memory, Network, Seq2Seq

_ROW_TOKENS = 8192
"""Tokens that are read at a time: source and target together, over all rows."""
_LOGITS = 1 << 22
"""Logits that are held at a time: 32 MB in float64."""


class Attributor(ABC):
    """Attributes the output tokens of one translation to the tokens of its source (1, source)."""

    def __init__(self, source: Tensor) -> None:
        self.source = source

    @abstractmethod
    def log_probs(self, source: Tensor) -> Tensor:
        """Log-probabilities in nats, float64 (rows, tokens), given sources (rows, source) without padding."""

    @abstractmethod
    def gradient(self) -> Tensor:
        """Gradient x input, float64 (tokens, source)."""

    @property
    def positions(self) -> int:
        """The number of positions of the decoder for each source: a measure of memory."""
        return self.source.size(1)

    @property
    def erasable(self) -> int:
        """The number of source tokens, from the first one, that can be left out."""
        return self.source.size(1)

    def erasure(self) -> Tensor:
        """Erasure, float64 (tokens, source); NaN for what cannot be left out, such as a single token."""
        with torch.inference_mode():
            whole = self.log_probs(self.source)[0].cpu()
            length = self.source.size(1)
            found = torch.full((len(whole), length), torch.nan, dtype=torch.float64)
            if length == 1:
                return found
            shorter = without_each(self.source[0])[: self.erasable]  # (erasable, source - 1)
            step = max(_ROW_TOKENS // (length + self.positions), 1)
            without = [self.log_probs(rows) for rows in shorter.split(step)]
            if without:
                found[:, : self.erasable] = (whole - torch.cat(without).cpu()).T
        return found


class SourceAttributor(Attributor):
    """Attributes the tokens of a target (ids, end symbol last) that a model writes token by token."""

    def __init__(self, network: Seq2Seq[Any, Any], source: Tensor, target: Sequence[int]) -> None:
        super().__init__(source)
        self.network = network
        self.target = torch.tensor(target, device=source.device)

    @property
    def positions(self) -> int:
        """See `Attributor.positions`."""
        return len(self.target)

    def hidden(self, source: Tensor) -> Tensor:
        """Hidden states (rows, target, width) given sources (rows, source) without padding."""
        rows, network = source.size(0), self.network
        lengths = torch.full((rows,), source.size(1), device=source.device)
        gold = self.target.expand(rows, -1)
        start = torch.full_like(gold[:, :1], network.vocabulary.start)
        return network.decode(torch.cat([start, gold[:, :-1]], 1), network.encode(source, lengths))

    @torch.inference_mode()
    def log_probs(self, source: Tensor) -> Tensor:
        """See `Attributor.log_probs`."""
        return picked(self.network.output, self.hidden(source), self.target.expand(source.size(0), -1))

    def gradient(self) -> Tensor:
        """See `Attributor.gradient`."""
        return gradient_times_input(self.network, self.source, self.hidden, self.target)


class AtOnceAttributor(Attributor):
    """Attributes the tokens that a non-autoregressive model writes at once.

    What the log-probability of a token is, its decoder says (`token_log_probs`). The end symbol of the source
    cannot be left out, because the positions of the decoder are counted from it. rounds: those of `traced`.
    """

    def __init__(
        self, decoder: NonAutoregressiveDecoder[Any], source: Tensor, target: Sequence[int], rounds: Rounds
    ) -> None:
        super().__init__(source)
        self.decoder, self.target, self.rounds = decoder, target, rounds

    @property
    def positions(self) -> int:
        """See `Attributor.positions`."""
        lengths = torch.full_like(self.source[:, 0], self.source.size(1))
        return len(self.decoder.axis(self.source, lengths, self.target)) * max(len(self.rounds), 1)

    @property
    def erasable(self) -> int:
        """See `Attributor.erasable`."""
        return self.source.size(1) - 1

    def log_probs(self, source: Tensor) -> Tensor:
        """See `Attributor.log_probs`."""
        return self.decoder.token_log_probs(source, self.target, self.rounds)

    @torch.inference_mode(False)
    def gradient(self) -> Tensor:
        """See `Attributor.gradient`. A copy of an embedding that the decoder reads belongs to its source."""
        source = self.source.clone()
        lengths = torch.full_like(source[:, 0], source.size(1))
        copies = self.decoder.copies(source, lengths, self.target)
        found = []
        with torch.enable_grad(), embedding_of(self.decoder.network, source, copies) as embedded:
            log_probs = self.log_probs(source)[0]
            [inputs] = embedded
            for log_prob in log_probs:
                [gradient] = torch.autograd.grad(log_prob, [inputs], retain_graph=True)
                found.append((gradient.double() * inputs.detach().double()).sum(-1)[0].cpu())
        return torch.stack(found) if found else torch.zeros(0, source.size(1), dtype=torch.float64)


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
def embedding_of(network: nn.Module, ids: Tensor, copies: Tensor | None = None) -> Iterator[list[Tensor]]:
    """Collects the embeddings (rows, length, width) of ids when the network first reads them.

    Their gradient can be computed, and ends there. ids (rows, length) may stand behind other ids. copies
    (rows, positions): the places of ids that the network reads again later; these embeddings are the same.
    """
    found: list[Tensor] = []
    again = None if copies is None else ids.gather(1, copies)

    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        read = args[0]
        if found:
            copied = again is not None and read.shape == again.shape and torch.equal(read, again)
            if not copied:
                return None
            return found[0].gather(1, cast(Tensor, copies)[..., None].expand(-1, -1, output.size(-1)))
        own = read[:, read.size(1) - ids.size(1) :] if read.dim() == 2 else read
        if own.shape != ids.shape or not torch.equal(own, ids):
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
