"""Inspection: what a model attends to, how it searched, and what its output rests on.

`translation` and `language_model` make a `record.Inspection`; `document` is its form as JSON, which `page`
shows in a browser. `picture` draws attention maps, `curves` the metrics of a training run; both import
matplotlib, which is optional, only when they are used.
"""
