"""Strings to ids to padded tensors; may import `saccade.config` and `saccade.errors` only.

`corpus` reads text files as aligned pairs, `vocabulary` learns the pieces, `tokenizer` turns strings to ids
and back, `encode` and `cache` put the ids on disk, `prepare` does all of this and `report` says what was
found, `epochs` gives the pairs of an epoch, `batching` makes padded batches of them. `numbers` writes the
built-in corpus.
"""
