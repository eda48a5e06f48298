"""Names that parameters had in model folders of formats 1 and 2."""

import re

_RESIDUALS = (
    (r"\baround_self\.", "self_attention_residual."),
    (r"\baround_cross\.", "cross_attention_residual."),
    (r"\baround_positional\.", "positional_attention_residual."),
    (r"\baround_feed_forward\.", "feed_forward_residual."),
)
_ENCODER = (
    (r"^source_embedding\.", "encoder.embedding."),
    (r"^encoder\.(?=\d)", "encoder.layers."),
    (r"^encoder_norm\.", "encoder.norm."),
)
_PREDICTOR = ((r"^(fertility|length)\.", "predictor."), (r"^length_token$", "sentence_token"))
_RULES = {
    "transformer": (*_ENCODER, *_RESIDUALS),
    "nonautoregressive": (*_ENCODER, *_RESIDUALS, *_PREDICTOR),
    "transformer-lm": _RESIDUALS,
    "transformer-xl": _RESIDUALS,
}


def current_name(name: str, *, kind: str) -> str:
    """The current name of a parameter from a model folder of format 1 or 2."""
    for pattern, replacement in _RULES.get(kind, ()):
        name = re.sub(pattern, replacement, name)
    return name
