"""Which bins are windows when experiments come to a store: those that a build of all of them would keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mfdstore import schema
from mfdstore.build.bins import Chromosome, keep_bins
from mfdstore.build.once import save_array
from mfdstore.build.peaks import Runs
from mfdstore.build.sequence import stretches
from mfdstore.build.settings import BuildSettings
from mfdstore.build.settings import settings_of as build_settings_of
from mfdstore.dinucleotides import find_blank
from mfdstore.errors import ConfigError, SourceError, StoreError
from mfdstore.genomes import Genome, some
from mfdstore.grow.content import Progress
from mfdstore.grow.lineage import Rule, peaks_of
from mfdstore.sources.bed import Intervals, read_intervals
from mfdstore.sources.peak_folder import list_peak_files
from mfdstore.splitting import Splitter
from mfdstore.store import Store
from mfdstore.windows import Tiling, WindowTable


def settings_of(store: Store, rule: Rule) -> BuildSettings:
    """Read the settings of the build that gives a store's windows.

    Raises
    ------
    ConfigError
        If there is no such build.
    StoreError
        If what the store notes of them cannot be read.
    """
    if rule.settings is None:
        raise ConfigError(
            "--old-peaks",
            found=f"a store whose windows no build gives: {rule.why or 'it does not note the settings of its build'}",
            expected="a store as `mfdstore build` makes it",
            remedy="Leave out --old-peaks, so that the windows stay as they are; or build anew from all sources.",
        )
    try:
        return build_settings_of(store, rule.settings)
    except ValueError as error:
        raise StoreError(
            store.path,
            found=f"settings in its provenance that cannot be read ({error})",
            expected="those of a build by this version of mfd",
            remedy="Leave out --old-peaks, so that the windows stay as they are; or build anew from all sources.",
        ) from error


def find_old_files(store: Store, folder: Path) -> dict[str, Path]:
    """Find the peak files of a store's own experiments.

    Raises
    ------
    SourceError
        If one is lacking.
    StoreError
        If the store does not note the digest of each, so that none can be told to be the right one.
    """
    noted = peaks_of(store)
    nameless = [name for name in store.experiments if not noted.get(name, {}).get("md5")]
    if nameless:
        raise StoreError(
            store.path,
            found=f"no md5 of the peak files of {len(nameless)} experiments: {some(nameless)}",
            expected="the digest of each, to hold --old-peaks against",
            remedy="Leave out --old-peaks, so that the windows stay as they are; or build anew from all sources.",
        )
    found = list_peak_files(folder, "--old-peaks")
    lacking = [name for name in store.experiments if name not in found]
    if lacking:
        raise SourceError(
            folder,
            found=f"no peak file for {len(lacking)} experiment(s) of the store: {some(lacking)}",
            expected="the peak files that the store was built from",
            remedy="Check the path given to --old-peaks, or leave it out, so that the windows stay as they are.",
        )
    return {name: found[name] for name in store.experiments}


def read_same_blacklist(rule: Rule, path: Path | None, genome: Genome) -> Intervals | None:
    """Read the blacklist of the store's build again.

    Raises
    ------
    ConfigError
        If the build had one and none is given, or the other way about, or another is given.
    SourceError
        If it cannot be read.
    """
    if rule.blacklist is None and path is None:
        return None
    if rule.blacklist is None or path is None:
        raise ConfigError(
            "--blacklist",
            found="no blacklist" if path is None else str(path),
            expected="none, for the store was built without one"
            if rule.blacklist is None
            else f"{rule.blacklist.get('name')}, with which the store was built",
            remedy="Leave it out." if path is not None else "Pass the same file.",
        )
    listed = read_intervals(path, genome, may_be_elsewhere=True)
    if listed.file.md5 != rule.blacklist.get("md5"):
        raise ConfigError(
            "--blacklist",
            found=f"{path} of md5 {listed.file.md5}",
            expected=f"{rule.blacklist.get('name')} of md5 {rule.blacklist.get('md5')}, with which the store was built",
            remedy="Pass the same file.",
        )
    return listed


def keep_windows(
    folder: Path,
    store: Store,
    runs: Runs,
    tiling: Tiling,
    *,
    settings: BuildSettings,
    blacklist: Intervals | None,
    genome: Genome,
    on_progress: Progress,
) -> WindowTable:
    """Count and filter the bins of all chromosomes as a build does, with what is blank taken from the store.

    Parameters
    ----------
    folder
        Where the runs are.
    store
        Gives the sequence.
    runs
        Of all experiments, old and new.
    tiling
        Of the store's chromosomes.
    settings, blacklist
        Of the build.
    genome
        Names of the chromosomes.
    on_progress
        Told of the chromosomes.

    Raises
    ------
    StoreError
        If the store has windows that are none now: then it is not what its peak files give.
    """
    splitter = Splitter(settings.splits.within(genome), genome)
    parts = []
    for index, (chrom, size) in enumerate(zip(tiling.chroms, tiling.sizes, strict=True)):
        for stretch in stretches(chrom, "", size):
            codes = store.read(f"{schema.SEQUENCE}/{chrom}", slice(stretch.start, stretch.stop))
            save_array(folder / stretch.blank_file, find_blank(codes) + stretch.start)
        listed = blacklist.by_chrom.get(chrom) if blacklist is not None else None
        chromosome = Chromosome(
            chrom,
            size,
            *tiling.span(index),
            listed=np.stack(listed) if listed is not None else np.empty((2, 0), np.int64),
        )
        keep_bins(folder, runs, chromosome, settings, splitter)
        parts.append(np.load(folder / chromosome.rows_file))
        on_progress("bins", index + 1, len(tiling.chroms))
    windows = WindowTable(
        tiling.chroms,
        np.repeat(np.arange(len(parts), dtype=np.int16), [part.shape[1] for part in parts]),
        np.concatenate([part[0] for part in parts]) * np.int32(tiling.bin_size),
        np.concatenate([part[2] for part in parts]).astype(np.int8),
        tiling.bin_size,
    )
    old, new = (table.chrom.astype(np.int64) << 32 | table.start for table in (store.windows, windows))
    lost = np.flatnonzero(~np.isin(old, new, assume_unique=True))
    if len(lost):
        first = f"{store.chroms[store.windows.chrom[lost[0]]]}:{store.windows.start[lost[0]]:,}"
        raise StoreError(
            store.path,
            found=f"{len(lost):,} windows that its own peak files and filters do not give, such as {first}",
            expected="a store as `mfdstore build` makes it",
            remedy="`mfdstore verify --peaks` says more; leave out --old-peaks to keep its windows as they are.",
        )
    return windows
