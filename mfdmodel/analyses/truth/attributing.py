"""Logits attributed in windows that hold planted sites, and the sites marked in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.analyses.truth.overlap import Hits, SitesInWindows, find_hits, integrated_gradients
from mfdmodel.checkpoint.models import TrainedModel
from mfdmodel.model import SequenceModel
from mfdmodel.strands import both_strands
from mfdstore.simulate.reading import BinTruth, PlantedSites
from mfdstore.store import Store


def attribute_values(
    trained: TrainedModel,
    store: Store,
    rows: NDArray[np.int64],
    table: BinTruth,
    sites: PlantedSites,
    *,
    n_windows: int,
    n_top: int,
    n_steps: int,
    device: torch.device,
    on_progress: Callable[[str, int, int], None] | None,
) -> list[Hits]:
    """Attribute the logits of each biological value's trained experiments in windows that hold its sites.

    Parameters
    ----------
    trained
        The model.
    store
        With the windows.
    rows
        Of those that may be taken, shape ``(window,)``.
    table
        Which window holds which value.
    sites
        That were planted.
    n_windows
        Of each value, at most.
    n_top
        Positions taken from each window.
    n_steps
        Of the integrated gradients.
    device
        To compute on.
    on_progress
        Told how many values are done.

    Returns
    -------
    What was hit, of each value that has trained experiments and windows.
    """
    factors = trained.description.factors
    positions = trained.description.config.data.positions
    held_out = set(trained.description.config.training.held_out)
    biological = [name for name in table.names if name.startswith("biological:")]
    hits: list[Hits] = []
    for done, name in enumerate(biological):
        _, factor, value = name.split(":", 2)
        group = [
            index
            for index, experiment in enumerate(factors.experiments)
            if factor in factors and factors[factor].values[index] == value and experiment not in held_out
        ]
        holding = np.flatnonzero(table.present[rows, table.names.index(name)])
        holding = thin(holding, n_windows)
        if group and len(holding):
            acting_on = {
                key: {factors[key].values[index] for index in group}
                for key in ("target", "biosample")
                if key in factors
            }
            planted = sites_in_windows(
                sites, store, rows[holding], positions=positions, own=(factor, value), acting_on=acting_on
            )
            attributions = _attributions(
                trained.model, store, rows[holding], group, positions, n_steps, device
            )
            # a site whose middle is in the bin lies in the window, unless the window is no wider than the bin
            inside = planted.own.any(1)
            planted = SitesInWindows(planted.own[inside], planted.acting[inside], planted.technical[inside])
            kept = {key: values[inside] for key, values in attributions.items()}
            hits.append(find_hits(name, kept, planted, row=holding[inside], n_top=n_top))
        if on_progress is not None:
            on_progress("attributing", done + 1, len(biological))
    return hits


def sites_in_windows(
    sites: PlantedSites,
    store: Store,
    rows: NDArray[np.int64],
    *,
    positions: int,
    own: tuple[str, str],
    acting_on: Mapping[str, set[object]],
) -> SitesInWindows:
    """Mark the bases of sites in windows.

    Parameters
    ----------
    sites
        That act.
    store
        With the windows.
    rows
        Of them, shape ``(window,)``.
    positions
        Of a window; position p is its base p.
    own
        Factor and value whose sites are marked as own.
    acting_on
        Values of the experiments that are attributed, by factor: biological sites of these act on them, those of
        targets if they are bound in one of their biosamples.
    """
    is_own = (sites.factor == own[0]) & (sites.name == own[1])
    wanted = {(factor, value) for factor, values in acting_on.items() for value in values}
    of_value = np.array([pair in wanted for pair in zip(sites.factor, sites.name, strict=True)], np.bool_)
    biosamples = acting_on.get("biosample", set())
    bound = np.array([not names or bool(names & biosamples) for names in sites.biosamples], np.bool_)
    acts = is_own | ((sites.role == "biological") & of_value & bound)
    marks = {
        "own": is_own,
        "acting": acts,
        "technical": sites.role == "technical",
    }
    planted = {name: np.zeros((len(rows), positions), np.bool_) for name in marks}
    first = store.windows.first_position(positions)[rows]
    for index, (row, begin) in enumerate(zip(rows.tolist(), first.tolist(), strict=True)):
        chrom = store.windows.chroms[store.windows.chrom[row]]
        near = np.flatnonzero(
            (sites.chrom == chrom) & (sites.end > begin) & (sites.start < begin + positions)
        )
        for site in near.tolist():
            low, high = max(0, int(sites.start[site]) - begin), int(sites.end[site]) - begin
            for name, mask in marks.items():
                planted[name][index, low:high] |= mask[site]
    return SitesInWindows(planted["own"], planted["acting"], planted["technical"])


def _attributions(
    model: SequenceModel,
    store: Store,
    rows: NDArray[np.int64],
    experiments: list[int],
    positions: int,
    n_steps: int,
    device: torch.device,
) -> dict[str, NDArray[np.float32]]:
    model.to(device).eval()
    parts: list[dict[str, NDArray[np.float32]]] = []
    for batches in both_strands(store, rows, positions=positions, batch_size=64):
        forward, reverse = (
            integrated_gradients(model, batch.to(device).one_hot(), experiments, n_steps=n_steps)
            for batch in batches
        )
        # dinucleotide p of the reverse strand is the last but p of the forward one
        parts.append({key: ((forward[key] + reverse[key].flip(1)) / 2).cpu().numpy() for key in forward})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def thin(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Take at most so many rows, evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
