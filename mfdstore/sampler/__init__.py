"""Which windows come when, and how each is augmented: pure functions of integers.

draws (numbers of a stream) ──> order (of an epoch) ──> dealing (which process, and what is left)
"""
