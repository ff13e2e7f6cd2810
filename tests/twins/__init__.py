"""The environments once more, in plain Python and NumPy: what tests compare with step by step, and benchmarks time."""
