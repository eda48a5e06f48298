"""Strings to ids to padded tensors; may import `saccade.config` and `saccade.errors` only.

`tokenizer` strings and ids, `sample` what a vocabulary is learned from, `corpus` text files as aligned
pairs, `cache` token ids on disk, `prepare` the way from text files to the caches, `report` what was found
on that way, `batching` batches of a token budget, `numbers` the built-in corpus.
"""
