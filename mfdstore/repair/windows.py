"""Repairs the coordinates of the windows: from each other and the settings, else from the peaks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.build.crew import Crew
from mfdstore.labels import count_positive
from mfdstore.provenance import describe_file
from mfdstore.repair.bench import Bench, RepairSources, check_source
from mfdstore.repair.peaks import keep_windows, raster, settings_of, splitter_of
from mfdstore.store import Store

_PLACES = (schema.CHROM, schema.START, schema.END, schema.SPLIT)


def mend_windows(bench: Bench, store: Store, sources: RepairSources, crew: Crew) -> None:
    """Repair where the windows are, and the split of each.

    Raises
    ------
    SourceError
        If a source is not the one that the store was built from.
    """
    _shift(bench, store, schema.START, schema.END, -store.bin_size)
    _shift(bench, store, schema.END, schema.START, store.bin_size)
    _number(bench, store)
    _divide(bench, store)
    if all(bench.is_whole(name) for name in _PLACES):
        return
    reason = _from_peaks(bench, store, sources, crew)
    if reason:
        for name in _PLACES:
            bench.give_up(name, reason)


def mend_counts(bench: Bench, store: Store) -> None:
    """Repair how many experiments label each window, from the labels."""
    lost = bench.faults_of(schema.N_POSITIVE)
    if not lost:
        return
    if not bench.is_whole(schema.LABEL_BITS):
        bench.give_up(schema.N_POSITIVE, "the labels are lost")
        return
    prepared, bits = bench.prepare(schema.N_POSITIVE), store.array(schema.LABEL_BITS)
    for file in lost:
        begin, end = _span(prepared, file)
        counts = np.zeros(end - begin, np.int32)
        for first in range(begin, end, schema.ROWS_PER_SHARD):
            stop = min(first + schema.ROWS_PER_SHARD, end)
            counts[first - begin : stop - begin] = count_positive(np.asarray(bits[first:stop]))
        prepared[begin:end] = counts
    bench.put_prepared(schema.N_POSITIVE, "the labels")


def _shift(bench: Bench, store: Store, lost: str, other: str, by: int) -> None:
    """Make starts from ends or the reverse, chunk by chunk."""
    for file in bench.faults_of(lost):
        if f"{other}{file.removeprefix(lost)}" in bench.faulty or f"{other}/zarr.json" in bench.faulty:
            continue
        prepared = bench.prepare(lost)
        begin, end = _span(prepared, file)
        prepared[begin:end] = np.asarray(store.array(other)[begin:end]) + np.int32(by)
        bench.put(file, (bench.folder / "store" / file).read_bytes(), f"array {other}")


def _number(bench: Bench, store: Store) -> None:
    """Number the chromosomes by where starts begin anew; the manifest tells whether that was all there is to it."""
    if not bench.faults_of(schema.CHROM) or not bench.is_whole(schema.START):
        return
    start = store.read(schema.START)
    # a chromosome that is shorter than a bin has no window
    codes = [code for code, size in enumerate(store.chrom_sizes) if size >= store.bin_size]
    cuts = np.flatnonzero(np.diff(start) <= 0) + 1
    if len(cuts) + 1 == len(codes):
        lengths = np.diff([0, *cuts, len(start)])
        bench.prepare(schema.CHROM)[...] = np.repeat(np.array(codes, np.int16), lengths)
        bench.put_prepared(schema.CHROM, "array start")


def _divide(bench: Bench, store: Store) -> None:
    """Divide the windows into splits anew, by the settings of the build."""
    settings = settings_of(store)
    known = bench.is_whole(schema.START) and bench.is_whole(schema.CHROM)
    if not bench.faults_of(schema.SPLIT) or settings is None or not known:
        return
    chrom, start = store.read(schema.CHROM), store.read(schema.START)
    split = np.zeros(len(start), np.int8)
    splitter = splitter_of(store, settings)
    for code, name in enumerate(store.chroms):
        rows = chrom == code
        split[rows] = splitter.split(name, start[rows], store.bin_size)
    bench.prepare(schema.SPLIT)[...] = split
    bench.put_prepared(schema.SPLIT, "the settings and places of the windows")


def _from_peaks(bench: Bench, store: Store, sources: RepairSources, crew: Crew) -> str | None:
    """Keep bins as the build did; says what is missing for that."""
    settings = settings_of(store)
    noted = store.provenance.get("blacklist")
    if settings is None:
        return "the store does not note the settings of its build"
    if not all(bench.is_whole(f"{schema.SEQUENCE}/{chrom}") for chrom in store.chroms):
        return "the sequence, which says what is blank, is lost too"
    if not bench.is_whole(schema.EXPERIMENT):
        return "the experiments are lost"
    if sources.peaks is None or (noted is not None and sources.blacklist is None):
        return "pass --peaks" + (" and --blacklist" if noted is not None else "")
    blacklist = sources.blacklist if noted is not None else None
    if blacklist is not None and isinstance(noted, dict):
        check_source(describe_file(blacklist).md5, noted.get("md5"), str(blacklist))
    runs = raster(bench, store, sources.peaks, range(schema.n_bytes(store.n_experiments)), crew)
    kept = keep_windows(bench, store, runs, settings, blacklist)
    if kept.n_windows != store.n_windows:
        return f"the peaks give {kept.n_windows:,} windows, not {store.n_windows:,}"

    def together(column: int) -> NDArray[np.int32]:
        return np.concatenate([rows[column] for rows in kept.rows()])

    values: dict[str, NDArray[Any]] = {
        schema.CHROM: np.repeat(np.arange(len(store.chroms), dtype=np.int16), kept.counts),
        schema.START: together(0) * np.int32(store.bin_size),
        schema.SPLIT: together(2).astype(np.int8),
    }
    values[schema.END] = values[schema.START] + np.int32(store.bin_size)
    for name in _PLACES:
        if bench.faults_of(name):
            bench.prepare(name)[...] = values[name]
            bench.put_prepared(name, "the peaks")
    return None


def _span(array: Any, file: str) -> tuple[int, int]:
    """Give first and behind of the values of a chunk of a vector."""
    begin = int(file.rsplit("/", 1)[1]) * int(array.chunks[0])
    return begin, min(begin + int(array.chunks[0]), int(array.shape[0]))
