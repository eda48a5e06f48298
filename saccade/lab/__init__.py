"""The lab: claims about attention and its relatives, each measured by one experiment.

An experiment is a value (`experiment.py`): a claim with its source and a prediction, a function that
measures figures, and a pure function that turns the figures into a verdict. Each has a file of its own in
`experiments/`, and `catalogue.py` lists all of them. The parts under test are the toolkit's own.

`tagger.py`, `bodies.py`, `toys.py`, `numerals.py`, `translating.py` and `learning.py` add small models, tasks
and training; `timing.py` measures time. `ladder.py` holds the models of the ladder, and `interactive/` the
pages to play with.
"""
