"""The commands, by theme: each parses, makes one library call and prints.

Every import of torch, of training or of sacrebleu stands inside a command, so that `saccade --help` is
instant and `saccade translate` loads what translating needs.
"""
