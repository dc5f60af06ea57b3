"""Labels and filters against the peak files, by pyranges: independent of the build's loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.dinucleotides import BLANK
from mfdstore.errors import SourceError
from mfdstore.genomes import Genome
from mfdstore.overlaps import label_bins_by_join
from mfdstore.sources.bed import read_intervals
from mfdstore.sources.peak_folder import list_peak_files
from mfdstore.store import Store
from mfdstore.verify.arrays import OnProgress
from mfdstore.verify.report import Finding
from mfdstore.windows import Tiling, bins_touching

_WORTH_PROCESSES: Final = 32
"""Fewer experiments are joined before another process has started."""


def check_labels(
    store: Store, folder: Path, blacklist: Path | None, n_jobs: int, on_progress: OnProgress
) -> Iterator[Finding]:
    """Recompute labels of every tiled bin by pyranges, and which bins pass the filters.

    Raises
    ------
    SourceError
        If peak files are missing or cannot be read.
    """
    files = find_peak_files(folder, store.experiments)
    recorded = recorded_md5(store)
    changed = []
    labels = _BinLabels(store)
    join = _Join(store.reference, store.tiling, store.min_overlap)
    joined = _joined(join, [files[name] for name in store.experiments], n_jobs)
    for index, (md5, bins) in enumerate(joined):
        name = store.experiments[index]
        if md5 != recorded.get(name):
            changed.append(name)
        labels.add(index, bins)
        on_progress("experiments", index + 1, store.n_experiments)
    if _is_imported(store):
        yield Finding("peak files", None, "an imported store does not know the files of its labels")
    else:
        yield Finding(
            "peak files",
            not changed,
            f"{store.n_experiments} files, md5 as recorded"
            if not changed
            else f"not those that the store notes: {', '.join(changed[:5])}",
        )
    yield labels.compare()
    yield _check_filters(store, labels, blacklist)


def find_peak_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Find the peak files of some experiments of a store; others are of no interest.

    Raises
    ------
    SourceError
        If the folder, or a file, is not there, or an experiment has two.
    """
    files = list_peak_files(folder)
    lacking = [name for name in names if name not in files]
    if lacking:
        raise SourceError(
            folder,
            found=f"no peak file for {lacking[0]}"
            + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""),
            expected="the peak files that the store was built from",
            remedy="Check the path given to --peaks.",
        )
    return files


def recorded_md5(store: Store) -> dict[str, str]:
    """Look up the md5 of each peak file as the build noted it; of those that it did not note, nothing."""
    peaks = store.provenance.get("peaks")
    entries = peaks.items() if isinstance(peaks, dict) else ()
    return {name: entry["md5"] for name, entry in entries if isinstance(entry, dict) and "md5" in entry}


def _is_imported(store: Store) -> bool:
    """Whether the labels were taken from a release, which does not say by which peaks and blacklist they were made."""
    return "peaks" not in store.provenance and "overlaps" in store.provenance


@dataclass(frozen=True)
class _Join:
    """Joins one peak file with all bins; can be sent to another process."""

    genome: Genome
    tiling: Tiling
    min_overlap: int

    def __call__(self, path: Path) -> tuple[str, NDArray[np.int32]]:
        """Give the file's md5 and the bins that it labels, ascending."""
        intervals = read_intervals(path, self.genome, may_be_elsewhere=True)
        found = []
        for index, chrom in enumerate(self.tiling.chroms):
            if chrom in intervals.by_chrom:
                begin, end = self.tiling.span(index)
                labelled = label_bins_by_join(
                    chrom,
                    *intervals.by_chrom[chrom],
                    n_bins=end - begin,
                    bin_size=self.tiling.bin_size,
                    min_overlap=self.min_overlap,
                )
                found.append((np.flatnonzero(labelled) + begin).astype(np.int32))
        return intervals.file.md5, np.concatenate(found) if found else np.empty(0, np.int32)


def _joined(join: _Join, paths: list[Path], n_jobs: int) -> Iterator[tuple[str, NDArray[np.int32]]]:
    """Join all files, in this process or in several."""
    if n_jobs == 1 or len(paths) < _WORTH_PROCESSES:
        yield from map(join, paths)
        return
    # spawned: a forked child would inherit the threads of zarr and polars, locked
    with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as pool:
        step = 4 * n_jobs  # results wait in memory until they are used
        for begin in range(0, len(paths), step):
            yield from pool.map(join, paths[begin : begin + step])


