"""Judges of what is held in RAM: its size by hand, windows cut from strings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader import Loader, RamData, memory
from mfdstore.loader import ram as ram_module

BIN = 128


def test_ram_data__is_shared_and_says_how_much_it_holds(store: Any) -> None:
    data = RamData(store, flank=100)
    length = 100 + sum(size + 100 for size in store.chrom_sizes)
    assert data.nbytes == length + 300 * (2 + 8)
    train = Loader(store, split="train", batch_size=10, positions=100, data=data)
    test = Loader(store, split="test", batch_size=10, positions=100, strand="reverse", data=data)
    assert sum(map(len, train)) == sum(map(len, test)) == 100
    assert train.data is test.data is data


def test_ram_data__holds_only_chromosomes_that_have_windows(
    new_store: Any, write_store: Any, tmp_path: Path
) -> None:
    drawn = new_store({"chr1": 1000})
    bases = {"chr0": "ACGT" * 500, **drawn.bases, "chr2": "ACGT" * 500}
    store = write_store(tmp_path / "a.zarr", bases, drawn.windows, drawn.label)
    assert store.windows.chroms == ("chr0", "chr1", "chr2")
    data = RamData(store, flank=50)
    assert data.nbytes == (50 + 1000 + 50) + store.n_windows * (2 + 8)
    batch = next(iter(Loader(store, batch_size=50, positions=90, data=data)))
    expected = [store.expected(row, positions=90, shift=0, reverse=False) for row in range(50)]
    assert batch.codes.tolist() == expected


def test_ram_data__refuses_a_store_larger_than_memory(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ram_module, "available_memory", lambda: 10_000)
    with pytest.raises(StoreError, match=r"takes \d\d,\d{3} bytes in RAM; .*10,000 bytes that are available"):
        RamData(store)
    monkeypatch.setattr(ram_module, "available_memory", lambda: None)
    assert RamData(store).nbytes > 10_000


def test_available_memory__is_what_the_system_tells() -> None:
    available = memory.available_memory()
    assert available is not None
    assert 1 << 20 < available < 1 << 50


@pytest.mark.parametrize("start", [-1, 2000 - BIN + 1])
def test_ram_data__refuses_a_bin_outside_its_chromosome(new_store: Any, start: int) -> None:
    store = new_store({"chr1": 2000})
    store.windows.start[7] = start
    with pytest.raises(StoreError, match=f"window 7 on chr1 at {start}; expected a bin inside chr1, .* 2000"):
        RamData(store)


def test_loader__refuses_windows_that_reach_beyond_the_flank(store: Any) -> None:
    data = RamData(store, flank=100)
    Loader(store, batch_size=10, positions=195, max_shift=2, data=data)
    with pytest.raises(ConfigError, match="flank of at least 101 bp"):
        Loader(store, batch_size=10, positions=195, max_shift=3, data=data)


def test_loader__holds_as_wide_a_flank_as_it_needs(store: Any) -> None:
    batch = next(iter(Loader(store, rows=np.array([0]), batch_size=1, positions=20_001)))
    assert batch.codes[0].tolist() == store.expected(0, positions=20_001, shift=0, reverse=False)
