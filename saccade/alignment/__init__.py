"""Word alignment by a model's attention or by counting (eflomal), and fertilities from it.

The alignment of a sentence is a list of one source position for each target piece, without end symbols.
"""
