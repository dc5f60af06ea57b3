"""One configuration at several prices of dependence and seeds, and what came of it side by side.

cells (one run: train, score) ──> grid (all of them, some at a time) ──> summary (means over seeds)
"""
