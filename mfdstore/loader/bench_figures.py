"""What is measured of a store's windows, and what was found; see `bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from mfdstore.loader.batch import Batch
from mfdstore.loader.modes import Mode
from mfdstore.loader.stats import LoaderStats
from mfdstore.schema import DEFAULT_POSITIONS

MEASURED: Final[tuple[Mode, ...]] = ("ram", "stream", "device")


@dataclass(frozen=True)
class Consumer:
    """What uses batches as a training does.

    Parameters
    ----------
    name
        For whoever reads the figures.
    run
        Uses up the batches that it is given; how many is for the bench to say.
    batch_size, positions, max_shift
        Of the batches that it wants.
    """

    name: str
    run: Callable[[Iterable[Batch]], None]
    batch_size: int
    positions: int
    max_shift: int


@dataclass(frozen=True)
class BenchSettings:
    """What is measured, and for how long.

    Parameters
    ----------
    modes
        To be tried, of ``ram``, ``stream``, ``device``.
    asked
        Whether a user named them: a store elsewhere is read into memory only if it is asked for.
    batch_size, positions
        Of the batches whose speed is measured; strand and a shift of up to 3 bp are drawn for each window.
    threads
        Of the loader.
    seconds
        For each figure, about.
    memory
        That the loader may take, in bytes; `None` for what `modes.choose_mode` allows.
    device
        That batches end on; mode ``device`` holds the store there.
    """

    modes: tuple[Mode, ...] = MEASURED
    asked: bool = False
    batch_size: int = 1024
    positions: int = DEFAULT_POSITIONS
    threads: int = 2
    seconds: float = 5.0
    memory: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Speed:
    """How fast batches came.

    Parameters
    ----------
    windows_per_second
        Handed over, and expanded where that was measured.
    stats
        What the time went on.
    """

    windows_per_second: float
    stats: LoaderStats


@dataclass(frozen=True)
class Waiting:
    """What a consumer's steps took.

    Parameters
    ----------
    steps
        Counted.
    step, wait
        Seconds of a step's work and of the wait for its batch, on average. On a GPU each step is let end before the
        next batch is asked for: so the wait is the most that it can be.
    """

    steps: int
    step: float
    wait: float

    @property
    def share(self) -> float:
        """Share of the time that was spent waiting."""
        whole = self.step + self.wait
        return self.wait / whole if whole else 0.0


@dataclass(frozen=True)
class ModeFigures:
    """What was measured of a mode.

    Parameters
    ----------
    mode
        Of the loader.
    reason
        Why it was not measured, else empty.
    opened, first_batch
        Seconds from nothing until the store and its content were open, and until the first batch was there.
    n_bytes
        Of memory that the content takes; `None` where it is a cache, which grows up to what it may take.
    compact, expanded
        Speed of batches as they are handed over, and as numbers on the device: float32 on a processor, bfloat16 on a
        GPU.
    waiting
        Of the consumer, where there was one.
    """

    mode: Mode
    reason: str = ""
    opened: float = 0.0
    first_batch: float = 0.0
    n_bytes: int | None = None
    compact: Speed | None = None
    expanded: Speed | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True)
class BenchReport:
    """A store's figures on this machine.

    Parameters
    ----------
    path
        Of the store, or its address.
    n_windows, n_experiments
        Of the store.
    n_read
        Windows of an epoch: of the split ``train``, or of the store where there is none.
    chosen
        Mode that the loader takes by itself.
    dtype
        Of expanded batches.
    settings
        By which it was measured.
    consumer
        Name of what used batches; empty where there was none.
    modes
        What was measured of each.
    """

    path: str
    n_windows: int
    n_experiments: int
    n_read: int
    chosen: Mode
    dtype: str
    settings: BenchSettings
    consumer: str
    modes: tuple[ModeFigures, ...]
