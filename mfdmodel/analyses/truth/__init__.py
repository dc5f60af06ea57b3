"""How far a model found what was planted in simulated sources.

    blocks (intervals) ──> probes, overlap, transfer ──> scores ──> run: RUN/evaluation/truth.json

`probes` reads truths from features, `overlap` looks where attributions lie, `transfer` predicts experiments that
training did not see; `run` does all three for a run's folder.
"""
