"""Building blocks that map tensors to tensors.

Apart from torch they import only the C kernels of `native`; `reading.py`, with settings, imports `config`.
Axes are (batch, length, width) and, inside attention, (batch, heads, query, key). Masks are boolean; True
means "may attend", as in `scaled_dot_product_attention`. Start with `attention.py`; `layers.py` builds the
Transformer's blocks from it.
"""
