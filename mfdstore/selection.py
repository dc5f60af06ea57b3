"""Selecting from an opened store by what a user knows: ``ds.mfd.region``, ``ds.mfd.split``, ``ds.mfd.experiments``."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.genomes import find_assembly, some, usual_name
from mfdstore.windows import check_split

_REGION = re.compile(r"(?P<chrom>[^:]+)(?::(?P<start>[0-9][0-9,_]*)-(?P<end>[0-9][0-9,_]*))?")


@xr.register_dataset_accessor("mfd")  # type: ignore[no-untyped-call]
class Selection:
    """Selects windows by region and experiments by what is known of them: ``ds.mfd.region("chr22:1-2")``."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

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
            If the text is no region, or the store has no such chromosome.
        """
        match = _REGION.fullmatch(region.strip())
        start = end = 0
        if match is not None and match["start"]:
            start, end = (int(re.sub("[,_]", "", match[side])) for side in ("start", "end"))
        if match is None or (match["start"] and start >= end):
            raise ConfigError(
                "region",
                found=repr(region),
                expected="chr22 or chr22:20,000,000-21,000,000, with start before end",
                remedy="Correct the region.",
            )
        windows = self._dataset
        chroms = list(dict.fromkeys(windows[schema.CHROM].values))
        wanted = usual_name(match["chrom"], find_assembly(windows.attrs.get("genome", "")))
        names = [name for name in (wanted, match["chrom"]) if name in chroms]
        if not names:
            raise ConfigError(
                "region",
                found=repr(match["chrom"]),
                expected=some(chroms) if chroms else "windows to choose from, but the selection holds none",
                remedy="Use one of the store's names.",
            )
        keep = windows[schema.CHROM].values == names[0]
        if match["start"]:
            keep &= (windows[schema.START].values < end) & (windows[schema.END].values > start)
        return windows.isel({schema.WINDOW: np.flatnonzero(keep)})

    def split(self, split: schema.Split) -> xr.Dataset:
        """Select the windows of one split.

        Raises
        ------
        ConfigError
            If there is no such split.
        """
        check_split(split)
        keep = self._dataset[schema.SPLIT].values == split
        return self._dataset.isel({schema.WINDOW: np.flatnonzero(keep)})

    def experiments(self, factors: dict[str, Any]) -> xr.Dataset:
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
        keep = np.ones(self._dataset.sizes[schema.EXPERIMENT], np.bool_)
        for name, wanted in factors.items():
            if name not in self._dataset.coords or self._dataset[name].dims != (schema.EXPERIMENT,):
                known = [
                    key for key, value in self._dataset.coords.items() if value.dims == (schema.EXPERIMENT,)
                ]
                raise ConfigError(
                    f"factor {name!r}",
                    found="no such factor",
                    expected=some(map(str, known), 40),
                    remedy="Correct the name.",
                )
            column = self._dataset[name]
            keep &= _holds_any(name, column.values, _listed(wanted), column.attrs.get("kind"))
        return self._dataset.isel({schema.EXPERIMENT: np.flatnonzero(keep)})


def _listed(wanted: Any) -> list[Any]:
    """Spell out one value or several."""
    if isinstance(wanted, (set, frozenset)):
        return sorted(wanted, key=str)
    return [wanted] if isinstance(wanted, str) else list(np.ravel(np.asarray(wanted, object)))


def _names(value: Any, kind: str | None) -> list[str]:
    """Spell the values in one cell; none where it is missing."""
    if kind == "multi_category":
        return [name for name in str(value or "").split(schema.MULTI_SEPARATOR) if name and value == value]
    return [] if value is None or value != value else [str(value)]


def _holds_any(name: str, column: NDArray[Any], wanted: list[Any], kind: str | None) -> NDArray[np.bool_]:
    """Find the experiments that have one of the values, and refuse a value that none has."""
    keep = np.zeros(len(column), np.bool_)
    for value in wanted:
        try:
            one = np.datetime64(value, "ns") if column.dtype.kind == "M" else value
        except ValueError:
            one = None
        if kind == "multi_category":
            held = [isinstance(text, str) and one in text.split(schema.MULTI_SEPARATOR) for text in column]
        else:
            held = [one is not None and bool(text == one) for text in column]
        if not any(held):
            known = sorted({name for text in column for name in _names(text, kind)})
            raise ConfigError(
                f"factor {name!r}",
                found=f"no experiment with {str(value)!r}",
                expected=some(known, 40) if known else "known values, but all are missing",
                remedy="Correct the value.",
            )
        keep |= np.array(held, np.bool_)
    return keep
