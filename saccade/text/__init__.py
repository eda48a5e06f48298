"""Text: from strings to ids to padded tensors.

`opening` opens text files, pipes and standard input, and `formats` recognises what they are; `reading`
reads their lines, and `corpus` aligns those of several files. `vocabulary` learns the pieces, `tokenizer`
turns strings into ids and back; `m2m`, `marian` and `words` hold further kinds of tokenisers. `columns`
declares the columns that a line can have; `translation` and `language_model` declare those of their tasks.
`encode` and `cache_writer` write the values to disk, `cache` maps them, `prepare` does all of this and
`report` describes the text. `epochs` returns the lines of an epoch, `batching` makes padded batches of
them, `streams` reads running text. `numbers` writes the built-in corpus.
"""
