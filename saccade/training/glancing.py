"""CTC over all paths, with glancing (Qian et al. 2021, "Glancing Transformer for Non-Autoregressive Neural
Machine Translation", section 3; with CTC as in their section 4.1)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from saccade.decoding.nonautoregressive.lowest import lowest
from saccade.models.nonautoregressive.ctc import Ctc
from saccade.models.nonautoregressive.interface import AnyMemory
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.nn.ctc import best_paths
from saccade.nn.ctc_loss import Slots, class_log_probs, linear_ctc
from saccade.text.batching import Batch
from saccade.training.objective import Objective


@dataclass
class GlancingCtc(Objective):
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

    def __call__(self, model: NonAutoregressiveTransformer, batch: Batch) -> Tensor:
        """See `Objective`."""
        scheme, source, target = Ctc(model), batch["source"], batch["target"]
        memory = model.encode(source.values, source.lengths)
        pieces, _ = target.without_end()
        lengths = target.lengths - 1
        revealed, weight = None, model.output.weight
        share = self.share[0] + (self.share[1] - self.share[0]) * self.done
        if model.training:
            # Also with a share of 0: a parameter without gradient would stop several processes.
            revealed = self._glance(scheme, weight, memory, pieces, lengths, share=share)
        hidden, slots = scheme.write(memory, revealed)
        part = Slots(hidden, pieces, slots, lengths)
        total: Tensor = linear_ctc(part, weight, blank=scheme.blank, label_smoothing=self.label_smoothing)
        return total

    def _glance(
        self,
        scheme: Ctc,
        weight: Tensor,
        memory: AnyMemory,
        pieces: Tensor,
        lengths: Tensor,
        *,
        share: float,
    ) -> Tensor:
        """What slots read instead of their copies, (batch, slots), -1 where they don't."""
        slots = scheme.slots(memory)
        if not share:
            return pieces.new_full((len(lengths), int(slots.max())), -1)
        noise = torch.rand(len(lengths), int(slots.max()), device=pieces.device)
        devices = [pieces.device] if pieces.device.type == "cuda" else []
        # The state of the generators comes back: the pass that counts draws the same dropout.
        with torch.random.fork_rng(devices), torch.no_grad():
            hidden, _ = scheme.write(memory)
            whole = Slots(hidden, pieces, slots, lengths)
            found = torch.full_like(noise, -1, dtype=torch.int64)
            for place, part in whole.groups(len(weight)):
                values, said = class_log_probs(part, weight, blank=scheme.blank)
                own = noise[place, : said.size(1)]
                found[place, : said.size(1)] = reveal(
                    values, said, part, noise=own, share=share, blank=scheme.blank
                )
        return found


def reveal(values: Tensor, said: Tensor, part: Slots, *, noise: Tensor, share: float, blank: int) -> Tensor:
    """The likeliest path's ids at floor(share * Hamming distance) slots with the least noise, elsewhere -1.

    values (batch, slots, target + 1): log-probabilities of the blank and of the target's tokens; said
    (batch, slots): each slot's likeliest id, whose distance to the path it is; noise (batch, slots).
    """
    path, score = best_paths(values, part.targets, part.slots, part.lengths, blank=blank)
    used = part.real()
    distance = ((said != path) & used).sum(1)
    count = (share * distance).long().masked_fill(score.isinf(), 0)
    return path.masked_fill(~lowest(noise, used, count), -1)
