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
    """The CTC loss of a decoder some of whose slots read the tokens that they should write.

    A first pass without gradient counts the slots that differ from the most likely path to the target. Then a
    share of that number of slots, chosen at random, reads that path's tokens; the second pass has the same
    dropout. share: at the start and at the end of training, linear in between; 0 is plain CTC, which is also
    used outside training. Targets that do not fit into their slots count 0.
    """

    share: tuple[float, float] = (0.0, 0.0)
    label_smoothing: float = 0.0
    """Share of each slot's target that is spread over the vocabulary: the KL term of Kim et al. 2018."""
    done: float = field(default=0.0, init=False)

    def at(self, done: float) -> None:
        """See `Objective.at`."""
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
            # Even with a share of 0: distributed training needs a gradient for every parameter.
            revealed = self._glance(scheme, weight, memory, pieces, lengths, share=share)
        hidden, slots = scheme.write(memory, revealed)  # (batch, slots, width)
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
        """Ids (batch, slots) that slots read instead of their copies, -1 for none."""
        slots = scheme.slots(memory)
        if not share:
            return pieces.new_full((len(lengths), int(slots.max())), -1)
        noise = torch.rand(len(lengths), int(slots.max()), device=pieces.device)
        devices = [pieces.device] if pieces.device.type == "cuda" else []
        # The generators' state is restored afterwards, so that both passes draw the same dropout.
        with torch.random.fork_rng(devices), torch.no_grad():
            hidden, _ = scheme.write(memory)
            whole = Slots(hidden, pieces, slots, lengths)
            found = torch.full_like(noise, -1, dtype=torch.int64)
            for place, part in whole.groups(len(weight)):
                values, best = class_log_probs(part, weight, blank=scheme.blank)
                own = noise[place, : best.size(1)]
                found[place, : best.size(1)] = reveal(
                    values, best, part, noise=own, share=share, blank=scheme.blank
                )
        return found


def reveal(values: Tensor, best: Tensor, part: Slots, *, noise: Tensor, share: float, blank: int) -> Tensor:
    """The ids of the most likely path at floor(share * Hamming distance) slots with the least noise, else -1.

    values (batch, slots, target + 1): log-probabilities of the blank and of the target's tokens; best
    (batch, slots): each slot's most likely id, compared with the path; noise (batch, slots).
    """
    path, score = best_paths(values, part.targets, part.slots, part.lengths, blank=blank)
    used = part.real()
    distance = ((best != path) & used).sum(1)
    count = (share * distance).long().masked_fill(score.isinf(), 0)
    return path.masked_fill(~lowest(noise, used, count), -1)
