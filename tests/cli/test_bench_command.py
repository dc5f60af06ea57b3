"""The command `mfdstore bench`: its tables, its JSON, and what it says when something is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.bench_command import BenchMode, BenchPreset
from cli.mfdstore_app import app
from mfdmodel.config_reading import PRESETS
from mfdstore.loader.bench_figures import MEASURED
from mfdstore.metadata import FactorTable
from mfdstore.store import Store
from mfdstore.writer import StoreWriter
from tests.planted import write_planted_store

QUICK = ("--seconds", 0.05, "--batch-size", 32, "--positions", 128)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_planted_store(tmp_path_factory.mktemp("planted") / "planted.zarr")


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without any metadata, and without splits."""
    path = tmp_path_factory.mktemp("unknown") / "unknown.zarr"
    writer = StoreWriter(path, FactorTable(("ENCFF000AAA",), ()), ("chr1",), (20_000,))
    writer.write_codes("chr1", np.zeros(20_000, np.uint8))
    starts = np.arange(100, dtype=np.int32) * 128
    writer.append_windows("chr1", starts, np.full(100, 1, np.int8), np.ones((100, 1), np.uint8))
    writer.close({"genome": "g", "bin_size": 128, "min_overlap": 64, "min_experiments": 0, "provenance": {}})
    return path


def call(*words: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["bench", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result.stdout, result.stderr


def lines_of(text: str, first: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.split()[:1] == [first]]


def test_bench__shows_each_mode_and_its_waiting(planted: Store) -> None:
    out, err = call(planted.path, *QUICK, "--step", 0.01)
    assert err == ""
    assert f"{planted.n_windows:,} windows, 6 experiments" in out
    assert "1,400 windows in" in out
    speeds, work, waiting = lines_of(out, "ram")
    assert speeds[1] == "*"
    assert all(float(number.replace(",", "")) >= 0 for number in speeds[2:])
    assert len(work) == 6
    assert int(waiting[1]) >= 1
    assert waiting[-1].endswith("%")
    assert len(lines_of(out, "stream")) == 3
    assert "device not measured: no GPU" in out
    assert "steps of 0.01 s on cpu, 32 windows of 128 bp" in out


def test_bench__times_a_training_and_gives_json(planted: Store) -> None:
    words = ("--seconds", 0.05, "--batch-size", 8, "--mode", "stream", "--preset", "demo", "--device", "cpu")
    found = json.loads(call(planted.path, *words, "--json")[0])
    assert found["consumer"] == "preset demo"
    assert found["chosen"] == "ram"
    (stream,) = found["modes"]
    assert (stream["mode"], stream["reason"]) == ("stream", "")
    assert stream["compact"]["windows_per_second"] > 0
    assert stream["compact"]["stats"]["n_bytes"] > 0
    assert stream["waiting"]["steps"] >= 1
    assert stream["waiting"]["step"] > 0


def test_bench__measures_what_is_asked_for_alone(planted: Store) -> None:
    out, _ = call(
        planted.path, *QUICK, "--mode", "device", "--mode", "ram", "--preset", "none", "--device", "cpu"
    )
    assert len(lines_of(out, "ram")) == len(lines_of(out, "device")) == 2
    assert not lines_of(out, "stream")
    assert "raining" not in out


def test_bench__goes_without_a_training_where_the_metadata_lack(unknown: Path) -> None:
    out, _ = call(unknown, *QUICK, "--mode", "stream")
    assert "100 windows in" in out
    assert "No training was timed:" in out
    assert "target" in out
    _, err = call(unknown, *QUICK, "--preset", "small", code=1)
    assert "target" in err
    assert len(err.splitlines()) == 1


def test_bench__says_which_mode_does_not_fit(unknown: Path) -> None:
    out, _ = call(unknown, *QUICK, "--preset", "none", "--memory", "1kB")
    assert "ram not measured: needs 0.00 GB of memory, 0.00 GB are allowed by --memory" in out
    assert lines_of(out, "stream")[0][1] == "*"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--step", 1, "--preset", "small"), "--step: found --preset beside it"),
        (("--memory", "much"), "--memory: found 'much'"),
        (("--device", "tpu"), "device: found 'tpu'"),
        (("--positions", 3, "--preset", "small"), "too few"),
    ],
)
def test_bench__says_in_a_line_what_is_wrong(unknown: Path, words: tuple[Any, ...], message: str) -> None:
    _, err = call(unknown, *words, code=1)
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [("--seconds", "inf"), ("--step", "inf"), ("--threads", -1), ("--mode", "disk")]
)
def test_bench__refuses_numbers_that_make_no_sense(unknown: Path, words: tuple[Any, ...]) -> None:
    _, err = call(unknown, *words, code=2)
    assert words[0] in err


def test_bench__says_that_there_is_no_store(tmp_path: Path) -> None:
    _, err = call(tmp_path / "none.zarr", "--preset", "none", code=1)
    assert "none.zarr" in err
    assert len(err.splitlines()) == 1


def test_bench__knows_all_modes_and_presets() -> None:
    assert tuple(BenchMode) == MEASURED
    assert sorted(BenchPreset) == sorted([*PRESETS, "none"])


def test_bench__leaves_the_loaders_warnings_to_others(planted: Store) -> None:
    import logging

    before = logging.getLogger("mfdstore.loader").level
    started = time.perf_counter()
    call(planted.path, *QUICK, "--mode", "ram", "--preset", "none", "--seconds", 0)
    assert logging.getLogger("mfdstore.loader").level == before
    assert time.perf_counter() - started < 20
