"""Kernels in C for what torch does slowly on a CPU; each has a form in plain torch that it must equal.

They are compiled on first use by the machine's C compiler, in a second or two, and kept in the user's
cache. Without a compiler, on other devices, and where SACCADE_NATIVE=0, plain torch runs.
"""
