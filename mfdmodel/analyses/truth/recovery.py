"""Planted truths read from biological, technical and combined features by linear probes, with intervals.

Sets of features are compared at equal width, and given whole beside that. At equal width as many features are
drawn from a wider set as the narrowest subspace has, several times, and the scores averaged; the combined set
gives half of them from either subspace. Whole, the combined set holds both subspaces and so can only gain.

A feature that says no more than "something is planted here" reads any truth well from among all windows. So whole
sets are also asked to tell the values of a factor apart: probes fitted and scored among windows that hold one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdmodel.analyses.truth.probes import N_DRAWS, fit_probe
from mfdmodel.intervals import Interval, interval
from mfdmodel.resampling import Resampler, mean_of_groups
from mfdstore.simulate.truth import GC_VALUES

COMBINED: Final = "combined"
"""Name of the set of both subspaces, or of the one subspace of a model without metadata."""

Columns = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class FeatureSets:
    """Which columns of the whole latent are probed.

    Parameters
    ----------
    width
        Features in each draw of `equal`.
    equal, whole
        Draws of columns, by the name of the set.
    """

    width: int
    equal: Mapping[str, Columns]
    whole: Mapping[str, Columns]


@dataclass(frozen=True)
class Recovery:
    """How well one truth, or the truths of one factor or role together, can be read.

    Parameters
    ----------
    role, factor, value
        Of the truth; `value` is `None` of a factor's mean, `factor` too of a role's, in which factors weigh alike.
    n_train, n_test
        Windows that hold it, summed over truths.
    n_truths
        Truths that have a score.
    auroc, whole
        By the set of features: at equal width; of all its features.
    told
        All features, among the windows that hold a value of the factor: which one. NaN where the factor has one value,
        and of GC content, which every window has.
    lost, whole_lost, told_lost
        Combined minus that set, by the set; draws are paired.
    """

    role: str
    factor: str | None
    value: str | None
    n_train: int
    n_test: int
    n_truths: int
    auroc: Mapping[str, Interval]
    whole: Mapping[str, Interval]
    told: Mapping[str, Interval]
    lost: Mapping[str, Interval]
    whole_lost: Mapping[str, Interval]
    told_lost: Mapping[str, Interval]


def feature_sets(widths: Mapping[str, int], *, width: int | None = None, seed: int = 0) -> FeatureSets:
    """Choose the columns of each set.

    Parameters
    ----------
    widths
        Of the subspaces, by role, in the order of the latent.
    width
        Features in a draw, no more than the narrowest subspace has; `None` for as many as it has.
    seed
        Of the draws.

    Raises
    ------
    ValueError
        If there are fewer features than that.
    """
    rng = np.random.default_rng(seed)
    least = min(widths.values())
    width = least if width is None else width
    if not 1 <= width <= least:
        raise ValueError(f"{width} features of a subspace of {least}")
    stops = np.cumsum(list(widths.values()))
    parts = {
        role: np.arange(stop - n, stop)
        for (role, n), stop in zip(widths.items(), stops.tolist(), strict=True)
    }
    everything = np.arange(stops[-1])
    if len(parts) == 1:
        return FeatureSets(width, {COMBINED: _draw(everything, width, rng)}, {COMBINED: (everything,)})
    equal = {role: _draw(columns, width, rng) for role, columns in parts.items()}
    halves = [width - width // 2, width // 2]
    combined = tuple(
        np.concatenate(
            [
                rng.choice(part, n, replace=False)
                # an odd one goes to either subspace in turn
                for part, n in zip(parts.values(), halves[:: 1 if draw % 2 else -1], strict=True)
            ]
        )
        for draw in range(N_DRAWS)
    )
    whole: dict[str, Columns] = {role: (columns,) for role, columns in parts.items()}
    return FeatureSets(width, equal | {COMBINED: combined}, whole | {COMBINED: (everything,)})


def _draw(columns: NDArray[np.int64], width: int, rng: np.random.Generator) -> Columns:
    if len(columns) == width:
        return (columns,)
    return tuple(rng.choice(columns, width, replace=False) for _ in range(N_DRAWS))


_Scores = Mapping[str, NDArray[np.float64]]
"""Of a truth, by the set of features, shape ``(draw,)``."""
_Found = tuple[_Scores, _Scores, _Scores]
"""At equal width, of whole sets, of whole sets among the factor's windows."""


class _Probing:
    """One truth on some windows; a draw of columns that several sets share is fitted once."""

    def __init__(
        self,
        train: tuple[NDArray[np.float32], NDArray[np.bool_]],
        test: tuple[NDArray[np.float32], NDArray[np.bool_]],
        resampler: Resampler,
    ) -> None:
        self._train, self._test, self._resampler = train, test, resampler
        self._done: dict[bytes, NDArray[np.float64]] = {}

    def scores(self, sets: Mapping[str, Columns]) -> _Scores:
        """Score each set of features, averaged over its draws."""
        return {
            key: np.mean([self._score(columns) for columns in draws], axis=0) for key, draws in sets.items()
        }

    def _score(self, columns: NDArray[np.int64]) -> NDArray[np.float64]:
        key = columns.tobytes()
        if key not in self._done:
            (features, known), (others, wanted) = self._train, self._test
            self._done[key] = np.full(len(self._resampler.draws), np.nan)
            if len(known) and len(wanted):
                decision = fit_probe(features[:, columns], known, others[:, columns])
                if decision is not None:
                    self._done[key] = self._resampler.auroc(decision, wanted)
        return self._done[key]


