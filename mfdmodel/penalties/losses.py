"""What the sequence model minimises (equation 4)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average the binary cross entropy over windows and experiments (equation 4, its sign mended).

    Parameters
    ----------
    logits, labels
        Shape ``(window, experiment)``.
    weights
        Of the experiments, shape ``(experiment,)``, mean 1 over those that count; 0 leaves one out of the loss, and
        out of the average.

    Returns
    -------
    In nats, a scalar.
    """
    if weights is None:
        return functional.binary_cross_entropy_with_logits(logits, labels)
    each = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (each.mean(0) * weights).sum() / weights.sum()


def sequence_loss(entropy: Tensor, penalty: Tensor, lambda_indep: float) -> Tensor:
    """Compute what the sequence model minimises: cross entropy plus lambda times the dependence (equation 4).

    With the adversarial penalty that is cross entropy minus lambda times L_indep.
    """
    return entropy + lambda_indep * penalty
