"""Which feature goes with which value of a factor: through the weights, and through the labels.

By weights: over experiments, the correlation of a feature's weight with having the value. A direct feature of
the value has 1, as its weight is that. By labels: over windows, the correlation of the feature with how much
more the experiments of that value label the window than the others do; no weight comes into it, so that a
technical feature which goes with a target shows here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfdmodel.analyses.independence.parts import Parts
from mfdmodel.intervals import interval
from mfdmodel.resampling import Resampler


@dataclass(frozen=True)
class CodedFactor:
    """A factor as columns.

    Parameters
    ----------
    name, role
        Of the factor; the role may be none.
    values
        What each column stands for.
    coded
        Shape ``(experiment, column)``: 1 where the experiment has the value, or a number.
    """

    name: str
    role: str | None
    values: tuple[str, ...]
    coded: NDArray[np.float32]


@dataclass(frozen=True)
class Link:
    """The feature of a subspace that goes best with a value.

    Parameters
    ----------
    feature
        Its index in the subspace.
    name
        Of a direct feature (``target=CTCF``); `None` of any other.
    correlation
        Of the feature, or of its weights, with the value.
    low, high
        Ends of the interval; `None` of weights, which are no sample: they are all there is.
    """

    feature: int
    name: str | None
    correlation: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Association:
    """The features that go with one value of a factor.

    Parameters
    ----------
    factor, role, value
        What is asked for; the role of the factor may be none.
    n_experiments
        Experiments that have the value; of a number, all.
    by_weights, by_labels
        By the role of the features; a subspace in which nothing varies with the value is left out. By labels the
        feature is chosen on the fitting part and its correlation measured on the scored windows.
    """

    factor: str
    role: str | None
    value: str
    n_experiments: int
    by_weights: Mapping[str, Link]
    by_labels: Mapping[str, Link]


def associate(
    features: Mapping[str, NDArray[np.float32]],
    weights: Mapping[str, NDArray[np.float32]],
    *,
    labels: NDArray[np.bool_],
    factors: Sequence[CodedFactor],
    direct: Mapping[str, Sequence[str]],
    parts: Parts,
    resampler: Resampler,
) -> tuple[Association, ...]:
    """Find the features that go with each value of each factor.

    Parameters
    ----------
    features
        By role, shape ``(window, feature)``.
    weights
        By role, shape ``(experiment, feature)``.
    labels
        Shape ``(window, experiment)``.
    factors
        Of the experiments.
    direct
        Names of the direct features, first in their subspace, by role.
    parts
        Of the windows.
    resampler
        Of the scored windows.

    Returns
    -------
    In the order of the factors and their values; values that all experiments share, or none has, are left out.
    """
    asked = [
        (factor, index, factor.coded[:, index].astype(np.float64))
        for factor in factors
        for index in range(len(factor.values))
        if np.ptp(factor.coded[:, index]) > 0
    ]
    if not asked:
        return ()
    columns = np.stack([column - column.mean() for _, _, column in asked], axis=1)
    more = labels.astype(np.float32) @ columns.astype(np.float32)
    by_weights = {
        role: [
            None if one is None else Link(one[0], _name(one[0], direct.get(role, ())), one[1])
            for one in _strongest(_correlations(columns, values))
        ]
        for role, values in weights.items()
    }
    by_labels = {
        role: _label_links(values, more, parts, resampler, direct.get(role, ()))
        for role, values in features.items()
    }
    return tuple(
        Association(
            factor.name,
            factor.role,
            factor.values[column],
            int((values != 0).sum()) if set(np.unique(values)) <= {0.0, 1.0} else len(values),
            {role: link for role, links in by_weights.items() if (link := links[index]) is not None},
            {role: link for role, links in by_labels.items() if (link := links[index]) is not None},
        )
        for index, (factor, column, values) in enumerate(asked)
    )


def _label_links(
    values: NDArray[np.float32],
    more: NDArray[np.float32],
    parts: Parts,
    resampler: Resampler,
    direct: Sequence[str],
) -> list[Link | None]:
    chosen = _strongest(_correlations(more[parts.fit], values[parts.fit]))
    best = np.array([0 if one is None else one[0] for one in chosen])
    scored = resampler.correlations(values[parts.score][:, best], more[parts.score])
    links: list[Link | None] = []
    for index, one in enumerate(chosen):
        found = interval(scored[:, index])
        if one is None or not np.isfinite(found.value):
            links.append(None)
        else:
            links.append(Link(one[0], _name(one[0], direct), found.value, found.low, found.high))
    return links


def _name(feature: int, direct: Sequence[str]) -> str | None:
    return direct[feature] if feature < len(direct) else None


def _strongest(correlations: NDArray[np.float64]) -> list[tuple[int, float] | None]:
    """Find the feature of the largest correlation, either sign, of each column; `None` where none has any."""
    found: list[tuple[int, float] | None] = []
    for row in correlations:
        size = np.where(np.isfinite(row), np.abs(row), -1.0)
        best = int(np.argmax(size))
        found.append((best, float(np.clip(row[best], -1, 1))) if size[best] >= 0 else None)
    return found


def _correlations(columns: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlate columns with features over rows, shape ``(column, feature)``; NaN where either is constant."""
    x, y = _standardised(columns), _standardised(values)
    return np.asarray(x.T @ y / len(x))


def _standardised(values: NDArray[np.floating]) -> NDArray[np.float64]:
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    deviation = centred.std(0)
    constant = deviation <= 1e-7 * np.maximum(np.abs(values).max(0), 1e-30)
    return np.asarray(centred / np.where(constant, np.nan, deviation))
