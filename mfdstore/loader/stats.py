"""What a loader has done, and what the time went on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

Work = Literal["read", "decode", "gather"]
_LEAST_SECONDS: Final = 10.0
"""Shorter is no evidence that storage is slow: the first pool has to be waited for anyway."""
_SLOW: Final = 0.5


@dataclass(frozen=True)
class LoaderStats:
    """Sums since a loader was made.

    Parameters
    ----------
    batches, windows
        Handed over.
    seconds
        That iterators were open.
    wait
        Seconds that the consumer waited for a batch; the rest of `seconds` it worked.
    read, decode, gather
        Seconds spent by threads on bytes from storage, on decompressing and checking them, and on cutting windows.
        Threads work side by side, so the sum may exceed `seconds`.
    n_bytes
        Read from storage, compressed.
    """

    batches: int = 0
    windows: int = 0
    seconds: float = 0.0
    wait: float = 0.0
    read: float = 0.0
    decode: float = 0.0
    gather: float = 0.0
    n_bytes: int = 0

    @property
    def waiting_share(self) -> float:
        """Share of the time that the consumer waited."""
        return self.wait / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """Say it in one line."""
        rate = self.windows / self.seconds if self.seconds else 0.0
        return (
            f"{self.windows:,} windows in {self.seconds:.1f} s ({rate:,.0f} a second); waited for "
            f"{self.wait:.1f} s ({self.waiting_share:.0%}); threads: read {self.read:.1f} s "
            f"({self.n_bytes / 1e6:,.0f} MB), decode {self.decode:.1f} s, gather {self.gather:.1f} s"
        )


class Meter:
    """Collects the numbers of one loader, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = self._windows = self._n_bytes = 0
        self._seconds = self._wait = 0.0
        self._work: dict[Work, float] = {"read": 0.0, "decode": 0.0, "gather": 0.0}
        self._warned = False

    def sums(self) -> LoaderStats:
        """Give the sums so far."""
        with self._lock:
            return LoaderStats(
                batches=self._batches,
                windows=self._windows,
                seconds=self._seconds,
                wait=self._wait,
                n_bytes=self._n_bytes,
                **self._work,
            )

    def add_work(self, work: Work, seconds: float, n_bytes: int = 0) -> None:
        """Count what a thread did."""
        with self._lock:
            self._work[work] += seconds
            self._n_bytes += n_bytes

    def add_batch(self, windows: int, *, wait: float, seconds: float) -> None:
        """Count a batch that was handed over, and the time since the one before it."""
        with self._lock:
            self._batches += 1
            self._windows += windows
            self._wait += wait
            self._seconds += seconds

    @contextmanager
    def timing(self, work: Work) -> Iterator[None]:
        """Count the time of a block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add_work(work, time.perf_counter() - started)

    def storage_is_slow(self) -> bool:
        """Say once, of a loader that reads while it is used, that its consumer waits most of the time for storage."""
        if self._warned or self._seconds < _LEAST_SECONDS or self._wait < _SLOW * self._seconds:
            return False
        self._warned = self._work["read"] > self._work["decode"] + self._work["gather"]
        return self._warned
