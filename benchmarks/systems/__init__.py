"""The comparison of systems, in stages that each pick up where they stopped (`make compare`):

    layers.py    one layer of each kind over lengths 16 to 4,096: operations, time, memory, chain, reach
    runs.py      trains each system of catalogue.py on the same text, pieces, batches and updates
    scores.py    translates the test text and scores it, as a whole and by length of the source
    speed.py     tokens/s of training, sentences/s of translation, peak memory, systems taking turns
    report.py    tables into docs/systems.md; pictures.py draws beside it

Positions beyond the training length have a script of their own, ../extrapolation.py, and a stage here.
"""
