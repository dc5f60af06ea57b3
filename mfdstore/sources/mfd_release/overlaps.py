"""The labels of the authors' release: pairs of region and experiment in HDF5, read block by block.

The pairs stand in two datasets of equal length, sorted by region: the indices of a sparse matrix. They are read once,
a block at a time, and every one is checked on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import SourceError
from mfdstore.genomes import some
from mfdstore.sources.mfd_release import layout
from mfdstore.sources.mfd_release.experiments import FAULTS, damaged, fault, read_experiments, text_of
from mfdstore.sources.mfd_release.layout import CarriedStore

_PAIRS: Final = 1 << 20
"""Pairs read at a time."""
_LABELS: Final = 1 << 26
"""Labels unpacked at a time, in bytes."""


class Overlaps:
    """An open `overlaps.h5`; made by `open_overlaps`.

    Parameters
    ----------
    path
        Of the file.
    file
        It, opened.

    Raises
    ------
    SourceError
        If a dataset or attribute is missing or of another kind.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._query = self._dataset(file, layout.QUERY)
        self._target = self._dataset(file, layout.TARGET)
        self.n_pairs: int = self._query.shape[0]
        if self._query.shape != (self.n_pairs,) or self._target.shape not in (
            (self.n_pairs,),
            (self.n_pairs, 1),
        ):
            raise fault(
                self.path,
                f"datasets query of shape {self._query.shape} and target of shape {self._target.shape}",
                "as many targets as queries, one pair each",
            )
        self.experiments = read_experiments(path, self._query, self._target)
        self.carried = self._read_carried(file)
        self._split = (
            self._dataset(file, f"{layout.CARRIED}/{layout.CARRIED_SPLIT}") if self.carried else None
        )
        self._counts = np.zeros(len(self.experiments.accessions), np.int64)
        self.n_repeated = 0
        self.n_read = 0

    def bounds(self, rows: Sequence[int], n_regions: int) -> list[int]:
        """Find where the pairs of each run of regions begin.

        Parameters
        ----------
        rows
            First row of each run, ascending, the first 0.
        n_regions
            Rows of the region file.

        Returns
        -------
        The first pair of each run, and the number of pairs behind them.

        Raises
        ------
        SourceError
            If the last pair is of a region that the file does not have.
        """
        if self.n_pairs:
            last = int(self._read(self._query, self.n_pairs - 1, self.n_pairs)[0])
            if last >= n_regions:
                raise fault(
                    self.path,
                    f"pairs up to region {last:,}, counted from 0",
                    f"at most {n_regions - 1:,}: the region file has {n_regions:,} rows",
                    "Give the region file that belongs to these overlaps.",
                )
        return [0, *(self._find(row) for row in rows[1:]), self.n_pairs]

    def label_blocks(self, first: int, last: int, begin: int, end: int) -> Iterator[NDArray[np.bool_]]:
        """Read the labels of consecutive regions.

        Parameters
        ----------
        first, last
            Rows of the regions, half-open.
        begin, end
            Their pairs, half-open, as `bounds` gives them.

        Yields
        ------
        Labels of the next regions, in order, shape ``(region, experiment)``; so many that memory is bounded.

        Raises
        ------
        SourceError
            If the file is damaged, a pair is of no region or experiment, or the pairs are not sorted by region.
        """
        n_experiments = len(self.experiments.accessions)
        step = min(schema.ROWS_PER_SHARD, max(1, _LABELS // max(1, n_experiments)))
        pairs = self._pairs(first, last, begin, end)
        rows, targets = next(pairs, (np.empty(0, np.int64), np.empty(0, np.int64)))
        for row in range(first, last, step):
            stop = min(row + step, last)
            labels = np.zeros((stop - row, n_experiments), np.bool_)
            n_pairs = 0
            while len(rows):
                n = int(np.searchsorted(rows, stop))
                labels[rows[:n] - row, targets[:n]] = True
                n_pairs += n
                rows, targets = rows[n:], targets[n:]
                if len(rows):
                    break
                rows, targets = next(pairs, (rows, targets))
            self.n_repeated += n_pairs - int(np.count_nonzero(labels))
            yield labels

    def skip(self, first: int, last: int, begin: int, end: int) -> int:
        """Check the pairs of regions that are not wanted; parameters and errors as of `label_blocks`.

        Returns
        -------
        How many there are.
        """
        return sum(len(rows) for rows, _ in self._pairs(first, last, begin, end))

    def check_counts(self) -> None:
        """Hold the pairs that were read, all of them, against the counts of the file.

        Where pairs stand there twice it cannot be known what was counted, and nothing is compared.

        Raises
        ------
        SourceError
            If an experiment has more or fewer.
        """
        stated = self.experiments.n_pairs
        if stated is None or self.n_read < self.n_pairs or self.n_repeated:
            return
        wrong = np.flatnonzero(self._counts != stated)
        if len(wrong):
            index = int(wrong[0])
            raise fault(
                self.path,
                f"{self._counts[index]:,} pairs of {self.experiments.accessions[index]}",
                f"{stated[index]:,}, as attribute {layout.N_POSITIVE!r} of {layout.TARGET!r} says",
            )

    def read_split(self, first: int, last: int) -> NDArray[np.int8]:
        """Read the splits of consecutive regions, of a file that carries a store.

        Returns
        -------
        Codes of `schema.SPLITS`, shape ``(region,)``.

        Raises
        ------
        SourceError
            If they are damaged, or not one for each region, or codes of nothing.
        """
        if self._split is None:
            raise ValueError("this file carries no store")
        codes = self._read(self._split, first, last)
        if codes.shape != (last - first,) or ((codes < 0) | (codes >= len(schema.SPLITS))).any():
            raise fault(
                self.path,
                f"splits that are not a code from 0 to {len(schema.SPLITS) - 1} for each region",
                "those of the store that was exported",
            )
        return codes.astype(np.int8)

    def _pairs(
        self, first: int, last: int, begin: int, end: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        n_experiments = len(self.experiments.accessions)
        before = first
        for at in range(begin, end, _PAIRS):
            stop = min(at + _PAIRS, end)
            rows = self._read(self._query, at, stop).astype(np.int64)
            targets = self._read(self._target, at, stop).astype(np.int64).reshape(-1)
            back = np.flatnonzero(np.diff(rows, prepend=before) < 0)
            if len(back) or rows[-1] >= last:
                pair = int(back[0]) if len(back) else int(np.searchsorted(rows, last))
                raise fault(
                    self.path,
                    f"region {rows[pair]:,} in pair {at + pair:,} of {layout.QUERY!r}, both counted from 0",
                    "pairs sorted by region, none below 0 or beyond the last",
                    "Sort the pairs by region.",
                )
            strange = np.flatnonzero((targets < 0) | (targets >= n_experiments))
            if len(strange):
                pair = int(strange[0])
                raise fault(
                    self.path,
                    f"experiment {targets[pair]:,} in pair {at + pair:,} of {layout.TARGET!r}, both counted from 0",
                    f"0 to {n_experiments - 1:,}, as there are labels",
                )
            before = int(rows[-1])
            self._counts += np.bincount(targets, minlength=n_experiments)
            self.n_read += len(rows)
            yield rows, targets

    def _find(self, row: int) -> int:
        """Find the first pair of this region or a later one, as far as the pairs are sorted."""
        low, high = 0, self.n_pairs
        while high - low > layout.PAIRS_PER_CHUNK:
            middle = (low + high) // 2
            if int(self._read(self._query, middle, middle + 1)[0]) < row:
                low = middle + 1
            else:
                high = middle
        return low + int(np.searchsorted(self._read(self._query, low, high), row))

    def _read(self, dataset: h5py.Dataset, begin: int, end: int) -> NDArray[Any]:
        try:
            return np.asarray(dataset[begin:end])
        except FAULTS as error:
            raise damaged(self.path, error) from error

    def _dataset(self, file: h5py.File, name: str) -> h5py.Dataset:
        try:
            node = file.get(name)
        except FAULTS as error:
            raise damaged(self.path, error) from error
        if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "iu" or node.ndim not in (1, 2):
            found = f"datasets {some(map(repr, file))}" if node is None else f"{name!r} of another kind"
            raise fault(self.path, found, f"a dataset {name!r} of whole numbers")
        return node

    def _read_carried(self, file: h5py.File) -> CarriedStore | None:
        name = f"{layout.CARRIED}/{layout.CARRIED_STORE}"
        if layout.CARRIED not in file:
            return None
        try:
            return CarriedStore.from_json(text_of(file[name][()]))
        except FAULTS as error:
            raise fault(
                self.path, f"{name!r} that cannot be read ({error})", "what mfdstore export wrote"
            ) from error


@contextmanager
def open_overlaps(path: Path) -> Iterator[Overlaps]:
    """Open the release's pairs for reading.

    Raises
    ------
    SourceError
        If the file is missing, no HDF5, truncated, or not laid out as the release is.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise SourceError(
            path,
            found=f"no readable file ({error.strerror})",
            expected="the release's overlaps.h5",
            remedy="Check the path given to --overlaps.",
        ) from error
    try:
        file = h5py.File(path, "r")
    except FAULTS as error:
        raise damaged(path, error) from error
    with file:
        yield Overlaps(path, file)
