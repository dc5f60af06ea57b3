"""Experiments in the space of their weights, one subspace at a time.

neighbours, projection ──> experiments (all subspaces) ──> run: RUN/evaluation/embedding.json
"""
