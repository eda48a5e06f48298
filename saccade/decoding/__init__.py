"""From a model's logits to hypotheses. Knows families and schemes, but no concrete model.

`interface.py` says what a decoder is and `strategy.py` chooses one. `search.py` is the one loop of the models
that write token by token; what it drives is a pure value that picks tokens: `beam.Beam` or `sampling.Samples`
(greedy is the latter with argmax). `nonautoregressive/` has a decoder for each scheme that writes all
positions at once.
"""
