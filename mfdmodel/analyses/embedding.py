"""Experiments in the space of their weights, one subspace at a time: pictures, and a number beside them.

A weight says little without its feature: one may hardly move from window to window. So each column of the weights is
scaled by the standard deviation of its feature over windows, and an entry is how far, in nats, that feature moves
that experiment's logits. The pictures are two directions of this space; how well experiments of one value of
a factor lie together is measured in all of them, by nearest neighbours, beside what relabelled experiments give.

Experiments of equal metadata have equal weights. That those lie together is how the model is made, not what it found.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from mfdmodel.factors import fit_coding
from mfdstore.errors import ConfigError
from mfdstore.metadata import Factor, FactorTable

Method = Literal["pca", "umap"]

N_PERMUTATIONS: Final = 999
_TIED: Final = 1e-5
"""Distances that differ by less than this share of the mean one are equal: rows are equal up to rounding."""
_MOST_NEIGHBOURS: Final = 15
"""Of UMAP; its own default."""


@dataclass(frozen=True)
class Clustering:
    """How often an experiment's nearest neighbour in a subspace shares its value of a factor.

    Parameters
    ----------
    role, factor
        Of the subspace, and what is shared.
    accuracy
        Share of the scored experiments; of neighbours that are equally near, the share that shares the value.
    chance, chance_low, chance_high
        The same where values are dealt to experiments at random: mean, and the middle 95 %.
    p_value
        Of as high an accuracy by chance.
    n_scored, n_known
        Experiments whose value another one has; experiments whose value is known, which may be neighbours.
    """

    role: str
    factor: str
    accuracy: float
    chance: float
    chance_low: float
    chance_high: float
    p_value: float
    n_scored: int
    n_known: int


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


def project(
    points: NDArray[np.float64], *, method: Method = "pca", seed: int = 0
) -> tuple[NDArray[np.float64], tuple[float, float] | None]:
    """Reduce a space to two axes.

    Parameters
    ----------
    points
        Shape ``(experiment, feature)``.
    method, seed
        As in `embed_experiments`.

    Returns
    -------
    Coordinates, ``(experiment, axis)``, and the share of the variance on either axis, `None` for UMAP.

    Raises
    ------
    ConfigError
        If UMAP is asked for and not installed, or has too few experiments.
    """
    centred = points - points.mean(0)
    coordinates, explained = np.zeros((len(points), 2)), np.zeros(2)
    if (centred**2).sum() > 0:
        pca = PCA(n_components=min(2, *points.shape), svd_solver="full")
        coordinates[:, : pca.n_components] = pca.fit_transform(points)
        explained[: pca.n_components] = pca.explained_variance_ratio_
    if method == "pca":
        return coordinates, (float(explained[0]), float(explained[1]))
    umap = _umap()
    if len(points) < 4:
        raise ConfigError(
            "--method umap",
            found=f"{len(points)} experiments",
            expected="at least 4",
            remedy="Use --method pca.",
        )
    reducer = umap.UMAP(
        n_components=2,
        n_neighbors=min(_MOST_NEIGHBOURS, len(points) - 1),
        # started from the first components, so that the picture is laid out alike from run to run
        init=(coordinates / max(np.abs(coordinates).max(), 1e-12) * 10).astype(np.float32),
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(reducer.fit_transform(points), np.float64), None


def cluster_by_neighbours(
    points: NDArray[np.float64],
    factor: Factor,
    *,
    role: str,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> Clustering | None:
    """Measure how often the nearest neighbour shares an experiment's value, beside the same for dealt values.

    Parameters
    ----------
    points
        Shape ``(experiment, feature)``.
    factor
        Of the experiments: a date counts by its year, of several values one must be shared.
    role
        Of the subspace, for the record.
    n_permutations, seed
        Of the null.

    Returns
    -------
    `None` where fewer than two values are known, or none is that of two experiments.

    Raises
    ------
    ValueError
        If the factor is a number.
    """
    if factor.kind == "number":
        raise ValueError(f"factor {factor.name} is a number, which makes no groups")
    has = fit_coding(factor).encode(factor) > 0
    known = has.any(1)
    has = has[known]
    shared = (has.astype(np.int64) @ has.T.astype(np.int64)) > 0
    np.fill_diagonal(shared, False)
    scored = shared.any(1)
    if len(np.unique(has, axis=0)) < 2 or not scored.any():
        return None
    distances = cdist(points[known], points[known])
    slack = _TIED * distances.mean()
    np.fill_diagonal(distances, np.inf)
    nearest = distances <= distances.min(1, keepdims=True) + slack
    rows, columns = np.nonzero(nearest)
    part = 1.0 / nearest.sum(1)[rows]

    def accuracy(dealt: NDArray[np.int64]) -> float:
        # an experiment whose value no other one has cannot be right: it is a neighbour only
        return float((part * shared[dealt[rows], dealt[columns]]).sum() / scored.sum())

    rng = np.random.default_rng(seed)
    order = np.arange(len(has))
    observed = accuracy(order)
    null = np.array([accuracy(rng.permutation(order)) for _ in range(n_permutations)])
    low, high = np.quantile(null, [0.025, 0.975])
    # sums of the same parts in another order differ by rounding
    n_as_high = int((null >= observed - 1e-9).sum())
    return Clustering(
        role,
        factor.name,
        observed,
        float(null.mean()),
        float(low),
        float(high),
        (1 + n_as_high) / (1 + n_permutations),
        int(scored.sum()),
        len(has),
    )


def _umap() -> Any:
    """Import UMAP where it is installed."""
    try:
        return importlib.import_module("umap")
    except ImportError:
        raise ConfigError(
            "--method umap",
            found="no package umap-learn",
            expected="it beside mfd",
            remedy="Install it (pip install umap-learn), or use --method pca.",
        ) from None
