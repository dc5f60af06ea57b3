"""New experiments for a store: on its windows as they are, or, with the old peak files, as a build of all would be."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfdstore.build.peaks import PeakFile, check_some_here
from mfdstore.build.settings import Resources
from mfdstore.errors import ConfigError, SourceError
from mfdstore.genomes import some
from mfdstore.grow.columns import join_factors
from mfdstore.grow.content import (
    Content,
    GrowReport,
    LabelRows,
    Progress,
    close_store,
    count_splits,
    open_parent,
    write_labels,
)
from mfdstore.grow.lineage import Rule, peaks_of, provenance, rule_of
from mfdstore.grow.peaks import RunLabels, raster_files
from mfdstore.grow.rebuilt import find_old_files, keep_windows, read_same_blacklist, settings_of
from mfdstore.labels import pack_labels, unpack_labels
from mfdstore.metadata import FactorTable
from mfdstore.places.address import AnyPlace
from mfdstore.publish import published
from mfdstore.sources.encode import ExperimentTable, read_experiments
from mfdstore.sources.peak_folder import list_peak_files, match_peak_files
from mfdstore.store import Store
from mfdstore.windows import Tiling, WindowTable


@dataclass(frozen=True)
class AddedSources:
    """The files of the experiments that come to a store.

    Parameters
    ----------
    peaks
        Folder with one peak file a new experiment, named by its accession.
    metadata
        The ENCODE portal's `metadata.tsv`; rows of experiments that the store has are passed over.
    report
        Its experiment report.
    old_peaks
        Folder with the peak files of the experiments that the store has: then bins become windows that qualify now.
    blacklist
        That of the store's build, if it had one; with `old_peaks`.
    allow_missing
        Leave out rows of the metadata that have no peak file, instead of stopping.
    allow_empty
        Keep experiments without a peak on the store's chromosomes, instead of stopping.
    """

    peaks: Path
    metadata: Path
    report: Path | None = None
    old_peaks: Path | None = None
    blacklist: Path | None = None
    allow_missing: bool = False
    allow_empty: bool = False


def add_experiments(
    path: AnyPlace,
    out: Path,
    sources: AddedSources,
    on_progress: Progress = lambda what, done, total: None,
    resources: Resources | None = None,
) -> GrowReport:
    """Make a store of the experiments of another and of new ones, and publish it under `out`.

    Without `sources.old_peaks` the windows stay as they are. With it they are those of a build of all experiments, and
    so are all arrays.

    Parameters
    ----------
    path
        Of the store, which is not changed.
    out
        Name to publish the new store under.
    sources
        Files of the new experiments.
    on_progress
        Told of each stage.
    resources
        What it may take of the machine.

    Raises
    ------
    ConfigError
        If experiments are in the store already, their metadata does not fit that of the others, or with
        `old_peaks` no build gives the store's windows or the blacklist is another.
    SourceError
        If a source is not what it should be; see the readers.
    StoreError
        If the store is damaged, or `out` exists or cannot be written.
    """
    resources = resources or Resources()
    if sources.blacklist is not None and sources.old_peaks is None:
        raise ConfigError(
            "--blacklist",
            found="no --old-peaks beside it",
            expected="the old peaks too: only with them bins are chosen anew",
            remedy="Pass --old-peaks, or leave out --blacklist.",
        )
    with published(out) as folder:
        store = open_parent(path)
        table = read_experiments(sources.metadata, sources.report, store.genome)
        files, n_passed = _new_files(store, table, sources)
        rows = [table.factors.experiments.index(name) for name in files]
        new = _speaking(table.factors.take(np.array(rows)))
        factors = join_factors([(str(path), store.factors), (str(sources.metadata), new)])
        genome = store.reference
        tiling = Tiling(store.chroms, store.chrom_sizes, store.bin_size)
        rule = rule_of(store)
        old_files: Mapping[str, Path] = {}
        if sources.old_peaks is not None:
            settings = settings_of(store, rule)
            blacklist = read_same_blacklist(rule, sources.blacklist, genome)
            old_files = find_old_files(store, sources.old_peaks)
        runs, found = raster_files(
            folder,
            {**old_files, **files},
            md5={name: table.md5[name] for name in files if name in table.md5},
            genome=genome,
            tiling=tiling,
            min_overlap=store.min_overlap,
            resources=resources,
            on_progress=on_progress,
        )
        added = {name: found[name] for name in files}
        if not sources.allow_empty:
            check_some_here(sources.peaks, added, tiling.chroms)
        if sources.old_peaks is not None:
            _check_same(store, sources.old_peaks, {name: found[name] for name in old_files})
            windows = keep_windows(
                folder,
                store,
                runs,
                tiling,
                settings=settings,
                blacklist=blacklist,
                genome=genome,
                on_progress=on_progress,
            )
            labels: LabelRows = RunLabels(runs, windows, tiling).rows
        else:
            windows = store.windows
            rule = _rule_of_same_windows(rule)
            labels = _beside(store, RunLabels(runs, windows, tiling), len(files))
        content = Content(factors, windows, store.chrom_sizes, dict.fromkeys(store.chroms, store))
        writer, n_pairs = write_labels(folder, content, labels, on_progress)
        shutil.rmtree(folder / "scratch")
        counts = {
            "experiments_before": store.n_experiments,
            "experiments_added": len(files),
            "experiments_passed_over": n_passed,
            "peaks_added": sum(file.n_intervals for file in added.values()),
            "peaks_on_other_sequences": sum(file.n_intervals - file.n_here for file in added.values()),
            "windows_before": store.n_windows,
            "windows_added": len(windows) - store.n_windows,
        }
        described = provenance(
            "add",
            [store],
            asked={"experiments": list(files), "old_peaks": sources.old_peaks is not None},
            rule=rule,
            peaks={**peaks_of(store), **{name: _note(file) for name, file in added.items()}},
            counts=counts,
            added={"tables": [asdict(file) for file in table.files], "metadata_counts": dict(table.counts)},
        )
        digest = close_store(writer, store, rule.least, described, on_progress)
    return GrowReport(
        path=out,
        digest=digest,
        n_windows=len(windows),
        n_experiments=len(factors),
        positive_pairs=n_pairs,
        windows_by_split=count_splits(windows),
        min_experiments=rule.least,
        complete=rule.complete,
        counts=counts,
        notes=_notes(store, windows, sources, rule),
    )


def _new_files(store: Store, table: ExperimentTable, sources: AddedSources) -> tuple[dict[str, Path], int]:
    """Find the peak file of each new experiment, and count the rows of experiments that the store has."""
    there = set(store.experiments)
    again = [name for name in list_peak_files(sources.peaks, "--peaks") if name in there]
    if again:
        raise ConfigError(
            str(sources.peaks),
            found=f"peak files of {len(again)} experiment(s) that the store has already: {some(again)}",
            expected="new experiments only",
            remedy="Move these files to another folder; to replace experiments, leave the old ones out first by "
            "`mfdstore subset`.",
        )
    fresh = [name for name in table.factors.experiments if name not in there]
    if not fresh:
        raise SourceError(
            sources.metadata,
            found=f"only experiments that the store has already: {some(table.factors.experiments)}",
            expected="a row for each new experiment",
            remedy="Add the rows of the new experiments.",
        )
    files = match_peak_files(sources.peaks, fresh, sources.allow_missing)
    return files, len(table.factors) - len(fresh)


def _speaking(factors: FactorTable) -> FactorTable:
    """Leave out columns that hold nothing for the new experiments."""
    return FactorTable(factors.experiments, tuple(factor for factor in factors if not factor.missing.all()))


def _check_same(store: Store, folder: Path, files: Mapping[str, PeakFile]) -> None:
    noted = peaks_of(store)
    changed = [name for name, file in files.items() if file.md5 != noted[name].get("md5")]
    if changed:
        raise SourceError(
            folder,
            found=f"{len(changed)} peak file(s) that are not those of the store, by md5: {some(changed)}",
            expected="the peak files that the store was built from",
            remedy="Check the path given to --old-peaks, or leave it out, so that the windows stay as they are.",
        )


def _rule_of_same_windows(before: Rule) -> Rule:
    """Say which bins the windows are when experiments came and no bins: all that pass only if all bins were kept."""
    if before.least == 0 or not before.complete:
        return before
    why = "experiments were added without the bins that they bring over the minimum"
    return Rule(before.least, why, before.blacklist, None)


def _beside(store: Store, new: RunLabels, n_new: int) -> LabelRows:
    """Put labels of new experiments behind those of the store."""

    def rows(begin: int, end: int) -> NDArray[np.uint8]:
        old_labels = unpack_labels(store.label_bits(begin, end), store.n_experiments)
        return pack_labels(np.concatenate([old_labels, unpack_labels(new.rows(begin, end), n_new)], axis=1))

    return rows


def _note(file: PeakFile) -> dict[str, object]:
    """Note a peak file as a build does."""
    return {key: value for key, value in asdict(file).items() if key not in ("n_here", "n_runs")}


def _notes(store: Store, windows: WindowTable, sources: AddedSources, rule: Rule) -> tuple[str, ...]:
    if sources.old_peaks is None:
        if rule.complete:
            return ()
        return (
            "No windows were added. How many bins qualify only now cannot be known without the old peak files; "
            "--old-peaks adds them.",
        )
    notes = [f"{len(windows) - store.n_windows:,} windows were added to {store.n_windows:,}."]
    old, new = (table.chrom.astype(np.int64) << 32 | table.start for table in (store.windows, windows))
    n_moved = int((windows.split[np.searchsorted(new, old)] != store.windows.split).sum())
    if n_moved:
        notes.append(
            f"{n_moved:,} old windows are of another split now, for blocks are cut by number of windows: "
            "do not evaluate models that were trained on the old store on this one's splits."
        )
    return tuple(notes)
