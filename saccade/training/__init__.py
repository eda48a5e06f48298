"""From data and a model to trained weights.

Start with `loop.py`, one readable page. `objective.py` says what is minimised, `optim.py` how rates
and optimisers go, `update.py` makes one step, `evaluate.py` validates, `distributed.py` joins
processes, `report.py` writes and shows progress.
"""
