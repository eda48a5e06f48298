"""CTC over all paths, with glancing (Qian et al. 2021, "Glancing Transformer for Non-Autoregressive Neural
Machine Translation", section 3; with CTC as in their section 4.1)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from saccade.decoding.lowest import lowest
from saccade.models.interface import Aligned
from saccade.nn.ctc import best_paths
from saccade.text.batching import Batch


@dataclass
class GlancingCtc:
    """-log of the sum over all paths to the target, while some slots read what they should say.

    A first pass without gradient shows how many slots differ from the likeliest path to the target; a share
    of as many slots, chosen at random, then reads that path's tokens. The second pass has the same dropout.
    share: at the start and at the end of training, falling in a straight line; 0 is plain CTC, which is
    also what is computed outside training. Targets without room in the slots count nothing.
    """

    share: tuple[float, float] = (0.0, 0.0)
    label_smoothing: float = 0.0
    """Share of each slot's target spread over the vocabulary: the KL term of Kim et al. 2018."""
    done: float = field(default=0.0, init=False)

    def at(self, done: float) -> None:
        """Where training stands: the share of its updates that are done."""
        self.done = done

    def __call__(self, model: Aligned, batch: Batch) -> Tensor:
        """See `Objective`."""
        memory = model.encode(batch.source, batch.source_lengths)
        pieces, real = batch.without_end()
        lengths = batch.target_lengths - 1
        revealed = None
        share = self.share[0] + (self.share[1] - self.share[0]) * self.done
        assert isinstance(model, nn.Module)
        if model.training:
            # Also with a share of 0: a parameter without gradient would stop several processes.
            revealed = self._glance(model, memory, pieces, lengths, share)
        hidden, slots = model.write(memory, revealed)
        log_probs = model.output(hidden).float().log_softmax(-1)
        total: Tensor = ctc_loss(
            log_probs.transpose(0, 1),
            pieces[real],
            slots,
            lengths,
            blank=model.blank,
            reduction="sum",
            zero_infinity=True,
        )
        if self.label_smoothing:
            used = torch.arange(log_probs.size(1), device=slots.device) < slots[:, None]
            spread = -log_probs[used].mean(-1).sum()
            total = (1 - self.label_smoothing) * total + self.label_smoothing * spread
        return total

    def _glance(
        self, model: Aligned, memory: object, pieces: Tensor, lengths: Tensor, share: float
    ) -> Tensor:
        """What slots read instead of their copies, (batch, slots), -1 where they don't."""
        slots = model.slots(memory)
        if not share:
            return pieces.new_full((len(lengths), int(slots.max())), -1)
        noise = torch.rand(len(lengths), int(slots.max()), device=pieces.device)
        devices = [pieces.device] if pieces.device.type == "cuda" else []
        # The state of the generators comes back: the pass that counts draws the same dropout.
        with torch.random.fork_rng(devices), torch.no_grad():
            hidden, _ = model.write(memory)
            log_probs = model.output(hidden).float().log_softmax(-1)
        return reveal(log_probs, pieces, slots, lengths, noise=noise, share=share, blank=model.blank)


def reveal(
    log_probs: Tensor,
    pieces: Tensor,
    slots: Tensor,
    lengths: Tensor,
    *,
    noise: Tensor,
    share: float,
    blank: int,
) -> Tensor:
    """The likeliest path's ids at floor(share * Hamming distance) slots with the least noise, elsewhere -1.

    log_probs (batch, slots, vocabulary), noise (batch, slots); the distance is that of the likeliest token
    of each slot to the path.
    """
    path, score = best_paths(log_probs, pieces, slots, lengths, blank=blank)
    used = torch.arange(path.size(1), device=path.device) < slots[:, None]
    distance = ((log_probs.argmax(-1) != path) & used).sum(1)
    count = (share * distance).long().masked_fill(score.isinf(), 0)
    return path.masked_fill(~lowest(noise, used, count), -1)
