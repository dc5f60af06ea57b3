"""The engine of a build: whoever does its tasks and whatever stops it, the bytes are the same."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mfdstore import schema
from mfdstore.build.gathering import gather_crew
from mfdstore.build.once import Done, Task, do_once
from mfdstore.build.run import STAGES, build_store
from mfdstore.build.settings import Resources, Sources
from mfdstore.dinucleotides import BLANK, find_blank
from mfdstore.errors import ConfigError, CrewError, SourceError, StoreError
from mfdstore.provenance import describe_file
from mfdstore.publish import resumed
from mfdstore.store import Store
from mfdstore.verify import verify_store
from tests.mfdstore.conftest import Little
from tests.worlds import settings


def _files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# ---- who does it


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a real dask cluster with two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as running:
        yield running.scheduler_address


@pytest.mark.slow
def test_build__on_a_cluster_gives_the_same_bytes(little: Little, tmp_path: Path, cluster: str) -> None:
    out = tmp_path / "x.zarr"
    build_store(little.sources, out, settings(), resources=Resources(scheduler=cluster))
    assert _files(out) == _files(little.path)


@pytest.mark.slow
def test_build__by_processes_gives_the_same_bytes(little: Little, tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    build_store(little.sources, out, settings(), resources=Resources(scheduler="processes", jobs=2))
    assert _files(out) == _files(little.path)


@pytest.mark.slow
def test_build__a_fault_found_by_a_worker_reaches_the_user(
    little: Little, tmp_path: Path, cluster: str
) -> None:
    sources = _copied(little.sources, tmp_path)
    peaks = sorted(sources.peaks.iterdir())[3]
    peaks.write_text("chr1\t10\tx\n")
    with pytest.raises(SourceError, match=rf"{peaks.name}, line 1: found 'x' as end"):
        build_store(sources, tmp_path / "x.zarr", settings(), resources=Resources(scheduler=cluster))
    assert not list(tmp_path.glob("*x.zarr*"))


_KILL_A_WORKER = """
import os, signal, sys, threading, time
from pathlib import Path
from distributed import Client, LocalCluster
from mfdstore.build.run import build_store
from mfdstore.build.settings import Resources, Sources
from tests.worlds import settings

if __name__ == "__main__":
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    sources = Sources(
        folder / "genome.fa", folder / "peaks", folder / "metadata.tsv", folder / "report.tsv", folder / "blacklist.bed"
    )
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        killed = []

        def kill(stage, done, total):
            if not killed and stage == "peak files" and done == 0:
                worker = next(iter(cluster.workers.values()))
                killed.append(worker.pid)
                os.kill(worker.pid, signal.SIGKILL)

        build_store(sources, out, settings(), kill, Resources(scheduler=cluster.scheduler_address))
        assert killed
