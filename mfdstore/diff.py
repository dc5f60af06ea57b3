"""What differs between two stores: settings, sources, experiments, windows, splits, factors, labels, sequence.

Both are read as they say they are: `verify` tells whether a store holds what its digests say. What the digests say to
be equal is not read; what is read is read in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.differences import Change, FactorChange, LabelChange, StoreDiff
from mfdstore.metadata import Factor
from mfdstore.store import Store

OnProgress = Callable[[str, int, int], None]
_SETTINGS: Final = ("genome", "bin_size", "min_overlap", "min_experiments")


def diff_stores(a: Store, b: Store, on_progress: OnProgress = lambda stage, done, total: None) -> StoreDiff:
    """Compare two stores.

    Parameters
    ----------
    a, b
        The stores.
    on_progress
        Told of the stages labels and sequence.

    Raises
    ------
    StoreError
        If an array that must be read is damaged.
    """
    shared = [name for name in a.experiments if name in set(b.experiments)]
    there = set(shared)
    comparable = a.bin_size == b.bin_size
    rows = _match_windows(a, b) if comparable else None
    only_a, only_b = (_count_others(a, rows, 0), _count_others(b, rows, 1))
    return StoreDiff(
        settings=_diff_settings(a, b),
        sources=_diff_sources(a, b, shared),
        only_a=tuple(name for name in a.experiments if name not in there),
        only_b=tuple(name for name in b.experiments if name not in there),
        experiments_reordered=shared != [name for name in b.experiments if name in there],
        n_shared_windows=0 if rows is None else len(rows[0]),
        windows_only_a=only_a,
        windows_only_b=only_b,
        splits={} if rows is None else _diff_splits(a, b, rows),
        factors=_diff_factors(a, b),
        factors_reordered=_shared_names(a, b) != _shared_names(b, a),
        values=_diff_values(a, b, shared),
        labels=() if rows is None else _diff_labels(a, b, shared, rows, on_progress),
        labels_compared=comparable,
        sequence=_diff_sequence(a, b, on_progress),
        same_digest=a.digest == b.digest,
    )


Rows = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Shared windows: their rows in A and in B."""


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(Change(name, a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name))


def _diff_settings(a: Store, b: Store) -> tuple[Change, ...]:
    def settings(store: Store) -> dict[str, Any]:
        noted = store.provenance.get("settings")
        found = dict(noted) if isinstance(noted, dict) else {}
        found |= {name: store.attributes[name] for name in _SETTINGS}
        found["chromosomes"] = list(store.chroms)
        sizes = dict(zip(store.chroms, store.chrom_sizes, strict=True))
        return found | {f"size of {chrom}": size for chrom, size in sizes.items()}

    both = set(a.chroms) & set(b.chroms)
    return tuple(
        change
        for change in _changes(settings(a), settings(b))
        # a chromosome of one store only is told once
        if not change.what.startswith("size of ") or change.what.removeprefix("size of ") in both
    )


def _diff_sources(a: Store, b: Store, shared: list[str]) -> tuple[Change, ...]:
    def sources(store: Store) -> dict[str, Any]:
        noted = store.provenance
        peaks = noted.get("peaks")
        found = {name: _md5(noted.get(name)) for name in ("fasta", "blacklist")}
        tables = noted.get("tables")
        for index, table in enumerate(tables if isinstance(tables, list) else ()):
            found[f"table {index + 1}"] = _md5(table)
        peaks = peaks if isinstance(peaks, dict) else {}
        return found | {f"peaks of {name}": _md5(peaks.get(name)) for name in shared}

    return _changes(sources(a), sources(b))


def _md5(noted: Any) -> str | None:
    return str(noted["md5"]) if isinstance(noted, dict) and "md5" in noted else None


def _keys(store: Store, chroms: Mapping[str, int]) -> NDArray[np.int64]:
    """Number every window by chromosome and start, alike for both stores."""
    windows = store.windows
    codes = np.array([chroms[chrom] for chrom in store.chroms], np.int64)
    return codes[windows.chrom] << 32 | windows.start


def _match_windows(a: Store, b: Store) -> Rows:
    windows = (schema.CHROM, schema.START)
    if a.chroms == b.chroms and all(
        a.array_digests.get(name) == b.array_digests.get(name) for name in windows
    ):
        same = np.arange(a.n_windows)
        return same, same
    chroms = {
        chrom: code for code, chrom in enumerate({**dict.fromkeys(a.chroms), **dict.fromkeys(b.chroms)})
    }
    _, rows_a, rows_b = np.intersect1d(
        _keys(a, chroms), _keys(b, chroms), assume_unique=True, return_indices=True
    )
    return rows_a, rows_b


def _count_others(store: Store, rows: Rows | None, which: int) -> dict[str, int]:
    """Count the windows by chromosome that the other store does not have."""
    others = np.ones(store.n_windows, np.bool_)
    if rows is not None:
        others[rows[which]] = False
    counts = np.bincount(store.windows.chrom[others], minlength=len(store.chroms))
    return {chrom: int(count) for chrom, count in zip(store.chroms, counts, strict=True) if count}


