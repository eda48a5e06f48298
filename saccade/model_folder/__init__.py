"""The model folder: a trained model on disk, complete in itself.

`checkpoint` writes, reads and averages models, `manifest` reads model.json, `tensors` the weights, and
`description` says what a model is without loading it.
"""
