"""Stores of every format version stay readable: each is held against the definitions, not against a build of today.

`tests/golden/store_v1.zip` was written when format version 1 was settled, from `World()` with
`settings()` of tests/worlds.py. It is never rewritten; a new format version gets a file of its own beside it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from mfdstore.store import Store
from mfdstore.verify import verify_store
from tests.oracles import naive_codes
from tests.worlds import ACCESSIONS, World, expect

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(params=["store_v1"])
def golden_store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with zipfile.ZipFile(GOLDEN / f"{request.param}.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path / f"{request.param}.zarr"


def test_golden_store__holds_what_the_definitions_say(golden_store: Path) -> None:
    world = World()
    expected = expect(world)
    store = Store(golden_store)
    windows = store.windows
    found = [
        (windows.chroms[chrom], start) for chrom, start in zip(windows.chrom, windows.start, strict=True)
    ]
    assert found == expected.bins
    np.testing.assert_array_equal(
        np.unpackbits(store.label_bits(), axis=1, count=store.n_experiments), expected.labels
    )
    assert list(store.experiments) == ACCESSIONS
    for chrom, bases in world.sequences.items():
        assert store.codes(chrom).tolist() == naive_codes(bases + "N")


def test_golden_store__passes_verification_and_opens_in_xarray(golden_store: Path) -> None:
    assert verify_store(golden_store).sound
    dataset = xr.open_dataset(golden_store, engine="mfdstore")
    np.testing.assert_array_equal(dataset.label.values, expect(World()).labels)
    assert dataset.target.attrs["role"] == "biological"
    assert xr.open_zarr(golden_store).sizes["experiment"] == len(ACCESSIONS)
