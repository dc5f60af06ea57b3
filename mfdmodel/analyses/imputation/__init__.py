"""Experiments that a training held out, predicted from their metadata (method, section 8).

scores (beside averages of other experiments) ──> run (of a run's folder)
"""
