"""A store of several shards and chromosomes, built once; its labels as plain booleans beside it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from mfdstore.build.run import build_store
from tests.worlds import ACCESSIONS, BIN_SIZE, Interval, World, settings

BINS = {"chr1": 20_000, "chr8": 9_000, "chr9": 7_000}


@dataclass(frozen=True, repr=False)
class Wide:
    """Where the store is, and its labels, shape (window, experiment)."""

    path: Path
    labels: NDArray[np.bool_]

    def open(self, **options: object) -> xr.Dataset:
        return xr.open_dataset(self.path, engine="mfdstore", **options)  # type: ignore[arg-type]


def draw_wide_peaks(seed: int = 3) -> dict[str, dict[str, list[Interval]]]:
    """Draw peaks so wide that most bins are kept."""
    draw = random.Random(seed)
    peaks: dict[str, dict[str, list[Interval]]] = {}
    for accession in ACCESSIONS:
        peaks[accession] = {}
        for chrom, n in BINS.items():
            ends = sorted(draw.sample(range(n * BIN_SIZE), 60))
            peaks[accession][chrom] = list(zip(ends[0::2], ends[1::2], strict=True))
    return peaks


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Wide:
    folder = tmp_path_factory.mktemp("wide")
    sequences = {chrom: "GATTACAT" * (n * BIN_SIZE // 8) for chrom, n in BINS.items()}
    sources = World(sequences, draw_wide_peaks(), {"chr8": [(640, 641)]}).write(folder)
    report = build_store(sources, folder / "wide.zarr", settings())
    return Wide(report.path, xr.open_dataset(report.path, engine="mfdstore").label.values)
