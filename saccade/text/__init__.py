"""Strings to ids to padded tensors; may import `saccade.config` and `saccade.errors` only.

`corpus` reads text files as aligned lines, `vocabulary` learns the pieces, `tokenizer` turns strings to ids
and back. `columns` says what a line can have, `translation` and `language_model` what theirs has. `encode`
and `cache_writer` put the values on disk, `cache` maps them, `prepare` does all of this and `report` says
what was found. `epochs` gives the lines of an epoch, `batching` makes padded batches of them. `numbers`
writes the built-in corpus.
"""
