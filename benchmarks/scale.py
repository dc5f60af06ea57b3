"""How a build's time and memory grow with the size of its sources, by stage, and how far that is from the limit.

    python benchmarks/scale_sources.py --out sources/0.01 --scale 0.01      # and other shares, to 1
    python benchmarks/scale.py --sources sources --out benchmarks/results/scale_X_YYYYMM.md

Each folder under FOLDER holds sources; each is built by the command a user runs, in a process of its own, imports
included. The limit is what no build can do without: the same files read and decompressed by as many threads, and the
store's bytes written and forced to disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import describe_machine

STAGES = ("sources", "peak files", "sequence", "bins", "labels by window", "labels by experiment", "digests")
PIECE = 1 << 22


@dataclass
class Peak:
    """Most memory seen of a process, in bytes: private, and with the files that it had mapped."""

    private: int = 0
    resident: int = 0

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Look five times a second until the process ends."""
        while process.poll() is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except OSError:
                return
            fields = dict(line.split(":", 1) for line in lines)
            if "RssAnon" in fields:
                self.private = max(self.private, 1024 * int(fields["RssAnon"].split()[0]))
                self.resident = max(self.resident, 1024 * int(fields["VmHWM"].split()[0]))
            time.sleep(0.2)


def build(sources: Path, out: Path, memory: str, jobs: int) -> tuple[float, Peak, dict[str, Any]]:
    """Build once; gives wall-clock seconds, memory, and what the command printed."""
    command = [
        str(Path(sys.executable).with_name("mfdstore")),
        *("build", "--genome", "scaled", "--fasta", str(sources / "genome.fa.gz")),
        *("--peaks", str(sources / "peaks"), "--metadata", str(sources / "metadata.tsv")),
        *("--report", str(sources / "experiment_report.tsv"), "--memory", memory, "--jobs", str(jobs)),
        *("--out", str(out), "--json"),
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak = Peak()
    watcher = threading.Thread(target=peak.watch, args=(process,))
    watcher.start()
    printed, _ = process.communicate()
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return seconds, peak, json.loads(printed)


def decompress(path: Path) -> int:
    """Decompress a file piece by piece and throw the text away; gives its length."""
    n_bytes = 0
    with path.open("rb") as file:
        decoder = zlib.decompressobj(31)
        while piece := file.read(PIECE):
            while piece:
                n_bytes += len(decoder.decompress(piece))
                piece = decoder.unused_data
                if piece:
                    decoder = zlib.decompressobj(31)
    return n_bytes


def limit(sources: Path, store: Path, scratch: Path, jobs: int) -> tuple[float, float, int]:
    """Time what no build can do without: decompressing the sources, writing the store's bytes."""
    files = [sources / "genome.fa.gz", *sorted((sources / "peaks").iterdir())]
    started = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        n_bytes = sum(pool.map(decompress, files))
    reading = time.perf_counter() - started
    started = time.perf_counter()
    shutil.copytree(store, scratch)
    os.sync()
    writing = time.perf_counter() - started
    shutil.rmtree(scratch)
    return reading, writing, n_bytes


def size_on_disk(path: Path) -> int:
    """Sum the files under a folder, or give the size of one file, in bytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, required=True, help="folder of folders of sources")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the stores, as stores/NAME.zarr")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    stores = Path("stores")
    stores.mkdir(exist_ok=True)
    sizes, times, stages = [], [], []
    for sources in sorted(options.sources.iterdir(), key=lambda path: float(path.name)):
        store = stores / f"{sources.name}.zarr"
        shutil.rmtree(store, ignore_errors=True)
        seconds, peak, printed = build(sources, store, options.memory, options.jobs)
        reading, writing, n_bytes = limit(sources, store, stores / "copy", options.jobs)
        counts, taken = printed["counts"], printed["seconds"]
        sizes.append(
            f"| {sources.name} | {counts['experiments']:,} | {counts['peaks']:,} | {counts['bins']:,} | "
            f"{counts['windows']:,} | {counts['positive_pairs']:,} | {size_on_disk(sources) / 1e9:.2f} | "
            f"{size_on_disk(store) / 1e9:.2f} |"
        )
        times.append(
            f"| {sources.name} | {seconds:.1f} | {1e6 * seconds / counts['peaks']:.2f} | {peak.private / 1e9:.2f} | "
            f"{peak.resident / 1e9:.2f} | {reading:.1f} | {writing:.1f} | {seconds / (reading + writing):.2f} |"
        )
        stages.append(
            f"| {sources.name} | " + " | ".join(f"{taken.get(stage, 0):.1f}" for stage in STAGES) + " |"
        )
        print(sizes[-1], times[-1], stages[-1], f"{n_bytes:,} bytes of text", sep="\n", flush=True)
        if not options.keep:
            shutil.rmtree(store)
    lines = [
        "# A build at the published size, and at shares of it",
        "",
        *describe_machine("zarr", "numpy", "polars", "numba", "dask"),
        f"One build of each, with `--memory {options.memory} --jobs {options.jobs}`. Share 1 has the published number "
        "of experiments and peaks on chromosomes of hg38's lengths (`scale_sources.py` says how they are drawn).",
        "",
        "| share | experiments | peaks | bins | windows | positive pairs | sources, GB | store, GB |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
        *sizes,
        "",
        "Private memory is the process's own; resident memory counts the pages of files that it had mapped too, which "
        "the system takes back when it wants to. The limit is the same sources read and decompressed by as many "
        "threads, and the store's bytes written and forced to disk.",
        "",
        "| share | wall clock, s | s a million peaks | private memory, GB | resident, GB "
        "| decompressing, s | writing, s | times the limit |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
        *times,
        "",
        "Seconds by stage:",
        "",
        f"| share | {' | '.join(STAGES)} |",
        "|---:|" + "---:|" * len(STAGES),
        *stages,
    ]
    text = "\n".join([*lines, ""])
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
