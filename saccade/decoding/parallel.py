"""Models that write all positions at once: their counterpart of `WordByWord`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from saccade.config import Section
from saccade.decoding.ctc import aligned_log_probs, decode_aligned, likeliest_paths
from saccade.decoding.fertility import decode_fertility
from saccade.decoding.forced_fertilities import likeliest_with_sum
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.mask_predict import decode_masked
from saccade.decoding.parallel_options import SCHEMES, CtcDecoding, FertilityDecoding, MaskPredictDecoding
from saccade.decoding.scoring import Judge
from saccade.errors import UserError
from saccade.models.interface import Aligned, Fertile, Masked, Parallel


@dataclass(frozen=True)
class AllAtOnce:
    """See `Writing`. ready: makes what is driven of the model, when it is first needed; judge: who picks
    among the candidates."""

    model: Parallel
    ready: Callable[[], Parallel]
    judge: Judge | None = None

    @cached_property
    def _driven(self) -> Parallel:
        return self.ready()

    @property
    def options(self) -> type[Section]:
        """That of the model's scheme."""
        return SCHEMES[self.model.scheme]

    @property
    def reads_target(self) -> bool:
        """CTC fills the same slots whatever the target."""
        return not isinstance(self.model, Aligned)

    @torch.inference_mode()
    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: Section,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]] = (),
    ) -> list[list[Hypothesis]]:
        """One hypothesis for each sentence. Raises UserError for a prefix that is not empty."""
        if any(prefixes):
            raise UserError(
                "a non-autoregressive model cannot take a forced prefix: it would predict the other words "
                "without knowing it."
            )
        model: Any = self._driven  # its scheme is that of the options
        if isinstance(options, FertilityDecoding):
            return decode_fertility(
                model, source, source_lengths, options=options, lines=lines, judge=self.judge
            )
        if isinstance(options, MaskPredictDecoding):
            return decode_masked(model, source, source_lengths, options=options, judge=self.judge)
        assert isinstance(options, CtcDecoding)
        return decode_aligned(model, source, source_lengths, options=options, judge=self.judge)

    def log_probs(self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
        """All paths of CTC together; UserError for the others, which have no such sum."""
        if isinstance(self.model, Aligned):
            pieces = [target[:-1] for target in targets]
            return aligned_log_probs(self.model, source, source_lengths, pieces)
        sum_over = "fertilities" if isinstance(self.model, Fertile) else "orders in which words are masked"
        raise UserError(
            f"a non-autoregressive model with decoder = {self.model.scheme} gives a target no probability "
            f"that can be added up: it would take all {sum_over}. Score with its teacher."
        )

    def run(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> None:
        """With masks, every target token is there to be seen. With fertilities, they are the likeliest ones
        that add up to the target's length."""
        model, pieces = self.model, list(target[:-1])
        memory = model.encode(source, source_lengths)
        if isinstance(model, Masked):
            length = torch.tensor([len(pieces)], device=source.device)
            model.write(torch.tensor([pieces], device=source.device), length, memory)
        elif isinstance(model, Fertile):
            log_probs = model.fertility_logits(memory)[0].log_softmax(-1)[model.has_fertility(memory)[0]]
            chosen = likeliest_with_sum(log_probs, len(pieces))
            chosen += [0] * (source.size(1) - len(chosen))
            model.write(torch.tensor([chosen], device=source.device), memory)
        else:
            assert isinstance(model, Aligned)
            model.write(memory)

    def axis(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:
        """Targets without end symbol; of CTC what stands in the slots."""
        if isinstance(self.model, Aligned):
            [[found]] = likeliest_paths(self.model, source, source_lengths)
            return list(found.path)
        return list(target[:-1])
