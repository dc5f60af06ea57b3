"""``ds.mfd``: what a notebook asks of an opened store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from mfdstore import schema
from mfdstore.query import factors as by_factors
from mfdstore.query import regions, summary
from mfdstore.query.origin import column_of, rows_of, store_of, window_coordinate
from mfdstore.windows import check_split


@xr.register_dataset_accessor("mfd")  # type: ignore[no-untyped-call]
class Query:
    """Selects windows and experiments by what is known of them, and counts labels: ``ds.mfd.region("chr22:1-2")``.

    What selects gives a dataset again, in the order it had, so that one question can follow another.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def __repr__(self) -> str:
        return summary.as_text(self._dataset)

    def _repr_html_(self) -> str:
        return summary.as_html(self._dataset)

    def region(self, region: str) -> xr.Dataset:
        """Select the windows whose bin shares a base with a region.

        Parameters
        ----------
        region
            ``chr22`` or ``chr22:20,000,000-21,000,000``: 0-based half-open bp, as in BED; any spelling of the
            chromosome.

        Raises
        ------
        ConfigError
            If the text is no region, or the dataset has no window on such a chromosome.
        """
        return self._dataset.isel({schema.WINDOW: regions.in_region(self._dataset, region)})

    def overlapping(self, intervals: Any) -> xr.Dataset:
        """Select the windows whose bin shares a base with any of many intervals.

        Parameters
        ----------
        intervals
            The path of a BED, narrowPeak or broadPeak file, plain or gzip; a PyRanges object; a table (pandas,
            polars) with columns Chromosome, Start, End or chrom, start, end; or a region as text. 0-based half-open
            bp, any spelling of the chromosomes. A text that names a chromosome of the store is a region.

        Returns
        -------
        Each window once, in the order it had. Intervals on chromosomes that the store lacks match nothing and
        are told by a warning in the log.

        Raises
        ------
        ConfigError
            If this is none of them, a row of a table is at fault, or none of the chromosomes is the store's.
        SourceError
            If a file or a line of it is at fault.
        """
        return self._dataset.isel({schema.WINDOW: regions.overlapping(self._dataset, intervals)})

    def split(self, split: schema.Split) -> xr.Dataset:
        """Select the windows of one split.

        Raises
        ------
        ConfigError
            If there is no such split.
        """
        check_split(split)
        keep = window_coordinate(self._dataset, schema.SPLIT) == split
        return self._dataset.isel({schema.WINDOW: np.flatnonzero(keep)})

    def experiments(self, factors: Mapping[str, Any]) -> xr.Dataset:
        """Select experiments by the values of their factors.

        Parameters
        ----------
        factors
            A value, or several, for each factor named: ``{"target": "CTCF", "biosample": ["HepG2", "K562"]}``;
            dates as text (``2016-07-28``) or datetime64.
            All must hold. A multi-category factor holds where it has any of the values; a missing value never.

        Raises
        ------
        ConfigError
            If a factor is none of the store's, or a value that of none of these experiments.
        """
        return self._dataset.isel({schema.EXPERIMENT: by_factors.choose(self._dataset, factors)})

    def positives(self, experiment: str) -> xr.Dataset:
        """Select the windows that one experiment labels, in one read of the store.

        Parameters
        ----------
        experiment
            Any accession of the store, whether or not this selection still has it: which windows of these CTCF
            experiments does that H3K27ac experiment label?

        Raises
        ------
        ConfigError
            If the store has no such experiment, or the dataset is not of a store.
        StoreError
            If the store is damaged.
        """
        store = store_of(self._dataset)
        column = column_of(store, experiment)
        labelled = store.labels_of(column)[rows_of(self._dataset, store)]
        return self._dataset.isel({schema.WINDOW: np.flatnonzero(labelled)})

    # dask and numba take a second to import, so counts are imported by whoever counts

    def count_experiments(self, by: str | Sequence[str]) -> xr.DataArray:
        """Count for each window how many experiments of each group label it.

        Parameters
        ----------
        by
            A factor (``target``), or several (``["target", "biosample"]``: a group for each combination that
            occurs), or ``experiment``. An experiment with several values in a cell counts in the group of each;
            one without a value is in no group, and the attributes of the result say how many these are.

        Returns
        -------
        Lazy, shape ``(window, group)``; the second dimension has the factor's name, ``group`` for several.
        The coordinate ``n_experiments`` is the size of each group.

        Raises
        ------
        ConfigError
            If the dataset is not of a store, or has no such factor.
        """
        from mfdstore.query import counts

        return counts.count_experiments(self._dataset, by)

    def count_windows(self, by: str | Sequence[str], per: str | Sequence[str] = ()) -> xr.DataArray:
        """Count for each group how many windows any of its experiments labels.

        Parameters
        ----------
        by
            A factor or several, as `count_experiments` takes them.
        per
            Count apart by coordinates of the windows: ``split``, ``chrom``, or both.

        Returns
        -------
        Lazy, shape ``(*per, group)``; the coordinate ``n_windows`` says how many windows there are in all.

        Raises
        ------
        ConfigError
            If the dataset is not of a store, or has no such factor or coordinate.
        """
        from mfdstore.query import counts

        return counts.count_windows(self._dataset, by, per)

    def count_labels(self, by: str | Sequence[str], per: str | Sequence[str] = ()) -> xr.DataArray:
        """Count for each group its labels: a window that three of its experiments label counts three times.

        Parameters, returns and errors are those of `count_windows`.
        """
        from mfdstore.query import counts

        return counts.count_windows(self._dataset, by, per, labels=True)

    def jaccard(self, by: str = schema.EXPERIMENT) -> xr.DataArray:
        """Measure how far two groups label the same windows: windows of both over windows of either.

        Parameters
        ----------
        by
            A factor, or ``experiment``; a group labels a window if any of its experiments does.

        Returns
        -------
        Lazy, 0 to 1, shape ``(group, group)``: the factor's name, and that with ``_other`` behind it. NaN where neither
        labels any window.

        Raises
        ------
        ConfigError
            If the dataset is not of a store, or has no such factor.
        """
        from mfdstore.query import counts

        return counts.jaccard(self._dataset, by)