def recover(
    names: Sequence[str],
    sets: FeatureSets,
    *,
    train: tuple[NDArray[np.float32], NDArray[np.bool_]],
    test: tuple[NDArray[np.float32], NDArray[np.bool_]],
    resampler: Resampler,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Recovery, ...]:
    """Fit a probe for each truth and set, score it on the test windows, and average by factor and role.

    Parameters
    ----------
    names
        ``ROLE:FACTOR:VALUE`` of each truth.
    sets
        Which features are probed.
    train, test
        The whole latent, ``(window, feature)``, and the truths, ``(window, truth)``.
    resampler
        Of the test windows.
    on_progress
        Told how many truths are done.

    Returns
    -------
    Truths in the order of the names, then factors, then roles.
    """
    found: list[_Found] = []
    keys, members = [], []
    for index, name in enumerate(names):
        role, factor, value = name.split(":", 2)
        known, wanted = train[1][:, index], test[1][:, index]
        everywhere = _Probing((train[0], known), (test[0], wanted), resampler)
        others = _beside(names, index)
        among = [np.atleast_1d(truths[1][:, others].any(1)) for truths in (train, test)]
        near = _Probing(
            (train[0][among[0]], known[among[0]]),
            (test[0][among[1]], wanted[among[1]]),
            resampler.take(among[1]),
        )
        keys.append((role, factor, value))
        members.append((int(known.sum()), int(wanted.sum())))
        found.append((everywhere.scores(sets.equal), everywhere.scores(sets.whole), near.scores(sets.whole)))
        if on_progress is not None:
            on_progress("probing", index + 1, len(names))
    results = [
        _recovery(key, n, int(not np.isnan(scores[0][COMBINED][0])), scores)
        for key, n, scores in zip(keys, members, found, strict=True)
    ]
    return (*results, *_averages(keys, members, found))


def _beside(names: Sequence[str], index: int) -> list[int]:
    """List the planted values that a value can be taken for: its factor's, itself among them; none of a lone one."""
    family = names[index].split(":", 2)[:2]
    columns = [
        column
        for column, name in enumerate(names)
        if name.split(":", 2)[:2] == family and name.split(":", 2)[2] not in GC_VALUES
    ]
    return columns if index in columns and len(columns) > 1 else []


def _averages(
    keys: Sequence[tuple[str, str, str]],
    members: Sequence[tuple[int, int]],
    found: Sequence[_Found],
) -> list[Recovery]:
    """Average over the truths of a factor that have a score, then over the factors of a role."""
    results: list[Recovery] = []
    by_role: dict[str, list[tuple[_Found, tuple[int, int], int]]] = {}
    for role, factor in dict.fromkeys(key[:2] for key in keys):
        rows = [index for index, key in enumerate(keys) if key[:2] == (role, factor)]
        scored = [index for index in rows if not np.isnan(found[index][0][COMBINED][0])]
        if not scored:
            continue
        mean = _mean([found[index] for index in scored])
        n = (sum(members[index][0] for index in scored), sum(members[index][1] for index in scored))
        results.append(_recovery((role, factor, None), n, len(scored), mean))
        by_role.setdefault(role, []).append((mean, n, len(scored)))
    for role, factors in by_role.items():
        n = (sum(part[1][0] for part in factors), sum(part[1][1] for part in factors))
        mean = _mean([part[0] for part in factors])
        results.append(_recovery((role, None, None), n, sum(part[2] for part in factors), mean))
    return results


def _mean(scores: Sequence[_Found]) -> _Found:
    equal, whole, told = (
        {
            key: mean_of_groups(np.stack([score[part][key] for score in scores], axis=1))
            for key in scores[0][part]
        }
        for part in range(3)
    )
    return equal, whole, told


def _recovery(
    key: tuple[str, str | None, str | None], n: tuple[int, int], n_truths: int, found: _Found
) -> Recovery:
    lost = [
        {name: scores[COMBINED] - score for name, score in scores.items() if name != COMBINED}
        for scores in found
    ]
    return Recovery(
        *key,
        *n,
        n_truths,
        auroc=_estimates(found[0]),
        whole=_estimates(found[1]),
        told=_estimates(found[2]),
        lost=_estimates(lost[0]),
        whole_lost=_estimates(lost[1]),
        told_lost=_estimates(lost[2]),
    )


def _estimates(scores: _Scores) -> dict[str, Interval]:
    return {name: interval(score) for name, score in scores.items()}


def without_covariate(
    features: NDArray[np.float32], covariate: NDArray[np.float64], fitted_on: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Take out of each feature what a line on one covariate explains.

    Parameters
    ----------
    features
        Shape ``(window, feature)``.
    covariate
        Shape ``(window,)``, as a window's share of G and C.
    fitted_on
        Windows that the lines are fitted on, shape ``(window,)``.

    Returns
    -------
    Residuals, shape ``(window, feature)``.
    """
    design = np.stack([np.ones_like(covariate), covariate], axis=1)
    lines = np.linalg.lstsq(design[fitted_on], features[fitted_on].astype(np.float64), rcond=None)[0]
    return np.asarray(features - design @ lines, np.float32)
