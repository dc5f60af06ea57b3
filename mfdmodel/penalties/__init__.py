"""What the sequence model is charged for: errors, and dependence between its subspaces (method, section 3).

    correlation ──> covariance ───────┐
         └────────> predictors ───────┼──> penalty ──> (train)
                    discriminator ────┘      losses ──> (train)

A term measures dependence in a mini-batch. Some have an adversary, a network that is trained to find dependence while
the sequence model is trained to leave none.
"""
