"""Training: from data and a model to trained weights.

Start with `loop.py`, one readable page. `settings.py` and `optim.py` hold settings, schedules and optimiser.
`objective.py` is the interface of objectives, most of which have a file of their own (`fertility.py`,
`masked.py`, `glancing.py`, `fine_tuning.py`). `data.py` and `streams.py` provide the batches, and `loader.py`
makes them ahead of time; `step.py` is the interface of an update, `eager.py` performs it on a CPU and
`device.py` on a GPU, where `compiling.py` may compile the model. `validation.py` is the interface of
validation; `checkpoints.py` and `state.py` save and resume; `warm_start.py` and `teacher.py` read other
models; `distributed.py` joins processes; `report.py` writes and shows progress.
"""
