"""Experiments in the space of their weights, one subspace at a time: pictures, and a number beside them.

A weight says little without its feature: one may hardly move from window to window. So each column of the weights is
scaled by the standard deviation of its feature over windows, and an entry is how far, in nats, that feature moves
that experiment's logits. The pictures are two directions of this space; how well experiments of one value of
a factor lie together is measured in all of them, by nearest neighbours, beside what relabelled experiments give.

Experiments of equal metadata have equal weights. That those lie together is how the model is made, not what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfdmodel.analyses.embedding.neighbours import Clustering, cluster_by_neighbours
from mfdmodel.analyses.embedding.projection import Method, project
from mfdstore.metadata import FactorTable


@dataclass(frozen=True)
class DirectFeature:
    """A feature whose weight is one metadata value itself.

    Parameters
    ----------
    role, name
        Of its subspace; the factor and value that it belongs to, such as ``target=CTCF``.
    n_experiments
        That have a weight for it.
    deviation
        How far it moves their logits: root mean square of the scaled weights, in nats.
    variance_share
        Part of their logits' variance that goes through it, mean (`variance_shares`); it may be below 0.
    """

    role: str
    name: str
    n_experiments: int
    deviation: float
    variance_share: float


@dataclass(frozen=True)
class SubspaceView:
    """The experiments in one subspace.

    Parameters
    ----------
    role
        Of the subspace.
    n_features
        Its width.
    variance_share
        Part of the logits' variance that goes through it, mean over experiments.
    explained
        Share of the variance between experiments on either axis; `None` where axes have none (UMAP).
    coordinates
        Shape ``(experiment, axis)``, two axes.
    """

    role: str
    n_features: int
    variance_share: float
    explained: tuple[float, float] | None
    coordinates: NDArray[np.float64]


@dataclass(frozen=True)
class Embedding:
    """Experiments in the space of their weights.

    Parameters
    ----------
    method
        That made the coordinates.
    subspaces
        In the order of the latent.
    clusterings
        By subspace and factor.
    direct_features
        In the order of the latent.
    """

    method: Method
    subspaces: tuple[SubspaceView, ...]
    clusterings: tuple[Clustering, ...]
    direct_features: tuple[DirectFeature, ...]


def embed_experiments(
    weights: Mapping[str, NDArray[np.floating]],
    features: Mapping[str, NDArray[np.floating]],
    *,
    factors: FactorTable,
    direct: Mapping[str, Sequence[str]],
    method: Method = "pca",
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Embedding:
    """Place experiments by their weights in each subspace, and measure by which factors they lie together.

    Parameters
    ----------
    weights
        By role, each of shape ``(experiment, feature)``.
    features
        Of windows, by the same roles, each of shape ``(window, feature)``.
    factors
        Of the experiments; those that have a role and are no numbers are measured.
    direct
        Names of the direct features, which come first in their subspace, by role.
    method
        That makes the coordinates: ``umap`` needs the package umap-learn.
    seed
        Of permutations, and of UMAP.
    on_progress
        Told how many pairs of subspace and factor are measured.

    Raises
    ------
    ConfigError
        If UMAP is asked for and not installed, or has too few experiments.
    ValueError
        If there is not one weight an experiment and feature.
    """
    for role, part in weights.items():
        if part.shape != (len(factors.experiments), features[role].shape[1]):
            raise ValueError(f"{role} weights of shape {part.shape} fit neither experiments nor features")
    scaled = scale_weights(weights, features)
    shares = variance_shares(weights, features)
    views, found, clusterings = [], [], []
    measured = [factor for factor in factors if factor.role is not None and factor.kind != "number"]
    for role, points in scaled.items():
        coordinates, explained = project(points, method=method, seed=seed)
        views.append(
            SubspaceView(role, points.shape[1], float(shares[role].sum(1).mean()), explained, coordinates)
        )
        for index, name in enumerate(direct.get(role, ())):
            has = weights[role][:, index] != 0
            found.append(
                DirectFeature(
                    role,
                    name,
                    int(has.sum()),
                    float(np.sqrt((points[has, index] ** 2).mean())) if has.any() else float("nan"),
                    float(shares[role][has, index].mean()) if has.any() else float("nan"),
                )
            )
        for factor in measured:
            clustering = cluster_by_neighbours(points, factor, role=role, seed=seed)
            if clustering is not None:
                clusterings.append(clustering)
            if on_progress is not None:
                on_progress(
                    "neighbours",
                    (len(views) - 1) * len(measured) + measured.index(factor) + 1,
                    len(scaled) * len(measured),
                )
    return Embedding(method, tuple(views), tuple(clusterings), tuple(found))


def scale_weights(
    weights: Mapping[str, NDArray[np.floating]], features: Mapping[str, NDArray[np.floating]]
) -> dict[str, NDArray[np.float64]]:
    """Multiply weights by the standard deviation of their feature over windows: nats, ``(experiment, feature)``."""
    return {
        role: part.astype(np.float64) * features[role].std(0, dtype=np.float64)
        for role, part in weights.items()
    }


def variance_shares(
    weights: Mapping[str, NDArray[np.floating]], features: Mapping[str, NDArray[np.floating]]
) -> dict[str, NDArray[np.float64]]:
    """Share each experiment's variance of logits among the features.

    The share of feature k in experiment i is Cov(w_ik s_k, l_i) / Var(l_i), with l the sum over all features of all
    subspaces. Shares of an experiment add up to 1; one is below 0 where a feature takes back what others say.

    Parameters
    ----------
    weights, features
        As in `embed_experiments`.

    Returns
    -------
    By role, each of shape ``(experiment, feature)``; 0 where an experiment's logits do not vary.
    """
    centred = {
        role: values.astype(np.float64) - values.mean(0, dtype=np.float64)
        for role, values in features.items()
    }
    logits = np.sum([centred[role] @ part.T.astype(np.float64) for role, part in weights.items()], axis=0)
    variance = (logits**2).sum(0)
    per_variance = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)
    return {
        role: part.astype(np.float64) * (centred[role].T @ logits).T * per_variance[:, None]
        for role, part in weights.items()
    }
