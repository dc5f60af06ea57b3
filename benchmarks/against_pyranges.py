"""Labels and whole builds against what users do today: pyranges joins, pandas, scipy, dense arrays.

    python benchmarks/against_pyranges.py --sources sources/0.033 --out benchmarks/results/against_pyranges_X_YYYYMM.md

First the labels of peaks that are in memory, on the bins of the whole genome, by each contestant in turn; then the
whole build, `mfdstore build` and `usual_build.py`, each a process of its own with two jobs, of each of the sources that
are named. Answers are compared in every number before anything is reported.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from machine import describe_machine
from usual_build import BIN, OVERLAP, tile

from mfdstore.bitmaps import new_bitmap, raster_peaks
from mfdstore.genomes import Genome
from mfdstore.sources.bed import Intervals, read_intervals
from mfdstore.sources.fasta import open_fasta
from mfdstore.store import Store
from mfdstore.windows import Tiling

N_FILES = 9


def by_numba(tiling: Tiling, peaks: Intervals) -> np.ndarray:
    """Label bins as a build does: packed bits."""
    bitmap = new_bitmap(tiling.n_bins)
    for index, chrom in enumerate(tiling.chroms):
        if chrom in peaks.by_chrom:
            first, stop = tiling.span(index)
            raster_peaks(
                *peaks.by_chrom[chrom],
                bitmap,
                first_bin=first,
                n_bins=stop - first,
                bin_size=BIN,
                min_overlap=OVERLAP,
            )
    return bitmap


def by_numpy(tiling: Tiling, peaks: Intervals) -> np.ndarray:
    """Label bins by differences and their running sum."""
    steps = np.zeros(tiling.n_bins + 1, np.int32)
    for index, chrom in enumerate(tiling.chroms):
        if chrom in peaks.by_chrom:
            begin, end = tiling.span(index)
            starts, ends = peaks.by_chrom[chrom]
            first = np.maximum(-(-(starts + OVERLAP) // BIN) - 1, 0) + begin
            last = np.minimum((ends - OVERLAP) // BIN, end - begin - 1) + begin
            some = (ends - starts >= OVERLAP) & (first <= last)
            np.add.at(steps, first[some], 1)
            np.add.at(steps, last[some] + 1, -1)
    return np.cumsum(steps[:-1]) > 0


def by_pyranges(bins: object, table: pd.DataFrame, n_bins: int) -> np.ndarray:
    """Label bins by a join."""
    import pyranges

    joined = bins.join(pyranges.PyRanges(table), report_overlap=True).df
    labels = np.zeros(n_bins, np.bool_)
    labels[joined.loc[joined["Overlap"] >= OVERLAP, "bin"].to_numpy()] = True
    return labels


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; gives seconds and the most memory of it and its children together, in GB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, sum(_private(pid) for pid in _family(process.pid)))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return time.perf_counter() - started, most / 1e9


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _private(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def compare_builds(store: Path, usual: Path) -> None:
    """Stop unless both hold the same windows and labels."""
    ours = Store(store)
    windows = ours.windows
    with h5py.File(usual, "r") as file:
        assert np.array_equal(np.array(ours.chroms)[windows.chrom], file["chrom"][:].astype(str))
        assert np.array_equal(windows.start, file["start"][:])
        for begin in range(0, ours.n_windows, 65_536):
            bits = ours.label_bits(begin, begin + 65_536)
            assert np.array_equal(
                np.unpackbits(bits, axis=1, count=ours.n_experiments), file["labels"][begin : begin + 65_536]
            )


def compare_on(sources: Path) -> list[str]:
    """Build from one folder of sources in both ways; gives the lines of the table."""
    store, usual = Path("against.zarr"), Path("against.h5")
    shutil.rmtree(store, ignore_errors=True)
    usual.unlink(missing_ok=True)
    mfdstore = [
        str(Path(sys.executable).with_name("mfdstore")),
        *("build", "--genome", "scaled", "--fasta", str(sources / "genome.fa.gz")),
        *("--peaks", str(sources / "peaks"), "--metadata", str(sources / "metadata.tsv")),
        *("--report", str(sources / "experiment_report.tsv"), "--jobs", "2", "--out", str(store)),
    ]
    script = [sys.executable, str(Path(__file__).with_name("usual_build.py"))]
    builds = {
        "mfdstore build": measure(mfdstore),
        "pandas, pyranges, scipy, HDF5": measure(
            [*script, "--sources", str(sources), "--out", str(usual), "--jobs", "2"]
        ),
    }
    compare_builds(store, usual)
    built = Store(store)
    described = f"{sources.name} | {sum(built.chrom_sizes):,} | {built.n_experiments:,}"
    first, _ = builds["mfdstore build"]
    shutil.rmtree(store)
    usual.unlink()
    return [
        f"| {described} | {name} | {seconds:.1f} | {seconds / first:.1f} | {memory:.2f} |"
        for name, (seconds, memory) in builds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, required=True, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    with open_fasta(options.sources[0] / "genome.fa.gz") as fasta:
        genome = Genome("scaled", dict(fasta.sizes), {})
    tiling = Tiling(tuple(genome.sizes), tuple(genome.sizes.values()), BIN)
    paths = sorted((options.sources[0] / "peaks").iterdir())[:N_FILES]
    files = [read_intervals(path, genome) for path in paths]
    tables = [
        pd.DataFrame(
            {
                "Chromosome": np.repeat(list(file.by_chrom), [len(s) for s, _ in file.by_chrom.values()]),
                "Start": np.concatenate([s for s, _ in file.by_chrom.values()]),
                "End": np.concatenate([e for _, e in file.by_chrom.values()]),
            }
        )
        for file in files
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyranges

        bins = pyranges.PyRanges(tile(dict(genome.sizes)))
        contestants: dict[str, Callable[[int], np.ndarray]] = {
            "mfdstore, numba, packed bits": lambda i: by_numba(tiling, files[i]),
            "numpy, difference array": lambda i: by_numpy(tiling, files[i]),
            "pyranges, join": lambda i: by_pyranges(bins, tables[i], tiling.n_bins),
        }
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        by_numba(tiling, files[0])  # compiles
        for index in range(N_FILES):
            answers = []
            for name, label in contestants.items():
                started = time.perf_counter()
                answer = label(index)
                taken[name].append(time.perf_counter() - started)
                answers.append(
                    np.unpackbits(answer, count=tiling.n_bins) if answer.dtype == np.uint8 else answer
                )
            assert all(np.array_equal(answer, answers[0]) for answer in answers)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    ours = medians["mfdstore, numba, packed bits"]

    builds = [line for sources in options.sources for line in compare_on(sources)]
    n_peaks = round(statistics.mean(len(table) for table in tables))
    lines = [
        "# Against pyranges",
        "",
        *describe_machine("numpy", "numba", "pyranges", "pandas", "scipy", "h5py", "zarr"),
        f"Load average {os.getloadavg()[0]:.1f} at the end. {len(files)} files of {options.sources[0].name} of the "
        f"published size, {n_peaks:,} peaks each on average, {tiling.n_bins:,} bins.",
        "",
        "Labels of peaks in memory, median over the files, answers equal in every bin:",
        "",
        "| way | ms a file | times mfdstore |",
        "|---|---:|---:|",
        *(f"| {name} | {1e3 * seconds:.2f} | {seconds / ours:.1f} |" for name, seconds in medians.items()),
        "",
        "The whole build, one run of each, two jobs; the same windows, the same labels in every bit. Memory is "
        "private, of the process and its workers together.",
        "",
        "| sources | bp | experiments | way | s | times mfdstore | memory, GB |",
        "|---|---:|---:|---|---:|---:|---:|",
        *builds,
    ]
    text = "\n".join([*lines, ""])
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
