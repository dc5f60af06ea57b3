"""Do attributions lie where sites were planted: integrated gradients of logits against positions of sites.

The logits of the experiments that a planted value belongs to are attributed to the positions of windows that hold
its sites; both strands, averaged. An attribution belongs to a dinucleotide and is given to its first base. The
positions of the largest absolute attributions of a window are held against the sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfdmodel.analyses.truth.recovery import COMBINED
from mfdmodel.intervals import Interval, interval
from mfdmodel.model import SequenceModel
from mfdmodel.resampling import Resampler, mean_of_groups


@dataclass(frozen=True)
class SitesInWindows:
    """Which positions of windows are planted, each of shape ``(window, position)``.

    Parameters
    ----------
    own
        Sites of the value itself that act.
    acting
        All biological sites that act on the experiments attributed, with its own.
    technical
        Sites of technical values.
    """

    own: NDArray[np.bool_]
    acting: NDArray[np.bool_]
    technical: NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """How the top positions of attributions meet planted sites, as mean over windows.

    Parameters
    ----------
    role, factor, value
        Of the value attributed; `value` is `None` of a factor's mean.
    n_windows
        That were attributed.
    precision
        Share of the top positions that lie in sites that act, by whose logits: a role's or all of them.
    recall
        Share of the value's own positions that are among the top.
    technical
        Share of the top positions that lie in technical sites.
    chance, technical_chance
        Shares of all positions that lie in acting and in technical sites.
    """

    role: str
    factor: str
    value: str | None
    n_windows: int
    precision: dict[str, Interval]
    recall: dict[str, Interval]
    technical: dict[str, Interval]
    chance: float
    technical_chance: float


def integrated_gradients(
    model: SequenceModel, one_hot: Tensor, experiments: Sequence[int], *, n_steps: int
) -> dict[str, Tensor]:
    """Attribute the mean logit of experiments to positions, along the line from blank windows.

    Gradients are taken at the middles of equal steps; their sum over positions nears the logit's difference from
    that of a blank window.

    Parameters
    ----------
    model
        In evaluation mode.
    one_hot
        Shape ``(window, dinucleotide, position)``.
    experiments
        Columns of the logits.
    n_steps
        Of the line.

    Returns
    -------
    By role of the subspace whose part of the logits is meant, and combined, each ``(window, position)``.
    """
    columns = list(experiments)
    total = {role: torch.zeros_like(one_hot) for role in model.roles}
    for step in range(n_steps):
        x = ((step + 0.5) / n_steps * one_hot).requires_grad_()
        added = model.logits_by_role(model.latent(x))
        for number, (role, logits) in enumerate(added.items()):
            last = number == len(added) - 1
            (gradient,) = torch.autograd.grad(logits[:, columns].mean(1).sum(), x, retain_graph=not last)
            total[role] += gradient / n_steps
    by_role = {role: (one_hot * gradient).sum(1) for role, gradient in total.items()}
    combined = torch.stack(list(by_role.values())).sum(0)
    return by_role | {COMBINED: combined} if len(by_role) > 1 else {COMBINED: combined}


@dataclass(frozen=True)
class Hits:
    """What the top positions of each window of one value meet; arrays of shape ``(window,)``, by whose logits."""

    role: str
    factor: str
    value: str
    row: NDArray[np.int64]
    precision: dict[str, NDArray[np.float64]]
    recall: dict[str, NDArray[np.float64]]
    technical: dict[str, NDArray[np.float64]]
    chance: NDArray[np.float64]
    technical_chance: NDArray[np.float64]


def find_hits(
    name: str,
    attributions: dict[str, NDArray[np.float32]],
    sites: SitesInWindows,
    *,
    row: NDArray[np.int64],
    n_top: int,
) -> Hits:
    """Compare the top positions of each window with the sites in it.

    Parameters
    ----------
    name
        ``ROLE:FACTOR:VALUE``.
    attributions
        By whose logits, each ``(window, position)``.
    sites
        In these windows; each window holds a position of the value's own.
    row
        Of the windows among those of `average_hits`.
    n_top
        Positions taken from each window.
    """
    role, factor, value = name.split(":", 2)
    precision, recall, technical = {}, {}, {}
    for key, values in attributions.items():
        # stable, so that equal attributions are taken from the window's beginning
        top = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :n_top]
        precision[key] = np.take_along_axis(sites.acting, top, 1).mean(1)
        technical[key] = np.take_along_axis(sites.technical, top, 1).mean(1)
        recall[key] = np.take_along_axis(sites.own, top, 1).sum(1) / sites.own.sum(1)
    return Hits(
        role, factor, value, row, precision, recall, technical,
        sites.acting.mean(1), sites.technical.mean(1),
    )  # fmt: skip


def average_hits(hits: Sequence[Hits], resampler: Resampler) -> tuple[Overlap, ...]:
    """Average over windows, with intervals; then over the values of a factor.

    Parameters
    ----------
    hits
        Of each value.
    resampler
        Of the windows that `Hits.row` is among.

    Returns
    -------
    Values in the order given, then factors.
    """
    values = [(hit, _means(hit, resampler.take(hit.row))) for hit in hits if len(hit.row)]
    results = [
        _overlap((hit.role, hit.factor, hit.value), len(hit.row), means, [hit]) for hit, means in values
    ]
    for role, factor in dict.fromkeys((hit.role, hit.factor) for hit, _ in values):
        members = [(hit, means) for hit, means in values if (hit.role, hit.factor) == (role, factor)]
        pooled = [
            {
                key: mean_of_groups(np.stack([means[part][key] for _, means in members], axis=1))
                for key in members[0][1][part]
            }
            for part in range(3)
        ]
        n = sum(len(hit.row) for hit, _ in members)
        results.append(_overlap((role, factor, None), n, pooled, [hit for hit, _ in members]))
    return tuple(results)


_Means = list[dict[str, NDArray[np.float64]]]


def _means(hit: Hits, resampler: Resampler) -> _Means:
    return [
        {key: resampler.means(values) for key, values in part.items()}
        for part in (hit.precision, hit.recall, hit.technical)
    ]


def _overlap(
    key: tuple[str, str, str | None], n_windows: int, means: _Means, hits: Sequence[Hits]
) -> Overlap:
    precision, recall, technical = (
        {name: interval(values) for name, values in part.items()} for part in means
    )
    return Overlap(
        *key,
        n_windows,
        precision,
        recall,
        technical,
        chance=float(np.mean([hit.chance.mean() for hit in hits])),
        technical_chance=float(np.mean([hit.technical_chance.mean() for hit in hits])),
    )
