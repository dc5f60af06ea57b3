"""What a run leaves on disk, without pickle: `states` of its training, `models` to be used.

states (nests of tensors and plain values, whole files) ──> models (a description and its numbers)
"""
