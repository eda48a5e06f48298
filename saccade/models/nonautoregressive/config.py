"""The section `[model]` of non-autoregressive models."""

from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from saccade.models.blocks import BlocksConfig

SchemeName = Literal["fertility", "mask-predict", "ctc"]

_OWNERS = {"copies": "fertility", "max_fertility": "fertility", "slots": "ctc"}


class NonAutoregressiveConfig(BlocksConfig):
    """Sizes default to the paper's for WMT, which are the Transformer's base model."""

    kind: Literal["nonautoregressive"] = "nonautoregressive"
    """Which system this is."""
    decoder: SchemeName = "fertility"
    """What the decoder reads and how it knows the length. fertility: each source piece as often as it is
    translated (Gu et al. 2018); mask-predict: masked tokens, filled in over several rounds (CMLM,
    Ghazvininejad et al. 2019); ctc: more slots than tokens, blanks and repetitions left out afterwards
    (Libovický and Helcl 2018), trained by glancing (Qian et al. 2021)."""
    positional_attention: bool | None = None
    """A further sub-layer in which positions look for positions (Gu et al. 2018, section 3.2). Unset: with
    fertility only."""
    copies: Literal["fertility", "uniform"] | None = None
    """fertility only. How the source is copied into the decoder: each piece as often as its fertility, or
    evenly over as many inputs as the fertilities add up to (an ablation). Unset: fertility."""
    max_fertility: PositiveInt | None = None
    """fertility only. Most target pieces that a source piece is predicted to have. Unset: 50, the paper's."""
    slots: PositiveInt | None = None
    """ctc only. Decoder positions for each source piece. Unset: 2."""

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
