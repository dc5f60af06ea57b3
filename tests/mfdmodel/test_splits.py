"""Windows of different splits must share no base: found here by listing what each window reads."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mfdmodel.checkpoint.models import load_model
from mfdmodel.config import DataConfig
from mfdmodel.config_reading import override
from mfdmodel.evaluate.run import evaluate_run
from mfdmodel.splits import check_apart, nearest_windows
from mfdmodel.train.fit import train
from mfdstore.dinucleotides import encode_chromosome
from mfdstore.errors import ConfigError
from mfdstore.labels import pack_labels
from mfdstore.schema import SPLITS, Split
from mfdstore.store import Store
from mfdstore.windows import WindowTable
from mfdstore.writer import StoreWriter
from tests.planted import BIN, planted_factors, tiny_config, write_planted_store

BLOCKS: dict[Split, tuple[int, int]] = {"train": (0, 60), "valid": (62, 80), "test": (84, 104)}
"""First bin of each split and the first behind it: 256 bp between training and validation, 512 bp to the test."""


def write_store(path: Path, *, chrom: str = "chr1", genome: str = "blocks") -> Store:
    """One chromosome in three blocks."""
    rng = np.random.default_rng(0)
    n = BLOCKS["test"][1]
    writer = StoreWriter(path, planted_factors(), [chrom], [n * BIN])
    writer.write_codes(
        chrom, encode_chromosome(np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, n * BIN)])
    )
    bins = np.concatenate([np.arange(*span) for span in BLOCKS.values()])
    split = np.concatenate(
        [np.full(stop - first, SPLITS.index(name)) for name, (first, stop) in BLOCKS.items()]
    )
    labels = rng.random((len(bins), 6)) < 0.3
    writer.append_windows(chrom, (bins * BIN).astype(np.int32), split.astype(np.int8), pack_labels(labels))
    writer.close(
        {"genome": genome, "bin_size": BIN, "min_overlap": 64, "min_experiments": 0, "provenance": {}}
    )
    return Store(path)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("blocks") / "blocks.zarr")


def bases_read(store: Store, split: Split, data: DataConfig) -> set[int]:
    """List every base that a window of a split may read: P dinucleotides are P + 1 bases."""
    bases: set[int] = set()
    shifts = range(-data.max_shift, data.max_shift + 1) if split == "train" else (0,)
    for first in store.windows.first_position(data.positions)[store.windows.rows(split)]:
        for shift in shifts:
            bases |= set(range(first + shift, first + shift + data.positions + 1))
    return bases


@pytest.mark.parametrize(
    ("positions", "max_shift"), [(380, 3), (381, 3), (383, 0), (383, 1), (384, 0), (639, 0)]
)
def test_check_apart__refuses_just_when_a_base_is_read_by_two_splits(
    blocks: Store, positions: int, max_shift: int
) -> None:
    data = DataConfig(positions=positions, max_shift=max_shift)
    read = {split: bases_read(blocks, split, data) for split in BLOCKS}
    if any(read[first] & read[second] for first, second in combinations(read, 2)):
        with pytest.raises(ConfigError, match=r"chr1:7552 \(train\) and chr1:7936 \(valid\)"):
            check_apart(blocks, data)
    else:
        check_apart(blocks, data)


def test_check_apart__names_the_gap_that_is_needed(blocks: Store) -> None:
    with pytest.raises(ConfigError, match=r"at least 516 bp apart.*--gap 516 or more"):
        check_apart(blocks, DataConfig(positions=640, max_shift=3))


def test_nearest_windows__are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        n = 40
        chrom = np.sort(rng.integers(0, 3, n)).astype(np.int16)
        start = np.concatenate(
            [np.sort(rng.choice(500, (chrom == index).sum(), replace=False)) for index in range(3)]
        ).astype(np.int32)
        split = rng.choice(4, n, p=[0.05, 0.05, 0.1, 0.8]).astype(np.int8)
        table = WindowTable(("a", "b", "c"), chrom, start, split, 1)
        distances = [
            abs(int(start[one]) - int(start[other]))
            for one in np.flatnonzero(split == 0)
            for other in np.flatnonzero(split == 1)
            if chrom[one] == chrom[other]
        ]
        found = nearest_windows(table, SPLITS[0], SPLITS[1])
        assert (found is None) == (not distances)
        if found is not None:
            assert start[found[1]] - start[found[0]] == min(distances)
            assert set(split[found]) == {0, 1}


def test_train_and_evaluate__refuse_windows_that_leak(blocks: Store, tmp_path: Path) -> None:
    wide = override(tiny_config(), {"data.positions": 640})
    with pytest.raises(ConfigError, match="--gap 516"):
        train(wide, store=blocks, run=tmp_path / "run", device="cpu", threads=1)
    assert not (tmp_path / "run").exists()
    apart = write_planted_store(tmp_path / "apart.zarr")
    train(override(wide, {"training.epochs": 1}), store=apart, run=tmp_path / "run", device="cpu", threads=1)
    assert load_model(tmp_path / "run").epoch == 0
    elsewhere = write_store(tmp_path / "elsewhere.zarr", chrom="chr4", genome="planted")
    with pytest.raises(ConfigError, match="--gap 516"):
        evaluate_run(tmp_path / "run", store=elsewhere.path, device="cpu", threads=1)
    assert not (tmp_path / "run" / "evaluation").exists()
