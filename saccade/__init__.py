"""Saccade: a sequence-to-sequence toolkit. Two text files in, a translator out."""
