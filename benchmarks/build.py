"""How long a build takes and how much memory: the command `mfdstore build` as a user runs it, several times.

    python benchmarks/build.py --sources FOLDER --out benchmarks/results/build_X_YYYYMM.md

FOLDER holds a FASTA (*.fa.gz), peaks/, metadata.tsv, experiment_report.tsv and a blacklist (*.bed.gz).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe_machine

REPEATS = 5


def build_once(sources: Path, out: Path, options: list[str]) -> tuple[float, float, dict[str, Any]]:
    """Build; returns wall-clock seconds, the process's peak resident memory in GB, and its counts."""
    command = [
        str(Path(sys.executable).with_name("mfdstore")),
        *("build", "--genome", "hg38", "--fasta", str(next(sources.glob("*.fa.gz")))),
        *("--peaks", str(sources / "peaks"), "--metadata", str(sources / "metadata.tsv")),
        *("--report", str(sources / "experiment_report.tsv"), "--split-blocks", "--json", "--out", str(out)),
        *options,
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024 / 1e9, json.loads(printed)["counts"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    blacklist = next(options.sources.glob("*blacklist*.bed.gz"))
    lines = [
        "# Building a store of one real chromosome",
        "",
        *describe_machine("zarr", "numpy", "polars", "pysam"),
    ]
    lines += [
        f"Medians of {REPEATS} builds, each a process of its own, imports included.",
        "",
        "| build | wall clock, s | lowest | highest | peak memory, GB | windows | positive pairs | blacklisted bins |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, extra in (("without blacklist", []), ("with blacklist", ["--blacklist", str(blacklist)])):
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                build_once(options.sources, Path(folder, f"{turn}.zarr"), extra) for turn in range(REPEATS)
            ]
        seconds = [run[0] for run in runs]
        counts = runs[0][2]
        lines.append(
            f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} | "
            f"{max(run[1] for run in runs):.2f} | {counts['windows']:,} | {counts['positive_pairs']:,} | "
            f"{counts['bins_blacklisted']:,} |"
        )
    text = "\n".join([*lines, ""])
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
