"""Training: from data and a model to trained weights.

Start with `loop.py`, one readable page. `settings.py` and `optim.py` hold settings, schedules and optimiser.
`objective.py` is the interface of objectives, most of which have a file of their own (`fertility.py`,
`masked.py`, `glancing.py`, `fine_tuning.py`). `data.py` and `streams.py` provide the batches, and `loader.py`
makes them ahead of time; `step.py` and `eager.py` perform an update. `validation.py` is the interface of
validation; `checkpoints.py` and `state.py` save and resume; `warm_start.py` and `teacher.py` read other
models; `distributed.py` joins processes; `report.py` writes and shows progress.
"""
