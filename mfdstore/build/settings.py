"""What a build is asked for, and what it says of itself when it is done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mfdstore import schema
from mfdstore.errors import ConfigError, MfdError
from mfdstore.places.address import Place
from mfdstore.sources.cache import cache_folder
from mfdstore.splitting import SplitOptions
from mfdstore.store import Store

LEAST_MEMORY = 1_000_000_000
"""Below this the libraries leave no room for work, in bytes."""
_PROGRAM = 500_000_000
"""What Python and its libraries take, in bytes."""
_LEAST_TASK = 128_000_000
"""What is left for a task at least, in bytes."""
_BYTES_PER_BIN = 16
"""What the stages hold of each bin at most, measured on a single chromosome; it holds for any number of experiments."""


@dataclass(frozen=True)
class Sources:
    """The files a store is built from.

    Parameters
    ----------
    fasta
        Reference genome.
    peaks
        Folder with one peak file an experiment, named by its accession.
    metadata
        The ENCODE portal's `metadata.tsv`.
    report
        Its experiment report, where the lab is.
    blacklist
        BED of regions to leave out.
    """

    fasta: Path
    peaks: Path
    metadata: Path
    report: Path | None = None
    blacklist: Path | None = None


@dataclass(frozen=True)
class BuildSettings:
    """What decides the content of a store, besides its sources; sizes in bp.

    Parameters
    ----------
    genome
        Name of the assembly.
    chroms
        Chromosomes to build, by any of their names; empty means all of the FASTA.
    bin_size
        Width of the bin that carries the labels.
    min_overlap
        A single peak must overlap a bin by so much to label it.
    min_experiments
        So many experiments must label a bin for it to be kept.
    valid_chroms, test_chroms
        Chromosomes held out whole.
    blocks
        Fractions of train, valid and test to cut each chromosome by instead, in this order along it.
    gap
        Width of what is left unused between two blocks: as wide as a window.
    allow_missing
        Leave out experiments of the metadata that have no peak file, instead of stopping.
    allow_empty
        Keep experiments without a peak on the chosen chromosomes, instead of stopping.
    """

    genome: str
    chroms: tuple[str, ...] = ()
    bin_size: int = schema.DEFAULT_BIN_SIZE
    min_overlap: int = schema.DEFAULT_MIN_OVERLAP
    min_experiments: int = schema.DEFAULT_MIN_EXPERIMENTS
    valid_chroms: tuple[str, ...] = ("chr8",)
    test_chroms: tuple[str, ...] = ("chr9", "chr10")
    blocks: tuple[float, float, float] | None = None
    gap: int = schema.DEFAULT_POSITIONS
    allow_missing: bool = False
    allow_empty: bool = False

    def __post_init__(self) -> None:
        def check(sound: bool, option: str, found: object, expected: str) -> None:
            if not sound:
                raise ConfigError(option, found=str(found), expected=expected, remedy="Correct the option.")

        largest = int(np.iinfo(np.int32).max)
        check(2 <= self.bin_size <= largest, "--bin-size", self.bin_size, f"2 bp to {largest:,} bp")
        check(
            1 <= self.min_overlap <= self.bin_size,
            "--min-overlap",
            self.min_overlap,
            f"1 bp to the bin size, {self.bin_size} bp",
        )
        check(self.min_experiments >= 0, "--min-experiments", self.min_experiments, "0 or more")
        _ = self.splits  # has checks of its own

    @property
    def splits(self) -> SplitOptions:
        """The part of the settings that says which windows are held out."""
        return SplitOptions(self.valid_chroms, self.test_chroms, self.blocks, self.gap)


def settings_of(store: Store, noted: Mapping[str, Any]) -> BuildSettings:
    """Give the settings of the build that made a store, as far as they decide its windows.

    Parameters
    ----------
    store
        The store.
    noted
        What its provenance says of them.

    Raises
    ------
    ValueError
        If that is not what this version of mfd notes.
    """
    try:
        blocks = noted["blocks"]
        if blocks is not None:
            train, valid, test = map(float, blocks)
            blocks = (train, valid, test)
        return BuildSettings(
            genome=store.genome,
            chroms=store.chroms,
            bin_size=store.bin_size,
            min_overlap=store.min_overlap,
            min_experiments=store.min_experiments,
            valid_chroms=tuple(map(str, noted["valid_chroms"])),
            test_chroms=tuple(map(str, noted["test_chroms"])),
            blocks=blocks,
            gap=int(noted["gap"]),
        )
    except (KeyError, TypeError, ValueError, MfdError) as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class Resources:
    """What a build may take of the machine; decides nothing of the store's content.

    Parameters
    ----------
    memory
        Bytes that the build may take on one machine.
    jobs
        Tasks at a time, on this machine; 0 means one a processor.
    scheduler
        ``threads``, ``processes`` or the address of a dask scheduler.
    scratch
        Folder to build a store in that will lie elsewhere; it needs the room of the store and of what the build
        keeps beside it. If not given, one within the cache of downloads.
    """

    memory: int = 4 << 30
    jobs: int = 0
    scheduler: str = "threads"
    scratch: Path | None = None

    def __post_init__(self) -> None:
        if self.memory < LEAST_MEMORY:
            raise ConfigError(
                "--memory",
                found=f"{self.memory:,} bytes",
                expected=f"at least {LEAST_MEMORY / 1e9:.3g} GB",
                remedy="Allow more.",
            )
        if self.jobs < 0:
            raise ConfigError(
                "--jobs", found=str(self.jobs), expected="0 or more", remedy="Correct the option."
            )

    @property
    def n_jobs(self) -> int:
        """Tasks at a time on this machine: as many as its memory allows."""
        asked = self.jobs or len(os.sched_getaffinity(0))
        each = _LEAST_TASK + (_PROGRAM if self.scheduler == "processes" else 0)
        return max(1, min(asked, (self.memory - _PROGRAM) // each))

    @property
    def scratch_folder(self) -> Path:
        """Folder to build a store in that will lie elsewhere."""
        return self.scratch or cache_folder() / "building"

    @property
    def bytes_per_task(self) -> int:
        """Memory that one task of this program's threads may take beside the program itself."""
        return self.share(self.n_jobs)

    def check_bins(self, n_bins: int) -> None:
        """Refuse more bins than there is memory for: some numbers are held of each.

        Raises
        ------
        ConfigError
            If that is so.
        """
        needed = _PROGRAM + n_bins * _BYTES_PER_BIN
        if needed > self.memory:
            raise ConfigError(
                "--memory",
                found=f"{self.memory / 1e9:.3g} GB for {n_bins:,} bins",
                expected=f"at least {needed / 1e9:.3g} GB",
                remedy="Allow more, choose wider bins by --bin-size, or build fewer chromosomes.",
            )

    def share(self, n_here: int, n_programs: int = 1) -> int:
        """Share the memory of one machine between the tasks on it.

        Parameters
        ----------
        n_here, n_programs
            Tasks at a time on one machine, and the programs that do them.

        Raises
        ------
        ConfigError
            If that leaves less for a task than it needs.
        """
        share = (self.memory - n_programs * _PROGRAM) // n_here
        if share < _LEAST_TASK:
            least = n_programs * _PROGRAM + n_here * _LEAST_TASK
            raise ConfigError(
                "--memory",
                found=f"{self.memory / 1e9:.3g} GB for {n_here} tasks at a time on one machine",
                expected=f"at least {least / 1e9:.3g} GB",
                remedy="Allow more, or fewer tasks at a time: --jobs here, threads of the workers on a cluster.",
            )
        return share


@dataclass
class BuildCounts:
    """How much came in, and how much each filter took."""

    experiments: int = 0
    peaks: int = 0
    peaks_on_other_sequences: int = 0
    bins: int = 0
    bins_with_blank: int = 0
    bins_blacklisted: int = 0
    bins_below_min_experiments: int = 0
    windows: int = 0
    positive_pairs: int = 0
    windows_by_split: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BuildReport:
    """What a build made: where, its digest, its counts, and the seconds that each stage took."""

    path: Place
    digest: str
    counts: BuildCounts
    seconds: Mapping[str, float] = field(default_factory=dict)
