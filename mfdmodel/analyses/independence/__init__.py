"""How independent two subspaces are on windows that the model has not seen (method, section 4).

parts ──────> which windows fit, which tune, which are scored: a stretch of the genome each; blocks; rotations
subspaces ──> standardised features and their principal components
pairing     ┐
prediction  ├ the five measures, each of true pairs and of rotated ones
components  ┘
logits, associations ─> what each subspace says of the experiments, and which feature goes with which value
measures ───> all of it, of arrays
result, run ─> what lies in the run's folder
"""
