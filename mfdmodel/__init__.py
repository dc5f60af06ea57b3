"""The disentangled sequence model: its network, its training, and what is asked of it.

Stores are read through `mfdstore` only.

    factors ──> weights ──┐
    Batch ───> trunk ─────┴─> model <── penalties ──> train ──> checkpoint ──> evaluate ──> report
"""
