"""Engines for GPUs, as far as a CPU can show them: weights in 16 bits, and who gets a fixed step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from saccade.decoding.options import DecodingConfig
from saccade.decoding.strategy import decoder_of
from saccade.engine import device_engine, make_engine
from saccade.engine.fixed import FixedTransformer
from saccade.errors import UserError
from saccade.models import build_model, model_config
from tests.tiny import padded, sentences, transformer, vocabulary

SIZES = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1}
TABLES: dict[str, dict[str, Any]] = {
    "transformer": {**SIZES},
    "rotary": {"positions": "rotary", **SIZES},
    "relative": {"positions": "relative", **SIZES},
    "alibi": {"positions": "alibi", **SIZES},
    "recurrent": {"kind": "recurrent", "width": 16, "embedding": 12},
    "convolutional": {"kind": "convolutional", "width": 16, "embedding": 12},
    "fertility": {"kind": "nonautoregressive", "decoder": "fertility", **SIZES},
    "mask-predict": {"kind": "nonautoregressive", "decoder": "mask-predict", **SIZES},
    "ctc": {"kind": "nonautoregressive", "decoder": "ctc", **SIZES},
}


def test_16_bits_are_refused_on_a_cpu() -> None:
    with pytest.raises(UserError, match="precision bfloat16: products in 16 bits are for GPUs.*int8"):
        make_engine(transformer(dtype=torch.float32), precision="bfloat16")


@pytest.mark.parametrize("name", TABLES)
def test_every_kind_decodes_in_16_bits(name: str) -> None:
    torch.manual_seed(1)
    network = build_model(model_config(TABLES[name]), vocabulary()).eval()
    source = padded(sentences([5, 8, 3], seed=1))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    engine = device_engine(network, dtype=torch.bfloat16)
    assert isinstance(engine, FixedTransformer) == (name in {"transformer", "rotary"})
    decoder = decoder_of(network, lambda: engine)
    options = decoder.options() if name not in TABLES else decoder.options(max_source_length=0)
    if isinstance(options, DecodingConfig):
        options = options.model_copy(update={"max_extra": 3})
    found = decoder.decode(*source, options=options, lines=[0, 1, 2], prefixes=[(), (), ()])
    assert len(found) == 3 and all(one[0].log_prob <= 0 for one in found)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), "the network itself stays as it is"


def test_products_in_16_bits_are_close_to_those_in_32() -> None:
    network = transformer(dtype=torch.float32)
    source, token = padded(sentences([5, 8, 3], seed=1)), torch.tensor([2, 4, 5])
    logits = []
    for dtype in (torch.float32, torch.bfloat16):
        engine = FixedTransformer(network, dtype=dtype)
        state = engine.empty(3, 1, 4, source[0].size(1))
        with torch.inference_mode():
            engine.fill(state, *source)
            logits.append(engine.fixed_step(token, state).float())
    torch.testing.assert_close(*logits, atol=0.3, rtol=0.1)
