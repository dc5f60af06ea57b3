"""How a model is fitted: two players, an epoch at a time, each epoch's end written down whole.

schedule ──> players ──> keeper ──┐
trainer ──┴──> fit ──> run folder (model/, checkpoints/, logs/, run.json)
"""