"""


@pytest.mark.slow
def test_build__goes_on_when_a_worker_is_killed(little: Little, tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    program = tmp_path / "program.py"
    program.write_text(_KILL_A_WORKER)
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, str(program), str(little.sources.fasta.parent), str(out)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=True,
        stderr=subprocess.PIPE,
    )
    assert _files(out) == _files(little.path)


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ("cluster", "found 'cluster'; expected threads, processes"),
        ("tcp://127.0.0.1:9", "no dask scheduler at"),
    ],
)
def test_crew__refuses_a_scheduler_that_is_none(
    monkeypatch: pytest.MonkeyPatch, scheduler: str, words: str
) -> None:
    monkeypatch.setattr("mfdstore.build.gathering._ANSWER_SECONDS", 1)
    with pytest.raises((ConfigError, CrewError), match=words), gather_crew(scheduler, 2):
        pass


def test_crew__gives_results_in_order_and_never_does_more_at_once_than_asked() -> None:
    running: list[int] = []
    most: list[int] = []

    def work(task: int) -> int:
        running.append(task)
        most.append(len(running))
        time.sleep(0.001 * (task % 3))
        running.remove(task)
        return -task

    with gather_crew("threads", 4) as crew:
        told: list[int] = []
        assert crew.run(work, range(30), at_once=2, on_done=told.append) == [-task for task in range(30)]
    assert max(most) <= 2
    assert told == list(range(1, 31))


def test_crew__stops_at_the_first_fault() -> None:
    started: list[int] = []

    def work(task: int) -> None:
        started.append(task)
        if task == 3:
            raise KeyError("three")

    with gather_crew("threads", 2) as crew, pytest.raises(KeyError, match="three"):
        crew.run(work, range(1000))
    assert len(started) < 20


@pytest.mark.parametrize(
    "changes",
    [{"memory": 10_000_000}, {"jobs": -1}],
)
def test_resources__refuse_nonsense(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(changes))}"):
        Resources(**changes)


# ---- cut small: many shards, many tasks


def test_build__however_it_is_cut_gives_the_same_values(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "ROWS_PER_CHUNK", 2)
    monkeypatch.setattr(schema, "ROWS_PER_SHARD", 4)
    monkeypatch.setattr(schema, "CODES_PER_SHARD", 1024)
    monkeypatch.setattr("mfdstore.layout._CODES_PER_CHUNK", 256)
    monkeypatch.setattr("mfdstore.build.labels._MOST_ROWS", 8)
    out = tmp_path / "x.zarr"
    build_store(little.sources, out, settings())
    assert len(list((out / "label_bits").rglob("0"))) > 3
    store = Store(out)
    assert store.digest == little.store.digest
    assert verify_store(
        out, peaks=little.sources.peaks, fasta=little.sources.fasta, blacklist=little.sources.blacklist
    ).sound


def test_build__tells_of_every_stage_to_its_end(little: Little, tmp_path: Path) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    report = build_store(
        little.sources,
        tmp_path / "x.zarr",
        settings(),
        lambda stage, done, total: told.setdefault(stage, []).append((done, total)),
    )
    assert list(told) == [stage for stage in STAGES if stage != "sources"]
    for steps in told.values():
        total = steps[0][1]
        assert steps == [(done, total) for done in range(total + 1)]
    assert set(report.seconds) == set(STAGES)
    assert all(seconds >= 0 for seconds in report.seconds.values())


# ---- what is done is not done again, unless something changed


def _copied(sources: Sources, folder: Path) -> Sources:
    import shutil

    def copy(path: Path | None) -> Path:
        assert path is not None
        to = folder / path.name
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, to)
        return to

    return Sources(
        copy(sources.fasta),
        copy(sources.peaks),
        copy(sources.metadata),
        copy(sources.report),
        copy(sources.blacklist),
    )


class _StoppedError(BaseException):
    """As Ctrl-C: not a fault of the input."""


def _forget_digests(sources: Sources) -> None:
    rows = [line.split("\t") for line in sources.metadata.read_text().splitlines()]
    md5 = rows[0].index("File md5sum") if "File md5sum" in rows[0] else rows[0].index("md5sum")
    sources.metadata.write_text("".join("\t".join(row[:md5] + row[md5 + 1 :]) + "\n" for row in rows))


@pytest.mark.parametrize(
    "change",
    [
        "peaks",
        "other peaks",
        "fasta",
        "blacklist",
        "metadata",
        "a column less",
        "settings",
        "chroms",
        "scratch",
        "shard",
    ],
)
def test_build__what_changed_since_it_was_stopped_is_done_again(
    little: Little, tmp_path: Path, change: str
) -> None:
    sources = _copied(little.sources, tmp_path)
    chosen = settings()

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "digests":
            raise _StoppedError

    out = tmp_path / "x.zarr"
    if change == "other peaks":
        _forget_digests(sources)
    with pytest.raises(_StoppedError):
        build_store(sources, out, chosen, stop)
    hidden = tmp_path / ".x.zarr.building"
    if change == "peaks":
        path = sorted(sources.peaks.iterdir())[0]
        before = describe_file(path).md5
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"chr1\t640\t900\tp\t0\t.\n"))
        table = sources.metadata.read_text()
        sources.metadata.write_text(table.replace(before, describe_file(path).md5))
    elif change == "other peaks":
        # of the same names in another folder, and nothing in the table tells them apart
        other = tmp_path / "others"
        other.mkdir()
        for path in sources.peaks.iterdir():
            (other / path.name).write_bytes(
                gzip.compress(b"chr1\t640\t900\tp\t0\t.\nchr8\t0\t256\tp\t0\t.\nchr9\t0\t256\tp\t0\t.\n")
            )
        sources = replace(sources, peaks=other)
    elif change == "a column less":
        rows = [line.split("\t") for line in sources.metadata.read_text().splitlines()]
        gone = rows[0].index("Biosample term name")
        sources.metadata.write_text("".join("\t".join(row[:gone] + row[gone + 1 :]) + "\n" for row in rows))
        sources = replace(sources, report=None)
    elif change == "chroms":
        chosen = settings(chroms=("chr1", "chr8", "chr9"))
    elif change == "fasta":
        text = sources.fasta.read_text()
        sources.fasta.write_text(text.replace("A", "C", 300))
    elif change == "blacklist":
        assert sources.blacklist is not None
        sources.blacklist.write_text("chr1\t0\t2000\n")
    elif change == "metadata":
        sources.metadata.write_text(sources.metadata.read_text().replace("K562", "K563"))
    elif change == "settings":
        chosen = settings(min_overlap=100, min_experiments=1)
    elif change == "scratch":
        path = sorted((hidden / "scratch" / "runs").iterdir())[0]
        path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    else:
        path = hidden / "store" / "label_bits" / "c" / "0" / "0"
        path.write_bytes(path.read_bytes()[::-1])
    build_store(sources, out, chosen)
    build_store(sources, tmp_path / "fresh.zarr", chosen)
    assert _files(out) == _files(tmp_path / "fresh.zarr")
    assert (_files(out) == _files(little.path)) == (change in ("scratch", "shard"))


def test_do_once__trusts_a_record_only_with_its_inputs_and_outputs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("a")
    calls: list[str] = []

    def work(folder: Path, text: str) -> Done:
        calls.append(text)
        (folder / "out").write_text(text)
        return Done({"n": (1, 2)}, ("out",), {str(source): describe_file(source).md5})

    def do(key: str) -> object:
        return do_once(tmp_path, Task("some/one", key, work, ("x",)))

    assert do("k") == do("k") == {"n": [1, 2]}
    assert len(calls) == 1
    do("other")
    assert len(calls) == 2
    (tmp_path / "out").write_text("y")
    do("other")
    assert len(calls) == 3
    source.write_text("b")
    do("other")
    assert len(calls) == 4
    (tmp_path / "out").unlink()
    do("other")
    assert len(calls) == 5
    (tmp_path / "records" / "some" / "one.json").write_text("{")
    do("other")
    assert len(calls) == 6
    do("other")
    assert len(calls) == 6


# ---- one name, many builders


def test_resumed__is_for_one_process_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    with resumed(out) as folder:
        with pytest.raises(StoreError, match="another process that is building it"), resumed(out):
            pass
        (folder / "store").mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]
    with pytest.raises(StoreError, match="something there already"), resumed(out):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


_BUILD = """
import sys
from pathlib import Path
from mfdstore.build.run import build_store
from mfdstore.build.settings import Sources
from mfdstore.errors import StoreError
from tests.worlds import settings

