"""Decoding of non-autoregressive models: one decoder for each scheme, over any body (`decoders.py`)."""