class _BinLabels:
    """Labels of all tiled bins of a store's chromosomes, experiment by experiment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tiling = store.tiling
        self.n_labels = np.zeros(self.tiling.n_bins, np.int32)
        self.window_of_bin = np.full(self.tiling.n_bins, -1, np.int32)
        windows = store.windows
        bins = self.tiling.offsets[windows.chrom] + windows.start // store.bin_size
        self.window_of_bin[bins] = np.arange(store.n_windows, dtype=np.int32)
        self._wrong: list[str] = []
        self._n_pairs = 0

    def add(self, experiment: int, bins: NDArray[np.int32]) -> None:
        """Compare the bins that an experiment labels with its line of the store, bit by bit."""
        self.n_labels[bins] += 1
        windows = self.window_of_bin[bins]
        expected = np.zeros(self._store.n_windows, np.bool_)
        expected[windows[windows >= 0]] = True
        self._n_pairs += int(expected.sum())
        n_wrong = int((self._store.labels_of(experiment) != expected).sum())
        if n_wrong:
            self._wrong.append(f"{self._store.experiments[experiment]} ({n_wrong:,} windows)")

    def compare(self) -> Finding:
        """Sum up: labels of the store against those of pyranges."""
        if self._wrong:
            shown = ", ".join(self._wrong[:5])
            return Finding("labels from peaks", False, f"{len(self._wrong)} experiment(s) differ: {shown}")
        detail = f"{self._n_pairs:,} positive pairs recomputed by pyranges, every bit agrees"
        return Finding("labels from peaks", True, detail)


def _check_filters(store: Store, labels: _BinLabels, blacklist: Path | None) -> Finding:
    """Hold the bins that are kept against those that should be."""
    noted = store.provenance.get("blacklist")
    imported = _is_imported(store)
    if noted is None and blacklist is not None and not imported:
        return Finding(
            "filters", False, f"the store notes no blacklist, so it was not built with {blacklist}"
        )
    should = labels.n_labels >= store.min_experiments
    _leave_out_blank(store, labels, should)
    if noted is not None and blacklist is None:
        return Finding("filters", None, "pass --blacklist, which the build had")
    if blacklist is not None:
        listed = read_intervals(blacklist, store.reference, may_be_elsewhere=True)
        if not imported and (not isinstance(noted, Mapping) or listed.file.md5 != noted.get("md5")):
            return Finding(
                "filters", False, f"{blacklist} is not the blacklist of the build: its md5 differs"
            )
        for index, chrom in enumerate(store.chroms):
            if chrom in listed.by_chrom:
                begin, end = labels.tiling.span(index)
                should[begin:end] &= ~bins_touching(end - begin, store.bin_size, *listed.by_chrom[chrom])
    kept = labels.window_of_bin >= 0
    if np.array_equal(kept, should):
        return Finding(
            "filters", True, f"{int(kept.sum()):,} of {len(kept):,} bins pass, and they are the windows"
        )
    chosen = store.provenance.get("windows")
    if isinstance(chosen, Mapping) and chosen.get("complete") is False and not (kept & ~should).any():
        why = f"{int((should & ~kept).sum()):,} other bins that would were left out: {chosen.get('why')}"
        return Finding("filters", True, f"{int(kept.sum()):,} windows all pass; {why}")
    if imported and not (kept & ~should).any():
        lacking = (
            f"{int((should & ~kept).sum()):,} bins more would pass; a release does not say what it left out"
        )
        return Finding("filters", None, lacking)
    detail = f"{int((kept & ~should).sum()):,} windows should not be kept, {int((should & ~kept).sum()):,} are missing"
    return Finding("filters", False, detail)


def _leave_out_blank(store: Store, labels: _BinLabels, should: NDArray[np.bool_]) -> None:
    """Unmark the bins that hold a blank position, a stretch of the sequence at a time."""
    for index, (chrom, size) in enumerate(zip(store.chroms, store.chrom_sizes, strict=True)):
        begin, end = labels.tiling.span(index)
        for first in range(0, size, schema.CODES_PER_SHARD):
            codes = store.read(f"{schema.SEQUENCE}/{chrom}", slice(first, first + schema.CODES_PER_SHARD))
            blank = (np.flatnonzero(codes == BLANK) + first) // store.bin_size
            should[begin + blank[blank < end - begin]] = False
