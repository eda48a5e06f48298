"""From a model's logits to hypotheses. Knows no concrete model, only `models.interface`.

`search.py` is the one loop; what it drives is a pure value that picks tokens: `beam.Beam` or
`sampling.Samples` (greedy is the latter with argmax).
"""
