"""How well a run's model predicts: `run` computes it, `scores` is what comes out and lies in the run's folder."""
