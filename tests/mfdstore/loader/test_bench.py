"""Judges of the figures: consumers whose speed is known, stores that do not fit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader import Batch
from mfdstore.loader import bench as bench_module
from mfdstore.loader.bench import measure_store
from mfdstore.loader.bench_figures import BenchSettings, Consumer, Waiting
from mfdstore.loader.stats import LoaderStats

QUICK = BenchSettings(batch_size=64, positions=40, seconds=0.05)


def consumer_of(step: float, seen: list[int] | None = None) -> Consumer:
    def run(batches: Iterable[Batch]) -> None:
        for batch in batches:
            if seen is not None:
                seen.append(len(batch))
                assert batch.codes.shape[1] == 24
            time.sleep(step)

    return Consumer("known", run, batch_size=10, positions=24, max_shift=2)


def test_measure_store__gives_figures_of_each_mode(store: Any) -> None:
    told: list[tuple[str, int, int]] = []
    settings = replace(QUICK, asked=True)  # on the CPU, the device has to be asked for
    report = measure_store(store.path, settings, on_progress=lambda *step: told.append(step))
    assert (report.n_windows, report.n_experiments, report.n_read) == (300, 11, 100)
    assert (report.chosen, report.dtype, report.consumer) == ("ram", "float32", "")
    assert [figures.mode for figures in report.modes] == ["ram", "stream", "device"]
    for figures in report.modes:
        assert figures.reason == ""
        assert 0 < figures.opened < figures.first_batch < 60
        assert figures.waiting is None
        for speed in (figures.compact, figures.expanded):
            assert speed is not None
            assert speed.stats.windows / speed.windows_per_second >= QUICK.seconds
            assert speed.stats.gather > 0
    ram, stream, _ = report.modes
    assert ram.n_bytes
    assert stream.n_bytes is None
    assert stream.compact is not None
    assert stream.compact.stats.n_bytes > 0
    assert told[-1] == ("modes", 3, 3)
    assert any(what.startswith("ram: ") for what, _, _ in told)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mfdstore-loader")]


def test_measure_store__tells_how_long_a_step_is_and_how_long_its_wait(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(QUICK, modes=("ram",), seconds=0.3)
    seen: list[int] = []
    (fast,) = measure_store(store.path, settings, consumer=consumer_of(0.02, seen)).modes
    assert fast.waiting is not None
    assert set(seen) == {10}
    assert 0.02 <= fast.waiting.step < 0.04
    assert fast.waiting.steps >= 5
    assert fast.waiting.share < 0.5

    plain = bench_module._endless

    def slow(loader: Any) -> Any:
        for batch in plain(loader):
            time.sleep(0.03)
            yield batch

    monkeypatch.setattr(bench_module, "_endless", slow)
    (slowed,) = measure_store(store.path, settings, consumer=consumer_of(0.01)).modes
    assert slowed.waiting is not None
    assert 0.03 <= slowed.waiting.wait < 0.06
    assert 0.01 <= slowed.waiting.step < 0.03
    assert slowed.waiting.share == pytest.approx(0.75, abs=0.15)


def test_measure_store__counts_at_least_one_step_however_long(store: Any) -> None:
    settings = replace(QUICK, modes=("ram",), seconds=0.0)
    (figures,) = measure_store(store.path, settings, consumer=consumer_of(0.1)).modes
    assert figures.waiting is not None
    assert figures.waiting.steps == 1
    assert 0.1 <= figures.waiting.step < 0.2


def test_measure_store__says_why_a_mode_is_not_measured(store: Any) -> None:
    report = measure_store(store.path, replace(QUICK, memory=5000))
    ram, stream, device = report.modes
    assert ram.reason == "needs 0.00 GB of memory, 0.00 GB are allowed by --memory"
    assert ram.compact is None
    assert stream.reason == ""
    assert stream.compact is not None
    assert device.reason.startswith("no GPU")
    assert report.chosen == "stream"


def test_measure_store__fetches_no_whole_store_unless_it_is_asked_to(store: Any, tmp_path: Path) -> None:
    from tests.servers import http_server

    with http_server(Path(store.path).parent) as served:
        address = f"{served.url}/{Path(store.path).name}"
        report = measure_store(address, replace(QUICK, seconds=0.01))
        asked = measure_store(address, replace(QUICK, seconds=0.01, modes=("ram",), asked=True))
    assert [bool(figures.compact) for figures in report.modes] == [False, True, False]
    assert report.modes[0].reason.startswith("the whole store would be fetched")
    assert asked.modes[0].compact is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch size: found 0; expected at least 1"),
        ({"positions": 0}, "positions: found 0"),
        ({"threads": -1}, "threads: found -1"),
        ({"seconds": float("nan")}, "seconds: found nan"),
        ({"modes": ()}, "mode: found none"),
        ({"modes": ("auto",)}, "mode: found auto; expected ram, stream, device"),
    ],
)
def test_measure_store__refuses_settings_out_of_range(
    store: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        measure_store(store.path, replace(QUICK, **change))


def test_measure_store__needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        measure_store(tmp_path / "none.zarr", QUICK)


def test_waiting__is_a_share_of_step_and_wait() -> None:
    assert Waiting(3, step=0.3, wait=0.1).share == pytest.approx(0.25)
    assert Waiting(1, step=0.0, wait=0.0).share == 0.0


def test_between__subtracts_every_number() -> None:
    before = LoaderStats(1, 2, 3.0, 4.0, 5.0, 6.0, 7.0, 8)
    after = LoaderStats(11, 22, 33.0, 44.0, 55.0, 66.0, 77.0, 88)
    assert bench_module._between(before, after) == LoaderStats(10, 20, 30.0, 40.0, 50.0, 60.0, 70.0, 80)
