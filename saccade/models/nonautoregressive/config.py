"""The section `[model]` of non-autoregressive models."""

from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from saccade.models.blocks import BlocksConfig

SchemeName = Literal["fertility", "mask-predict", "ctc", "dag"]

_OWNERS = {"copies": "fertility", "max_fertility": "fertility", "slots": "ctc", "vertices": "dag"}


class NonAutoregressiveConfig(BlocksConfig):
    """Settings of non-autoregressive models; default sizes are the paper's for WMT (Transformer base)."""

    kind: Literal["nonautoregressive"] = "nonautoregressive"
    """Kind of model."""
    decoder: SchemeName = "fertility"
    """Scheme that determines the decoder's input and the target length. fertility: copies of each source
    piece (Gu et al. 2018); mask-predict: masked tokens, filled in over several rounds (CMLM, Ghazvininejad et
    al. 2019); ctc: more slots than tokens, blanks and repetitions removed afterwards (Libovický and Helcl
    2018), trained by glancing (Qian et al. 2021); dag: a path through a graph of more vertices than tokens
    (directed acyclic Transformer, Huang et al. 2022)."""
    positional_attention: bool | None = None
    """Whether decoder layers have positional attention (Gu et al. 2018, section 3.2). Unset: with fertility
    only."""
    copies: Literal["fertility", "uniform"] | None = None
    """Way of copying the source into the decoder (fertility only): each piece as often as its fertility, or
    evenly over as many inputs as the fertilities add up to (an ablation). Unset: fertility."""
    max_fertility: PositiveInt | None = None
    """Maximum number of target pieces for a source piece (fertility only). Unset: 50, as in the paper."""
    slots: PositiveInt | None = None
    """Number of decoder positions for each source piece (ctc only). Unset: 2."""
    vertices: PositiveInt | None = None
    """Number of vertices of the graph for each source piece (dag only). Unset: 8, as in the paper."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: sinusoidal positions need an even one")
        for name, owner in _OWNERS.items():
            if getattr(self, name) is not None and self.decoder != owner:
                raise ValueError(
                    f"{name} is a setting of decoder = {owner}, and this is {self.decoder}; leave it out"
                )
        return self
