"""All measures of independence, of true pairs and of rotated ones: the same procedure where nothing is to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mfdmodel.analyses.independence.components import correlate_canonical, correlate_principal
from mfdmodel.analyses.independence.pairing import discriminate, grow_forest
from mfdmodel.analyses.independence.parts import Parts, rotations
from mfdmodel.analyses.independence.prediction import predict_by_line, predict_by_perceptron
from mfdmodel.analyses.independence.subspaces import Subspace, make_subspace
from mfdmodel.intervals import Interval
from mfdmodel.resampling import Resampler, mean_of_groups, pool

N_ROTATIONS: Final = 9
"""Rotations of the windows of one subspace, for the null."""

N_RESAMPLES: Final = 1000
"""Draws of blocks of windows, behind each interval."""

_METHODS: Final = 5


@dataclass(frozen=True)
class Measure:
    """One measure of dependence, beside what it is where there is none.

    Parameters
    ----------
    name
        For a program.
    title
        For a reader.
    chance
        What independence gives: 0.5 for an accuracy, 0 for R2 and correlations.
    value
        Of the true pairs, with its interval over draws of blocks of windows.
    null
        The same with the windows of one subspace turned about the genome: mean over rotations, interval over rotations
        and draws.
    """

    name: str
    title: str
    chance: float
    value: Interval
    null: Interval

    @property
    def dependent(self) -> bool:
        """Whether the intervals of value and null are apart, the value's above."""
        return self.value.low > self.null.high


@dataclass(frozen=True)
class Reduced:
    """What of a subspace went into the measures.

    Parameters
    ----------
    role
        Of the subspace.
    n_features
        Of the subspace.
    n_constant
        Of those, how many are the same in all windows of the fitting part; they are left out.
    n_components
        Principal components that stood for the others, in all measures; R2 is of the features themselves.
    variance
        Share of the standardised features' variance that the components hold.
    """

    role: str
    n_features: int
    n_constant: int
    n_components: int
    variance: float


@dataclass(frozen=True)
class FeatureScore:
    """How well one feature is predicted from the other subspace.

    Parameters
    ----------
    role, feature
        Its subspace, and its index there.
    name
        Of a direct feature; `None` of any other.
    r2_line, r2_perceptron
        On the scored windows; `None` where the feature is constant.
    """

    role: str
    feature: int
    name: str | None
    r2_line: float | None
    r2_perceptron: float | None


@dataclass(frozen=True)
class Measures:
    """What `measure_independence` found.

    Parameters
    ----------
    subspaces
        What went in, biological first.
    measures
        All of them.
    canonical, principal
        Single pairs of directions, falling by their correlation in the fitting part.
    features
        Of both subspaces.
    """

    subspaces: tuple[Reduced, ...]
    measures: tuple[Measure, ...]
    canonical: tuple[Measure, ...]
    principal: tuple[Measure, ...]
    features: tuple[FeatureScore, ...]


@dataclass(frozen=True)
class _Draws:
    """What the methods gave for one pairing: a row a draw, the first as measured."""

    discriminator: NDArray[np.float64]
    forest: NDArray[np.float64]
    r2: Mapping[tuple[str, str], NDArray[np.float64]]
    canonical: NDArray[np.float64]
    principal: NDArray[np.float64]


