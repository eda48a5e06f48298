"""Building blocks: tensors in, tensors out. Imports torch and nothing of ours.

Axes are (batch, length, width) and, inside attention, (batch, heads, query, key).
Masks are boolean and True means "may look", as in `scaled_dot_product_attention`.
Start with `attention.py`; `layers.py` puts it into the blocks of the paper.
"""
