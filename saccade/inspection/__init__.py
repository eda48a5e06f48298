"""Inspection: `picture` draws attention maps, `curves` the metrics of a training run.

matplotlib is optional, and imported only where it is used.
"""
