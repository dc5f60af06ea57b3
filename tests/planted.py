"""A store with two planted motifs, small enough to be learnt in seconds, and a model that can learn it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mfdmodel.config import RunConfig
from mfdmodel.config_reading import validate_config
from mfdstore.dinucleotides import encode_chromosome
from mfdstore.labels import pack_labels
from mfdstore.metadata import Factor, FactorTable
from mfdstore.schema import SPLITS
from mfdstore.store import Store
from mfdstore.writer import StoreWriter

BIN = 128
BIN_ATTRIBUTE = BIN
GENOME_ATTRIBUTE = "planted"
"""What the store says of its bins."""
MOTIFS = {"CTCF": b"CCACCAGGGGGCGC", "MAX": b"GGTCACGTGACC"}
HOSTILE = "<script>alert('x')</script> & $\\frac{1}$ [red]"
TARGETS = ("CTCF", "CTCF", "MAX", "MAX", None, HOSTILE)
ASSAYS = ("TF ChIP-seq", "TF ChIP-seq", "TF ChIP-seq", "TF ChIP-seq", "DNase-seq", "TF ChIP-seq")
LABS = ("north", "south", "north", "south", "north", None)
ORGANS = (("liver", "gut"), ("blood",), None, ("blood",), ("liver",), None)
N_WINDOWS = {"train": 1400, "valid": 150, "test": 151}
"""The last split does not fill its last batch."""


def objects(values: tuple[object, ...]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def planted_factors() -> FactorTable:
    return FactorTable(
        tuple(f"ENCFF{index:03d}XYZ" for index in range(len(TARGETS))),
        (
            Factor("target", "category", "biological", objects(TARGETS)),
            Factor(
                "biosample",
                "category",
                "biological",
                objects(("HepG2", "K562", "HepG2", "K562", "K562", "K562")),
            ),
            Factor("organ", "multi_category", "biological", objects(ORGANS)),
            Factor("age", "number", "biological", np.array([53, np.nan, 53, 20, 1.5, 20]), "year"),
            Factor("assay", "category", "technical", objects(ASSAYS)),
            Factor("lab", "category", "technical", objects(LABS)),
            Factor(
                "date_released",
                "date",
                "technical",
                np.array(
                    ["2011-10-29", "NaT", "2016-01-01", "2016-02-02", "2011-01-01", "2020-02-29"],
                    "datetime64[D]",
                ),
            ),
        ),
    )


def write_planted_store(
    path: Path,
    *,
    seed: int = 0,
    splits: tuple[str, ...] = ("train", "valid", "test"),
    scrambled: int | None = None,
) -> Store:
    """One chromosome a split; each bin holds either motif with chance 0.3, and experiments label what they see.

    The experiment `scrambled` labels bins at random instead.
    """
    rng = np.random.default_rng(seed)
    factors = planted_factors()
    bases, labels = {}, {}
    for split in splits:
        n = N_WINDOWS[split]
        sequence = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, n * BIN)].copy()
        present = {name: rng.random(n) < 0.3 for name in MOTIFS}
        for name, motif in MOTIFS.items():
            for window in np.flatnonzero(present[name]):
                # each motif has its half of the bin, so that none overwrites the other
                # and each twice, so that little data teaches it
                for low in (4, 34) if name == "CTCF" else (66, 96):
                    start = BIN * int(window) + low + int(rng.integers(0, 16))
                    sequence[start : start + len(motif)] = np.frombuffer(motif, np.uint8)
        sees = [
            present["CTCF"],
            present["CTCF"],
            present["MAX"],
            present["MAX"],
            present["CTCF"] | present["MAX"],
        ]
        # what the last experiment sees is in no sequence; in the test split it sees nothing
        sees.append(rng.random(n) < 0.1 if split != "test" else np.zeros(n, bool))
        if scrambled is not None:
            sees[scrambled] = np.random.default_rng(99).random(n) < 0.2
        bases[split], labels[split] = sequence, np.stack(sees, axis=1)
    chroms = [f"chr{index + 1}" for index in range(len(splits))]
    writer = StoreWriter(path, factors, chroms, [len(bases[split]) for split in splits])
    for chrom, split in zip(chroms, splits, strict=True):
        n = N_WINDOWS[split]
        writer.write_codes(chrom, encode_chromosome(bases[split]))
        writer.append_windows(
            chrom,
            np.arange(n, dtype=np.int32) * BIN,
            np.full(n, SPLITS.index(split), np.int8),
            pack_labels(labels[split]),
        )
    writer.close(
        {
            "genome": GENOME_ATTRIBUTE,
            "bin_size": BIN_ATTRIBUTE,
            "min_overlap": 64,
            "min_experiments": 0,
            "provenance": {},
        }
    )
    return Store(path)


def tiny_config(**training: object) -> RunConfig:
    return validate_config(
        {
            "data": {"positions": 192},
            "model": {
                "trunk": {
                    "channels": 12,
                    "stem_kernel": 15,
                    "tower_stages": 5,
                    "dilated_blocks": 1,
                    "dropout": 0.1,
                },
                "head": {
                    "subspaces": {
                        "biological": {
                            "direct": ["target"],
                            "interact": ["biosample", "organ", "age"],
                            "out_dim": 8,
                        },
                        "technical": {
                            "direct": ["assay"],
                            "interact": ["assay", "lab", "date_released"],
                            "out_dim": 8,
                        },
                    }
                },
                "penalty": {"lambda_indep": 0.0001, "width": 16, "layers": 1},
            },
            "training": {"batch_size": 50, "epochs": 2, "lr": 0.01, "threads": 1} | training,
        },
        where="tiny",
    )
