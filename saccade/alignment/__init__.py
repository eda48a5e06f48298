"""Which source piece each target piece belongs to: by a model's attention, or by counting (eflomal).

A sentence's alignment is a list with one source position for each target piece, end symbols left out.
"""
