"""Which windows and experiments of a store are wanted, and their labels block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.genomes import some
from mfdstore.labels import unpack_labels
from mfdstore.metadata import FactorTable
from mfdstore.selecting import select_experiments
from mfdstore.store import Store
from mfdstore.windows import check_split

_LABELS: Final = 1 << 26
"""Labels unpacked at a time, in bytes."""
EVERY: Final = "all"
"""In place of accessions: every experiment."""


@dataclass(frozen=True)
class Choice:
    """What of a store is wanted; what is empty chooses everything.

    Parameters
    ----------
    splits
        Names of splits.
    chroms
        Chromosomes, by any of their names.
    experiments
        Accessions, or ``all`` alone.
    where
        Pairs of factor and value: an experiment must have one of the values of each factor that is named.
    """

    splits: tuple[str, ...] = ()
    chroms: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()

    @property
    def names_experiments(self) -> bool:
        """Whether experiments are chosen at all."""
        return bool(self.experiments or self.where)


class Chosen:
    """The part of a store that was chosen.

    Parameters
    ----------
    store
        To choose from.
    choice
        What is wanted.

    Raises
    ------
    ConfigError
        If a name or value is none of the store's, or nothing is left.
    StoreError
        If the store is damaged.
    """

    def __init__(self, store: Store, choice: Choice) -> None:
        self.store = store
        for split in choice.splits:
            check_split(split)
        genome = store.reference
        self.chroms = genome.restrict(choice.chroms) if choice.chroms else store.chroms
        """Names of the chromosomes, in the store's order."""
        self.experiments = _choose_experiments(store, choice)
        """Indices into the store's experiments, ascending, shape ``(experiment,)``."""
        self.has_all_experiments = len(self.experiments) == store.n_experiments
        self.factors: FactorTable = store.factors.take(self.experiments)
        windows = store.windows
        self._keep = np.isin(windows.chrom, [store.chroms.index(chrom) for chrom in self.chroms])
        if choice.splits:
            codes = [schema.SPLITS.index(split) for split in schema.SPLITS if split in choice.splits]
            self._keep &= np.isin(windows.split, codes)
        self.n_windows = int(self._keep.sum())
        if not self.n_windows:
            raise ConfigError(
                "--split and --chroms",
                found=f"no window of {some(choice.splits or schema.SPLITS)} on {some(self.chroms)}",
                expected="at least one window",
                remedy="Choose others; `mfdstore info` counts windows by split.",
            )

    def rows(self, chrom: str) -> NDArray[np.int64]:
        """List the chosen windows of one chromosome, as rows of the store, ascending, shape ``(window,)``."""
        begin, end = self._span(chrom)
        return begin + np.flatnonzero(self._keep[begin:end])

    def blocks(self, chrom: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Read the labels of one chromosome's chosen windows.

        Yields
        ------
        Rows of the store, shape ``(window,)``, and labels of the chosen experiments, shape ``(window, experiment)``;
        so many that memory is bounded.
        """
        begin, end = self._span(chrom)
        step = min(schema.ROWS_PER_SHARD, max(1, _LABELS // max(1, self.store.n_experiments)))
        # along the store's shards, so that none is read twice
        for first in range(begin - begin % step, end, step):
            low, high = max(first, begin), min(first + step, end)
            kept = np.flatnonzero(self._keep[low:high])
            if len(kept):
                bits = self.store.label_bits(low, high)[kept]
                labels = unpack_labels(bits, self.store.n_experiments)
                yield low + kept, labels if self.has_all_experiments else labels[:, self.experiments]

    def count_pairs(self) -> int:
        """Count the pairs of chosen window and experiment that are positive."""
        if self.has_all_experiments:
            return int(self.store.n_positive[self._keep].sum())
        return sum(int(self.store.labels_of(int(index))[self._keep].sum()) for index in self.experiments)

    def positives(self, experiment: int) -> NDArray[np.int64]:
        """List the chosen windows that an experiment labels, as rows of the store, shape ``(window,)``.

        Parameters
        ----------
        experiment
            Index into the store's experiments.
        """
        return np.flatnonzero(self.store.labels_of(experiment) & self._keep)

    def _span(self, chrom: str) -> tuple[int, int]:
        code = self.store.chroms.index(chrom)
        begin, end = np.searchsorted(self.store.windows.chrom, [code, code + 1])
        return int(begin), int(end)


def _choose_experiments(store: Store, choice: Choice) -> NDArray[np.int64]:
    every = choice.experiments == (EVERY,)
    return select_experiments(store, choice.where, () if every else choice.experiments)