folder = Path(sys.argv[1])
sources = Sources(
    folder / "genome.fa", folder / "peaks", folder / "metadata.tsv", folder / "report.tsv", folder / "blacklist.bed"
)
print("ready", flush=True)
try:
    build_store(sources, Path(sys.argv[2]), settings())
except StoreError as error:
    print(error.found)
"""


def test_build__two_at_once_give_one_whole_store(little: Little, tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _BUILD, str(little.sources.fasta.parent), str(out)],
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate()[0].removeprefix("ready\n").strip() for process in running]
    assert all(process.returncode == 0 for process in running)
    assert sorted(said)[0] == ""
    assert sorted(said)[1] in ("another process that is building it", "something there already")
    assert _files(out) == _files(little.path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


@pytest.mark.slow
def test_build__killed_at_random_moments_ends_with_the_same_bytes(little: Little, tmp_path: Path) -> None:
    """Kill -9 at twenty moments; no wrong or half store, and the last call has what was done before."""
    out = tmp_path / "x.zarr"
    root = Path(__file__).parents[2]
    draw = np.random.default_rng(11)
    n_killed = 0
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", _BUILD, str(little.sources.fasta.parent), str(out)],
            cwd=root,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        n_killed += process.wait() == -signal.SIGKILL
        if out.exists():
            assert _files(out) == _files(little.path)
            for file in sorted(out.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            out.rmdir()
    assert n_killed >= 5
    build_store(little.sources, out, settings())
    assert _files(out) == _files(little.path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


# ---- parts


def test_find_blank__gives_the_runs() -> None:
    codes = np.array([BLANK, 0, 1, BLANK, BLANK, 3, BLANK], np.uint8)
    assert find_blank(codes).T.tolist() == [[0, 1], [3, 5], [6, 7]]
    assert find_blank(np.zeros(4, np.uint8)).shape == (2, 0)


def test_build__reads_a_plain_gzip_fasta_piece_by_piece(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = _copied(little.sources, tmp_path)
    packed = tmp_path / "genome.fa.gz"
    packed.write_bytes(gzip.compress(sources.fasta.read_bytes(), mtime=0))
    for size in (70, 1 << 24):
        monkeypatch.setattr("mfdstore.sources.fasta_unpack.SCAN_BYTES", size)
        out = tmp_path / f"{size}.zarr"
        build_store(
            Sources(packed, sources.peaks, sources.metadata, sources.report, sources.blacklist),
            out,
            settings(),
        )
        assert Store(out).digest == little.store.digest


# ---- who works is gone, or too many for the memory


def test_build__keeps_what_was_done_when_a_scheduler_is_not_there(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfdstore.build.gathering._ANSWER_SECONDS", 1)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "bins":
            raise _StoppedError

    out = tmp_path / "x.zarr"
    with pytest.raises(_StoppedError):
        build_store(little.sources, out, settings(), stop)
    done = sorted(tmp_path.rglob("records/*/*.json"))
    assert done
    with pytest.raises(CrewError, match="no dask scheduler at"):
        build_store(little.sources, out, settings(), resources=Resources(scheduler="tcp://127.0.0.1:9"))
    assert sorted(tmp_path.rglob("records/*/*.json")) == done
    build_store(little.sources, out, settings())
    assert _files(out) == _files(little.path)
    with pytest.raises(CrewError):
        build_store(
            little.sources,
            tmp_path / "y.zarr",
            settings(),
            resources=Resources(scheduler="tcp://127.0.0.1:9"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


@pytest.mark.slow
def test_build__says_that_all_workers_are_gone(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr("mfdstore.build.gathering._ALONE_SECONDS", 1)
    monkeypatch.setattr("mfdstore.build.crew._LOOK_SECONDS", 0.2)
    out = tmp_path / "x.zarr"
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:

        def leave(stage: str, done: int, total: int) -> None:
            if stage == "sequence" and done == 1:
                cluster.scale(0)

        with pytest.raises(CrewError, match=r"no worker for|gave up"):
            build_store(
                little.sources, out, settings(), leave, Resources(scheduler=cluster.scheduler_address)
            )
    assert [path.name for path in tmp_path.iterdir()] == [".x.zarr.building"]
    build_store(little.sources, out, settings())
    assert _files(out) == _files(little.path)


@pytest.mark.slow
def test_build__ctrl_c_ends_processes_too(little: Little, tmp_path: Path) -> None:
    """A terminal sends the signal to every process of the command."""
    script = (
        "import sys\nfrom cli.mfdstore_app import main\n"
        "if __name__ == '__main__':\n    sys.argv[0] = 'mfdstore'\n    main()\n"
    )
    (tmp_path / "run.py").write_text(script)
    folder = little.sources.fasta.parent
    process = subprocess.Popen(
        [
            *(
                sys.executable,
                str(tmp_path / "run.py"),
                "build",
                "--genome",
                "little",
                "--scheduler",
                "processes",
            ),
            *("--fasta", str(little.sources.fasta), "--peaks", str(little.sources.peaks)),
            *("--metadata", str(little.sources.metadata), "--report", str(folder / "report.tsv")),
            *(
                "--split-valid",
                "chr8",
                "--split-test",
                "chr9",
                "--jobs",
                "2",
                "--out",
                str(tmp_path / "x.zarr"),
            ),
        ],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    records = tmp_path / ".x.zarr.building" / "records"
    for _ in range(600):
        if records.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    if process.returncode != 0:  # else it was done before the signal came
        assert process.returncode == 130
        assert "Traceback" not in said


def test_resources__refuse_more_bins_than_there_is_memory_for() -> None:
    Resources(memory=1_000_000_000).check_bins(24_200_000)  # hg38 by 128 bp
    with pytest.raises(
        ConfigError, match=r"--memory: found 1 GB for 100,000,000 bins; expected at least 2\.1 GB"
    ):
        Resources(memory=1_000_000_000).check_bins(100_000_000)


def test_resources__do_fewer_tasks_at_a_time_rather_than_take_more_memory() -> None:
    few = Resources(memory=1_000_000_000, jobs=64)
    assert few.n_jobs == 3
    assert few.n_jobs * few.bytes_per_task <= 500_000_000
    processes = Resources(memory=4_000_000_000, jobs=64, scheduler="processes")
    assert processes.n_jobs == 5
    assert processes.n_jobs * processes.share(processes.n_jobs, processes.n_jobs + 1) <= 1_000_000_000
    with pytest.raises(ConfigError, match=r"64 tasks at a time on one machine; expected at least 9\.19 GB"):
        Resources(memory=4_000_000_000).share(64, 2)
