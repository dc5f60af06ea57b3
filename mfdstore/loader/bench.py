"""A user's own figures: how soon and how fast a store's windows come, by mode, and whether a training waits for them.

All is timed in the process that asks, with the programs imported: what the imports take is not counted.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import fields, replace
from typing import Final

import torch
from torch import Tensor

from mfdstore.errors import ConfigError
from mfdstore.loader.batch import Batch
from mfdstore.loader.bench_figures import (
    MEASURED,
    BenchReport,
    BenchSettings,
    Consumer,
    ModeFigures,
    Speed,
    Waiting,
)
from mfdstore.loader.content import DEFAULT_FLANK, Content, reach
from mfdstore.loader.loader import DEFAULT_POOL, Loader
from mfdstore.loader.memory import available_memory
from mfdstore.loader.modes import Mode, choose_mode, open_content
from mfdstore.loader.ram import RamLayout
from mfdstore.loader.stats import LoaderStats
from mfdstore.places.address import Address, AnyPlace
from mfdstore.schema import Split
from mfdstore.store import Store

_MAX_SHIFT: Final = 3
_UNCOUNTED_STEPS: Final = 2
"""A first step allocates what later ones use again, and a trainer may ask for a batch before it needs it."""

OnProgress = Callable[[str, int, int], None]


def measure_store(
    path: AnyPlace,
    settings: BenchSettings,
    *,
    consumer: Consumer | None = None,
    on_progress: OnProgress | None = None,
) -> BenchReport:
    """Measure how a store's windows come on this machine.

    Parameters
    ----------
    path
        Of the store, or its address.
    settings
        What is measured.
    consumer
        Whose waiting is measured as well.
    on_progress
        Told what is measured, and how many of how many figures are there; and of bytes that are read into memory.

    Raises
    ------
    ConfigError
        If a number is out of range.
    StoreError
        If there is no store, or it is damaged.
    RemoteError
        If it cannot be had.
    """
    _check(settings)
    store = Store(path)
    flank = _flank(settings, consumer)
    chosen = choose_mode(store, memory=settings.memory, device=settings.device, flank=flank)
    reasons = {mode: _why_not(store, mode, settings, flank) for mode in settings.modes}
    n_read, n_windows, n_experiments = len(_read_rows(store)[1]), store.n_windows, store.n_experiments
    settings = replace(settings, batch_size=min(settings.batch_size, max(1, n_read)))
    del store  # each mode opens it anew, as a training does
    figures = []
    total = len(settings.modes)
    for done, mode in enumerate(settings.modes):
        if on_progress is not None:
            on_progress("modes", done, total)
        if reasons[mode]:
            figures.append(ModeFigures(mode, reasons[mode]))
        else:
            is_first = all(other.reason for other in figures)
            figures.append(_measure_mode(path, mode, settings, consumer, on_progress, is_first=is_first))
        gc.collect()  # the next mode needs the memory
    if on_progress is not None:
        on_progress("modes", total, total)
    return BenchReport(
        str(path),
        n_windows,
        n_experiments,
        n_read,
        chosen,
        str(_dtype(settings)).removeprefix("torch."),
        settings,
        "" if consumer is None else consumer.name,
        tuple(figures),
    )


def _measure_mode(
    path: AnyPlace,
    mode: Mode,
    settings: BenchSettings,
    consumer: Consumer | None,
    on_progress: OnProgress | None,
    *,
    is_first: bool,
) -> ModeFigures:
    started = time.perf_counter()
    store = Store(path)
    content = open_content(
        store,
        mode,
        positions=max(settings.positions, consumer.positions if consumer else 0),
        max_shift=max(_MAX_SHIFT, consumer.max_shift if consumer else 0),
        memory=settings.memory,
        device=settings.device,
        on_progress=None
        if on_progress is None
        else lambda what, done, total: on_progress(f"{mode}: {what}", done, total),
    )
    opened = time.perf_counter()
    loader = _loader(store, content, settings, settings.batch_size, settings.positions, _MAX_SHIFT)
    with closing(_endless(loader)) as batches:
        next(batches)
        _finish(settings.device)
        first = time.perf_counter()
        grain = _grain(content, mode, store)
        compact = _speed(loader, batches, settings, grain, lambda batch: None)
        expanded = _speed(loader, batches, settings, grain, _Expander(settings, store.n_experiments))
    waiting = None
    if consumer is not None:
        fed = _loader(store, content, settings, consumer.batch_size, consumer.positions, consumer.max_shift)
        if is_first:  # the first steps of a process prepare what all later ones use
            _wait_of(consumer, fed, settings)
        waiting = _wait_of(consumer, fed, settings)
    n_bytes = getattr(content, "nbytes", None)
    return ModeFigures(mode, "", opened - started, first - started, n_bytes, compact, expanded, waiting)


def _speed(
    loader: Loader,
    batches: Iterator[Batch],
    settings: BenchSettings,
    grain: int,
    use: Callable[[Batch], None],
) -> Speed:
    """Count windows for some seconds, in whole grains: what lies ready at the beginning does so at the end."""
    _pass(batches, grain, use)
    _finish(settings.device)
    before, started, n_windows = loader.stats(), time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < settings.seconds or n_windows == 0:
        n_windows += _pass(batches, grain, use)
        _finish(settings.device)
    return Speed(n_windows / seconds, _between(before, loader.stats()))


def _pass(batches: Iterator[Batch], n_windows: int, use: Callable[[Batch], None]) -> int:
    passed = 0
    while passed < n_windows:
        batch = next(batches)
        use(batch)
        passed += len(batch)
    return passed


class _Expander:
    """Makes numbers of batches where they end, into memory that is used again."""

    def __init__(self, settings: BenchSettings, n_experiments: int) -> None:
        self._device, self._dtype = settings.device, _dtype(settings)
        self._n_experiments = n_experiments
        self._held: tuple[Tensor, Tensor] | None = None

    def __call__(self, batch: Batch) -> None:
        there = batch.to(self._device)
        if self._held is None or len(self._held[0]) < len(batch):
            self._held = there.one_hot(self._dtype), there.labels(self._n_experiments, self._dtype)
            return
        one_hot, labels = self._held
        there.one_hot(self._dtype, out=one_hot[: len(batch)])
        there.labels(self._n_experiments, self._dtype, out=labels[: len(batch)])


def _wait_of(consumer: Consumer, loader: Loader, settings: BenchSettings) -> Waiting:
    """Let a consumer work for some seconds, and see what it waits for."""
    waits: list[float] = []
    marks: list[float] = []

    def watched(batches: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            _finish(settings.device)
            asked = time.perf_counter()
            marks.append(asked)
            counted = len(marks) - 1 - _UNCOUNTED_STEPS
            if counted > 0 and asked - marks[_UNCOUNTED_STEPS] > settings.seconds:
                return
            batch = next(batches)
            waits.append(time.perf_counter() - asked)
            yield batch

    with closing(_endless(loader)) as batches:
        consumer.run(watched(batches))
    steps = len(marks) - 1 - _UNCOUNTED_STEPS
    if steps < 1:
        raise RuntimeError(f"{consumer.name} left off after {len(marks)} batches")
    wait = sum(waits[_UNCOUNTED_STEPS : _UNCOUNTED_STEPS + steps]) / steps
    return Waiting(steps, (marks[-1] - marks[_UNCOUNTED_STEPS]) / steps - wait, wait)


def _loader(
    store: Store, content: Content, settings: BenchSettings, batch_size: int, positions: int, max_shift: int
) -> Loader:
    split, rows = _read_rows(store)
    return Loader(
        store,
        split=split,
        batch_size=min(batch_size, len(rows)),
        positions=positions,
        strand="random",
        max_shift=max_shift,
        shuffle=True,
        drop_last=True,
        rank=0,
        world_size=1,
        threads=settings.threads,
        data=content,
        pin_memory=torch.device(settings.device).type == "cuda",
    )


def _endless(loader: Loader) -> Generator[Batch, None, None]:
    while True:
        yield from loader


def _read_rows(store: Store) -> tuple[Split | None, range]:
    """Choose the windows that are read: those of training, or all where a store has no splits."""
    n_train = len(store.windows.rows("train"))
    return ("train", range(n_train)) if n_train else (None, range(store.n_windows))


def _grain(content: Content, mode: Mode, store: Store) -> int:
    """Count the windows that come in one burst: no speed is to be told from less."""
    burst = max(content.windows_a_piece, DEFAULT_POOL if mode == "stream" else 0)
    return min(burst, len(_read_rows(store)[1]))


def _why_not(store: Store, mode: Mode, settings: BenchSettings, flank: int) -> str:
    """Say why a mode cannot be measured here, in words for a user; nothing if it can."""
    if mode == "stream":
        return ""
    device = torch.device(settings.device)
    if mode == "device" and device.type == "cpu" and not settings.asked:
        return "no GPU: --mode device --device cpu shows the same on the processor"
    if isinstance(store.path, Address) and not settings.asked:
        return f"the whole store would be fetched: --mode {mode} if that is meant"
    needed = RamLayout(store, flank).n_bytes
    available = available_memory() if settings.memory is None else settings.memory
    if available is not None and needed > available:
        allowed = "available" if settings.memory is None else "allowed by --memory"
        return f"needs {_gigabytes(needed)} of memory, {_gigabytes(available)} are {allowed}"
    if mode == "device" and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if needed > free:
            return f"needs {_gigabytes(needed)} on the GPU, {_gigabytes(free)} are free"
    return ""


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.2f} GB"


def _check(settings: BenchSettings) -> None:
    for name, value, least in (
        ("batch size", settings.batch_size, 1),
        ("positions", settings.positions, 1),
        ("threads", settings.threads, 0),
        ("seconds", settings.seconds, 0),
    ):
        if not least <= value < float("inf"):
            raise ConfigError(
                name, found=str(value), expected=f"at least {least}", remedy="Give another number."
            )
    unknown = [mode for mode in settings.modes if mode not in MEASURED]
    if unknown or not settings.modes:
        raise ConfigError(
            "mode", found=", ".join(unknown) or "none", expected=", ".join(MEASURED), remedy="Choose some."
        )


def _flank(settings: BenchSettings, consumer: Consumer | None) -> int:
    wanted = [reach(settings.positions, _MAX_SHIFT)]
    if consumer is not None:
        wanted.append(reach(consumer.positions, consumer.max_shift))
    return max(DEFAULT_FLANK, *wanted)


def _dtype(settings: BenchSettings) -> torch.dtype:
    return torch.bfloat16 if torch.device(settings.device).type == "cuda" else torch.float32


def _finish(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _between(before: LoaderStats, after: LoaderStats) -> LoaderStats:
    return LoaderStats(
        **{
            field.name: getattr(after, field.name) - getattr(before, field.name)
            for field in fields(LoaderStats)
        }
    )
