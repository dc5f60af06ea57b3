"""Kinds of sampling: each window once, by weight, with negatives.

A sampling is a pure function of (seed, epoch), so that what it chooses can be dealt, resumed and read block by block
as any epoch. Where windows come more than once in an epoch, each reading has a strand and a shift of its own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader.options import check_numbers
from mfdstore.sampler.draws import CHOICE, draw, key_of
from mfdstore.sampler.order import tickets_of

if TYPE_CHECKING:
    from mfdstore.store import Store


class Sampling(Protocol):
    """Chooses the windows of each epoch; every epoch has equally many."""

    @property
    def name(self) -> str:
        """What it is, and a digest of what it chooses from."""
        ...

    @property
    def digest(self) -> str:
        """Of the content of the store whose windows it chooses."""
        ...

    @property
    def n_windows(self) -> int:
        """Windows of an epoch, each counted as often as it comes."""
        ...

    def tickets(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Give the tickets of an epoch (`sampler.draws`), shape ``(window,)``."""
        ...


class Tickets:
    """Readings that somebody else has numbered, the same in each epoch.

    Parameters
    ----------
    store
        That the windows are of.
    tickets
        Shape ``(window,)``.
    """

    name = "as numbered"

    def __init__(self, store: Store, tickets: NDArray[np.int64]) -> None:
        self.digest = store.digest
        self.n_windows = len(tickets)
        self._tickets = tickets

    def tickets(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Give the tickets, the same for all epochs."""
        return self._tickets


class EachOnce(Tickets):
    """The same windows in each epoch, in the order given, each as often as it is given.

    Parameters
    ----------
    store
        That the windows are of.
    rows
        Shape ``(window,)``.
    """

    def __init__(self, store: Store, rows: NDArray[np.int64]) -> None:
        super().__init__(store, tickets_of(rows, store.n_windows))
        self.name = f"each once, {_digest(rows)}"


class ByWeight:
    """Windows as often as their weight says, others in each epoch.

    A window of weight w comes floor or ceil of ``n_windows * w / sum(w)`` times an epoch (systematic sampling): which
    of the two is drawn anew each epoch. With equal weights, and as many windows as there are, each comes once.

    Parameters
    ----------
    store
        That the windows are of.
    rows
        To choose from, shape ``(window,)``.
    weights
        Not negative, shape ``(window,)``.
    n_windows
        Of an epoch; as many as `rows` where it is not said.

    Raises
    ------
    ConfigError
        If a weight is negative or no number, or all are 0.
    """

    def __init__(
        self,
        store: Store,
        rows: NDArray[np.int64],
        weights: NDArray[np.float64],
        n_windows: int | None = None,
    ) -> None:
        wrong = ~((weights >= 0) & np.isfinite(weights))
        if weights.shape != rows.shape or wrong.any():
            raise ConfigError(
                "weights",
                found=f"{weights.size:,} of which {int(wrong.sum())} are negative, infinite or no number",
                expected=f"{len(rows):,} numbers from 0 on, one for each window",
                remedy="Give such weights.",
            )
        if n_windows is not None:
            check_numbers(("n_windows", n_windows, 1))
        self.digest = store.digest
        turn = np.argsort(rows, kind="stable")
        self._rows = rows[turn]
        # as shares of the largest: sums of huge weights would be infinite
        total = np.cumsum(
            weights[turn] / max(weights.max(initial=0), np.finfo(np.float64).tiny), dtype=np.float64
        )
        if not len(total) or not total[-1] > 0:
            raise ConfigError(
                "weights",
                found="no weight above 0",
                expected="at least one",
                remedy="Choose other windows or weights.",
            )
        self._upto = total / total[-1]
        self._n_rows = store.n_windows
        self.n_windows = len(rows) if n_windows is None else n_windows
        self.name = f"by weight, {_digest(self._rows, self._upto)}, {self.n_windows}"

    def tickets(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Choose the windows of an epoch, sorted by row."""
        begin = draw(key_of(seed, epoch, CHOICE), np.zeros(1, np.int64))[0] / 2.0**64
        steps = (np.arange(self.n_windows) + begin) / max(1, self.n_windows)
        chosen = np.minimum(np.searchsorted(self._upto, steps, side="right"), len(self._rows) - 1)
        return tickets_of(self._rows[chosen], self._n_rows)


class WithNegatives:
    """All windows that hold a label of some experiments, and so many that hold none of them, others in each epoch.

    Parameters
    ----------
    store
        That the windows are of.
    positive, negative
        Rows of the windows, shape ``(window,)``.
    ratio
        Negatives for each positive; all where there are fewer.
    """

    def __init__(
        self, store: Store, positive: NDArray[np.int64], negative: NDArray[np.int64], ratio: float
    ) -> None:
        if not 0 <= ratio < float("inf"):
            raise ConfigError("ratio", found=str(ratio), expected="a number from 0 on", remedy="Give one.")
        self.digest = store.digest
        self._positive, self._negative = positive, negative
        wanted = ratio * len(positive)
        self._n_negative = len(negative) if wanted >= len(negative) else round(wanted)
        self.n_windows = len(positive) + self._n_negative
        self.name = f"with negatives, {_digest(positive, negative)}, {self._n_negative}"
        if not self.n_windows:
            raise StoreError(
                store.path,
                found="no window that holds a label of the experiments",
                expected="at least one",
                remedy="Choose other experiments or another split.",
            )

    def tickets(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Choose the negatives of an epoch, and give all windows sorted by row."""
        drawn = draw(key_of(seed, epoch, CHOICE), np.arange(len(self._negative)))
        chosen = self._negative[np.argsort(drawn)[: self._n_negative]]
        return np.sort(np.concatenate([self._positive, chosen]))


def _digest(*arrays: NDArray[np.generic]) -> str:
    """Tell what is chosen from, in few letters."""
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
