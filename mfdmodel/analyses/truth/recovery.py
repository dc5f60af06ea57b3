"""Planted truths read from biological, technical and combined features by linear probes, with intervals.

Sets of features are compared at equal width, and given whole beside that. At equal width as many features are
drawn from a wider set as the narrowest subspace has, several times, and the scores averaged; the combined set
gives half of them from either subspace. Whole, the combined set holds both subspaces and so can only gain.
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
    lost, whole_lost
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
    lost: Mapping[str, Interval]
    whole_lost: Mapping[str, Interval]


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
    found, keys, members = [], [], []
    for index, name in enumerate(names):
        role, factor, value = name.split(":", 2)
        known, wanted = train[1][:, index], test[1][:, index]
        done: dict[bytes, NDArray[np.float64]] = {}
        by_set = [
            {
                key: np.mean(
                    [_score(train[0], known, test[0], wanted, columns, resampler, done) for columns in draws],
                    axis=0,
                )
                for key, draws in part.items()
            }
            for part in (sets.equal, sets.whole)
        ]
        keys.append((role, factor, value))
        members.append((int(known.sum()), int(wanted.sum())))
        found.append((by_set[0], by_set[1]))
        if on_progress is not None:
            on_progress("probing", index + 1, len(names))
    results = [
        _recovery(key, n, int(not np.isnan(scores[0][COMBINED][0])), *scores)
        for key, n, scores in zip(keys, members, found, strict=True)
    ]
    return (*results, *_averages(keys, members, found))


_Scores = Mapping[str, NDArray[np.float64]]


def _averages(
    keys: Sequence[tuple[str, str, str]],
    members: Sequence[tuple[int, int]],
    found: Sequence[tuple[_Scores, _Scores]],
) -> list[Recovery]:
    """Average over the truths of a factor that have a score, then over the factors of a role."""
    results: list[Recovery] = []
    by_role: dict[str, list[tuple[tuple[_Scores, _Scores], tuple[int, int], int]]] = {}
    for role, factor in dict.fromkeys(key[:2] for key in keys):
        rows = [index for index, key in enumerate(keys) if key[:2] == (role, factor)]
        scored = [index for index in rows if not np.isnan(found[index][0][COMBINED][0])]
        if not scored:
            continue
        mean = _mean([found[index] for index in scored])
        n = (sum(members[index][0] for index in scored), sum(members[index][1] for index in scored))
        results.append(_recovery((role, factor, None), n, len(scored), *mean))
        by_role.setdefault(role, []).append((mean, n, len(scored)))
    for role, factors in by_role.items():
        n = (sum(part[1][0] for part in factors), sum(part[1][1] for part in factors))
        mean = _mean([part[0] for part in factors])
        results.append(_recovery((role, None, None), n, sum(part[2] for part in factors), *mean))
    return results


def _mean(scores: Sequence[tuple[_Scores, _Scores]]) -> tuple[_Scores, _Scores]:
    first, second = (
        {
            key: mean_of_groups(np.stack([score[part][key] for score in scores], axis=1))
            for key in scores[0][part]
        }
        for part in (0, 1)
    )
    return first, second


def _recovery(
    key: tuple[str, str | None, str | None], n: tuple[int, int], n_truths: int, equal: _Scores, whole: _Scores
) -> Recovery:
    return Recovery(
        *key,
        *n,
        n_truths,
        auroc=_estimates(equal),
        whole=_estimates(whole),
        lost=_estimates({name: equal[COMBINED] - score for name, score in equal.items() if name != COMBINED}),
        whole_lost=_estimates(
            {name: whole[COMBINED] - score for name, score in whole.items() if name != COMBINED}
        ),
    )


def _estimates(scores: _Scores) -> dict[str, Interval]:
    return {name: interval(score) for name, score in scores.items()}


def _score(
    features: NDArray[np.float32],
    known: NDArray[np.bool_],
    new_features: NDArray[np.float32],
    wanted: NDArray[np.bool_],
    columns: NDArray[np.int64],
    resampler: Resampler,
    done: dict[bytes, NDArray[np.float64]],
) -> NDArray[np.float64]:
    key = columns.tobytes()
    if key not in done:
        decision = fit_probe(features[:, columns], known, new_features[:, columns])
        nothing = np.full(len(resampler.draws), np.nan)
        done[key] = nothing if decision is None else resampler.auroc(decision, wanted)
    return done[key]


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
