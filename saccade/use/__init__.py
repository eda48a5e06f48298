"""Trained models in use: strings in, strings out.

`loading` opens a model folder as the class that its family is used through: `translator` or `generator`.
`decoders` makes the decoder of a translator, `attending` its attention maps, `results` are what it returns,
`problems` finds what may be wrong with them, and `reopening` lets them be copied and sent to other processes.
"""
