"""How far a model found what was planted in simulated sources.

    probes, overlap, transfer ──> scores ──> run: RUN/evaluation/truth.json

`probes` and `recovery` read truths from features, `overlap` looks where attributions (`attributing`) lie, `transfer`
predicts experiments that training did not see (`unseen`); `run` does all three for a run's folder.
"""
