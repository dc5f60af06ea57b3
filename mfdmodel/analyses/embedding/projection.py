"""Two axes of a space of experiments: principal components, or UMAP where it is installed."""

from __future__ import annotations

import importlib
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from mfdstore.errors import ConfigError

Method = Literal["pca", "umap"]

_MOST_NEIGHBOURS: Final = 15
"""Of UMAP; its own default."""


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
