"""Writes transformer_xl.safetensors: what the published Transformer-XL says.

Read by tests/models/test_transformer_xl.py.

Run in an environment of its own (later versions of transformers no longer have the model):

    pip install "transformers==4.35.2" torch safetensors
    python tests/reference/write_transformer_xl.py

`TransfoXLModel` with random weights reads the same 24 tokens of two streams under several settings. Without
`mems` its first call would attend to a memory of zeros, so it is given one of length 0.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import TransfoXLConfig, TransfoXLModel

LAYERS, WIDTH, ROWS, LENGTH = 3, 16, 2, 24
CASES: dict[str, dict[str, Any]] = {
    "whole": {"mem_len": 0, "segment": 24},
    "segments": {"mem_len": 7, "segment": 4},
    "long memory": {"mem_len": 40, "segment": 5},
    "same length": {"mem_len": 6, "segment": 4, "same_length": True},
    "clamped": {"mem_len": 9, "segment": 3, "clamp_len": 5},
}


def main() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(29, (ROWS, LENGTH))
    plain = TransfoXLModel(config())
    generator = torch.Generator().manual_seed(1)
    for parameter in plain.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    weights = {name: value for name, value in plain.state_dict().items() if name != "pos_emb.inv_freq"}
    found = {f"weights/{name}": value for name, value in weights.items()} | {"tokens": tokens}
    for name, settings in CASES.items():
        segment = settings.pop("segment")
        model = TransfoXLModel(config(**settings)).eval()
        model.load_state_dict(weights, strict=False)
        mems, out = [torch.zeros(0, ROWS, WIDTH)] * LAYERS, []
        with torch.no_grad():
            for piece in tokens.split(segment, 1):
                result = model(piece, mems=mems)
                mems = result.mems
                out.append(result.last_hidden_state)
        found[f"hidden/{name}"] = torch.cat(out, 1)
    save_file(
        {name: value.contiguous() for name, value in found.items()},
        Path(__file__).with_name("transformer_xl.safetensors"),
    )


def config(**settings: Any) -> TransfoXLConfig:
    sizes = {"d_model": WIDTH, "d_embed": WIDTH, "n_head": 4, "d_head": 4, "d_inner": 24, "n_layer": LAYERS}
    plain = {"mem_len": 0, "clamp_len": -1, "same_length": False, "div_val": 1, "untie_r": True}
    return TransfoXLConfig(
        vocab_size=29, cutoffs=[], dropout=0.0, dropatt=0.0, **{**sizes, **plain, **settings}
    )


if __name__ == "__main__":
    main()
