"""Pictures and sounds as frames: the numbers that stand at each position that a model reads.

Frames are float32 (positions, width): patches of a picture, windows of a sound, or rows of an array.
"""
