"""The lab: claims about attention and its relatives, each measured by one experiment.

An experiment is a value (`experiment.py`): a claim with its source and a prediction, a function that
measures figures, and a pure function that turns the figures into a verdict. `catalogue.py` lists all of
them. The parts under test are the toolkit's own; `tagger.py`, `toys.py` and `learning.py` add small models,
tasks and training.
"""