def _diff_splits(a: Store, b: Store, rows: Rows) -> dict[str, int]:
    n = len(schema.SPLITS)
    pairs = a.windows.split[rows[0]].astype(np.int64) * n + b.windows.split[rows[1]]
    counts = np.bincount(pairs, minlength=n * n).reshape(n, n)
    return {
        f"{schema.SPLITS[first]} to {schema.SPLITS[second]}": int(counts[first, second])
        for first in range(n)
        for second in range(n)
        if first != second and counts[first, second]
    }


def _diff_factors(a: Store, b: Store) -> tuple[Change, ...]:
    def described(store: Store) -> dict[str, Any]:
        return {
            factor.name: {"kind": factor.kind, "role": factor.role, "unit": factor.unit}
            for factor in store.factors
        }

    return _changes(described(a), described(b))


def _shared_names(store: Store, other: Store) -> list[str]:
    """List the factors that another store has too, in this one's order."""
    return [name for name in store.factors.names if name in other.factors]


def _diff_values(a: Store, b: Store, shared: list[str]) -> tuple[FactorChange, ...]:
    rows = [np.array([store.experiments.index(name) for name in shared], np.int64) for store in (a, b)]
    found = []
    for factor in a.factors:
        if factor.name not in b.factors:
            continue
        values = [
            _plain(one.take(row)) for one, row in zip((factor, b.factors[factor.name]), rows, strict=True)
        ]
        found += [
            FactorChange(name, factor.name, first, second)
            for name, first, second in zip(shared, *values, strict=True)
            if first != second
        ]
    return tuple(found)


def _plain(factor: Factor) -> list[Any]:
    """Give values as JSON has them, `None` where they are missing."""
    return [
        None
        if missing
        else list(value)
        if isinstance(value, tuple)
        else str(value)
        if factor.kind == "date"
        else float(value)
        if factor.kind == "number"
        else value
        for value, missing in zip(factor.values, factor.missing, strict=True)
    ]


def _diff_labels(
    a: Store, b: Store, shared: list[str], rows: Rows, on_progress: OnProgress
) -> tuple[LabelChange, ...]:
    """Compare the lines of shared experiments, a shard of either store in memory at a time."""
    same_windows = len(rows[0]) == a.n_windows == b.n_windows
    name = schema.LABEL_BITS_BY_EXPERIMENT
    if same_windows and a.experiments == b.experiments and a.array_digests[name] == b.array_digests[name]:
        return ()
    lines_a, lines_b = _Lines(a), _Lines(b)
    found = []
    for done, experiment in enumerate(shared, start=1):
        first, second = lines_a.of(experiment), lines_b.of(experiment)
        if same_windows:
            only_a = int(np.bitwise_count(first & ~second).sum(dtype=np.int64))
            only_b = int(np.bitwise_count(second & ~first).sum(dtype=np.int64))
        else:
            here, there = (
                np.unpackbits(line, count=store.n_windows)[row].view(np.bool_)
                for line, store, row in zip((first, second), (a, b), rows, strict=True)
            )
            only_a, only_b = int((here & ~there).sum()), int((there & ~here).sum())
        if only_a or only_b:
            found.append(LabelChange(experiment, only_a, only_b))
        on_progress("labels", done, len(shared))
    return tuple(found)


class _Lines:
    """Packed labels of experiments, read by the shard that holds several of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index = {name: index for index, name in enumerate(store.experiments)}
        self._shard = -1
        self._lines = np.empty((0, 0), np.uint8)

    def of(self, experiment: str) -> NDArray[np.uint8]:
        """Give one experiment's labels over all windows, shape ``(window_byte,)``."""
        shard, line = divmod(self._index[experiment], schema.EXPERIMENTS_PER_SHARD)
        if shard != self._shard:
            begin = shard * schema.EXPERIMENTS_PER_SHARD
            span = slice(begin, begin + schema.EXPERIMENTS_PER_SHARD)
            self._lines = self._store.read(schema.LABEL_BITS_BY_EXPERIMENT, span)
            self._shard = shard
        packed: NDArray[np.uint8] = self._lines[line]
        return packed


def _diff_sequence(a: Store, b: Store, on_progress: OnProgress) -> dict[str, int]:
    found = {}
    shared = [chrom for chrom in a.chroms if chrom in b.chroms]
    for done, chrom in enumerate(shared, start=1):
        name = f"{schema.SEQUENCE}/{chrom}"
        if a.array_digests.get(name) != b.array_digests.get(name):
            size, other = (store.chrom_sizes[store.chroms.index(chrom)] for store in (a, b))
            n_wrong = -1
            if size == other:
                n_wrong = 0
                for begin in range(0, size, schema.CODES_PER_SHARD):
                    span = slice(begin, begin + schema.CODES_PER_SHARD)
                    n_wrong += int((a.read(name, span) != b.read(name, span)).sum())
            if n_wrong:
                found[chrom] = n_wrong
        on_progress("sequence", done, len(shared))
    return found
