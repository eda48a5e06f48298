"""What only a GPU can show, in one run of at most eight minutes: `python -m benchmarks.gpu`.

First it checks that GPU and CPU agree, then it measures training, decoding and every kind of model, beside
peers in the same run. `--tiny` does the same on a CPU with small sizes, to show that the script works.
"""
