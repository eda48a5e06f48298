"""Decoding: from a model's logits to hypotheses. It knows families and schemes, but no concrete model.

`interface.py` defines the interface of decoders and `strategy.py` chooses one. `search.py` is the decoding
loop of autoregressive models; an immutable value picks the tokens: `beam.Beam`, or `sampling.Samples` for
sampling and greedy search. `nonautoregressive/` has a decoder for each non-autoregressive scheme.
`continuation.py` continues a text with a language model.
"""