def measure_independence(
    biological: NDArray[np.float32],
    technical: NDArray[np.float32],
    parts: Parts,
    *,
    direct: Mapping[str, tuple[str, ...]] | None = None,
    seed: int = 0,
    threads: int | None = None,
    n_rotations: int = N_ROTATIONS,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Measures:
    """Measure how much two subspaces tell of each other on windows that nothing was fitted on.

    Parameters
    ----------
    biological, technical
        Features of the same windows, shape ``(window, feature)`` each.
    parts
        Of the windows: to fit on, to tune by, to score.
    direct
        Names of the direct features, first in their subspace, by role.
    seed
        Of partners, perceptrons, trees and draws.
    threads
        That grow trees; `None` is all processors.
    n_rotations
        For the null.
    on_progress
        Told how many methods are done.

    Raises
    ------
    ValueError
        If the numbers of windows differ, or every feature of a subspace is constant in the windows to fit on, as they
        are or turned.
    """
    if not len(biological) == len(technical) == len(parts.block):
        raise ValueError(f"{len(biological)}, {len(technical)} and {len(parts.block)} windows")
    spaces = {
        "biological": make_subspace(biological, parts.fit),
        "technical": make_subspace(technical, parts.fit),
    }
    rng = np.random.default_rng(seed)
    resampler = Resampler.draw(parts.block[parts.score], rng=rng, n_draws=N_RESAMPLES)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress("measuring", done, _METHODS * (1 + n_rotations))

    def measure(other: Subspace) -> _Draws:
        paired = {"biological": spaces["biological"], "technical": other}
        return _measure_pairs(paired, parts, resampler, seed=seed, threads=threads, tick=tick)

    # these products are small: threads of a BLAS would wait for each other longer than they compute
    with threadpool_limits(1, user_api="blas"):
        true = measure(spaces["technical"])
        # scaled anew, as a feature may vary otherwise in the windows that come to the fitting part
        nulls = [
            measure(make_subspace(technical[turned], parts.fit))
            for turned in rotations(len(technical), n_rotations)
        ]
    return Measures(
        subspaces=tuple(
            Reduced(
                role,
                values.shape[1],
                values.shape[1] - len(spaces[role].kept),
                spaces[role].components.shape[1],
                spaces[role].variance,
            )
            for role, values in (("biological", biological), ("technical", technical))
        ),
        measures=_all_measures(true, nulls),
        canonical=_pairs("canonical", "canonical pair", [one.canonical for one in (true, *nulls)]),
        principal=_pairs("principal", "pair of components", [one.principal for one in (true, *nulls)]),
        features=tuple(
            score
            for role, values in (("biological", biological), ("technical", technical))
            for score in _feature_scores(
                role, values.shape[1], spaces[role].kept, true, (direct or {}).get(role, ())
            )
        ),
    )


def _measure_pairs(
    spaces: Mapping[str, Subspace],
    parts: Parts,
    resampler: Resampler,
    *,
    seed: int,
    threads: int | None,
    tick: Callable[[], None],
) -> _Draws:
    one, other = spaces["biological"].components, spaces["technical"].components
    discriminator = discriminate(one, other, parts, resampler, seed=seed)
    tick()
    forest = grow_forest(one, other, parts, resampler, seed=seed, threads=threads)
    tick()
    r2 = {}
    for role, source in (("biological", "technical"), ("technical", "biological")):
        read, wanted = spaces[source].components, spaces[role].features
        r2[role, "line"] = predict_by_line(read, wanted, parts, resampler)
        r2[role, "perceptron"] = predict_by_perceptron(read, wanted, parts, resampler, seed=seed)
        tick()
    canonical = correlate_canonical(one, other, parts, resampler)
    principal = correlate_principal(one, other, parts, resampler)
    tick()
    return _Draws(discriminator, forest, r2, canonical, principal)


def _all_measures(true: _Draws, nulls: list[_Draws]) -> tuple[Measure, ...]:
    both = (true, *nulls)
    found = [
        _measure(
            "discriminator",
            "a perceptron tells true rows from re-paired ones (accuracy)",
            [one.discriminator for one in both],
            chance=0.5,
        ),
        _measure(
            "forest",
            "a random forest tells true rows from re-paired ones (accuracy)",
            [one.forest for one in both],
            chance=0.5,
        ),
    ]
    for role, source in (("biological", "technical"), ("technical", "biological")):
        for how, by in (("perceptron", "a perceptron"), ("line", "a straight line")):
            found.append(
                _measure(
                    f"r2_{role}_{how}",
                    f"{by} predicts {role} from {source} features (R2)",
                    [mean_of_groups(one.r2[role, how]) for one in both],
                )
            )
    for name, title in (
        ("canonical", "canonical correlation"),
        ("principal", "principal components' correlation"),
    ):
        correlations = [getattr(one, name) for one in both]
        found.append(_measure(f"{name}_first", f"{title}, first pair", [one[:, 0] for one in correlations]))
        n = correlations[0].shape[1]
        found.append(
            _measure(
                f"{name}_mean", f"{title}, mean of {n} pairs", [mean_of_groups(one) for one in correlations]
            )
        )
    return tuple(found)


def _measure(name: str, title: str, draws: list[NDArray[np.float64]], *, chance: float = 0.0) -> Measure:
    """Give the first run, of true pairs, its interval, and the others, of rotated ones, theirs."""
    return Measure(name, title, chance, pool(draws[:1]), pool(draws[1:]))


def _pairs(name: str, title: str, draws: list[NDArray[np.float64]]) -> tuple[Measure, ...]:
    return tuple(
        _measure(f"{name}_{index + 1}", f"{title} {index + 1}", [one[:, index] for one in draws])
        for index in range(min(one.shape[1] for one in draws))  # a rotation may leave fewer components
    )


def _feature_scores(
    role: str, n_features: int, kept: NDArray[np.int64], true: _Draws, direct: tuple[str, ...]
) -> list[FeatureScore]:
    r2 = {}
    for how in ("line", "perceptron"):
        whole = np.full(n_features, np.nan)
        whole[kept] = true.r2[role, how][0]
        r2[how] = [None if np.isnan(value) else float(value) for value in whole]
    return [
        FeatureScore(
            role,
            feature,
            direct[feature] if feature < len(direct) else None,
            r2["line"][feature],
            r2["perceptron"][feature],
        )
        for feature in range(n_features)
    ]
