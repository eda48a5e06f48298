"""Looking inside: `picture` draws attention, `curves` the course of a training run.

May import the translator and what lies below it; matplotlib is imported where it is used.
"""
