"""The size of a store's labels on disk beside what they take in other formats.

    python benchmarks/size.py chr22.zarr full.zarr --out benchmarks/results/size_X_YYYYMM.md

Every label of the store is packed in each format, block by block, and what comes out is counted: dense bytes as zarr
writes them by default; the rows of a sparse matrix (CSR), as `scipy.sparse.save_npz` writes it with and without
compression, though from blocks, so that any size fits; and the HDF5 file of the authors' release, by `mfdstore export`.
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from pathlib import Path

import numpy as np
import scipy.sparse
from machine import describe_machine
from numcodecs.zstd import Zstd

from mfdstore import schema
from mfdstore.export.choice import Choice
from mfdstore.export.exporting import export_store
from mfdstore.store import Store

BLOCK = 1 << 16
ROWS = 512


def size_of(path: Path) -> int:
    """Sum the files under a folder, in bytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def pack(store: Store) -> dict[str, float]:
    """Pack all labels in each way; gives bytes by name."""
    dense = 0
    arrays = {"data": [0, 0], "indices": [0, 0], "indptr": [0, 0]}
    packers = {name: zlib.compressobj(6) for name in arrays}
    codec = Zstd(0)  # zarr's own default
    n_pairs = 0
    for begin in range(0, store.n_windows, BLOCK):
        bits = store.label_bits(begin, min(begin + BLOCK, store.n_windows))
        labels = np.unpackbits(bits, axis=1, count=store.n_experiments)
        for first in range(0, len(labels), ROWS):
            dense += len(codec.encode(np.ascontiguousarray(labels[first : first + ROWS])))
        rows = scipy.sparse.csr_array(labels)
        parts = {
            "data": rows.data.astype(np.uint8),
            "indices": rows.indices.astype(np.int32),
            "indptr": rows.indptr[:-1].astype(np.int64) + n_pairs,
        }
        n_pairs += rows.nnz
        for name, values in parts.items():
            arrays[name][0] += values.nbytes
            arrays[name][1] += len(packers[name].compress(values.tobytes()))
    for name, packer in packers.items():
        arrays[name][1] += len(packer.flush())
    return {
        "dense uint8, zstd (zarr's default)": dense,
        "CSR, npz not compressed": sum(raw for raw, _ in arrays.values()),
        "CSR, npz compressed": sum(packed for _, packed in arrays.values()),
    }


def release(store: Path) -> int:
    """Export as the authors' release; gives the bytes of the file of labels."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        export_store(store, Path(folder) / "release", "mfd-hdf5", Choice())
        return (Path(folder) / "release" / "overlaps.h5").stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    lines = ["# Size of labels on disk", "", *describe_machine("zarr", "numcodecs", "scipy", "h5py")]
    for path in options.stores:
        store = Store(path)
        n_pairs = int(store.n_positive.sum(dtype=np.int64))
        by_window, by_experiment, sequence = (
            size_of(path / name)
            for name in (schema.LABEL_BITS, schema.LABEL_BITS_BY_EXPERIMENT, schema.SEQUENCE)
        )
        sizes = {
            "mfdstore, by window": by_window,
            "mfdstore, by experiment": by_experiment,
            "mfdstore, both (what a store holds)": by_window + by_experiment,
            **pack(store),
            "HDF5 as the authors' release": release(path),
        }
        lines += [
            f"## {path.stem}",
            "",
            f"{store.n_windows:,} windows, {store.n_experiments:,} experiments, {n_pairs:,} positive pairs "
            f"({n_pairs / store.n_windows / store.n_experiments:.2%} of all). The whole store takes "
            f"{size_of(path) / 1e6:,.1f} MB, of which the sequence {sequence / 1e6:,.1f}.",
            "",
            "| labels as | MB | bits a positive pair | times both orders of a store |",
            "|---|---:|---:|---:|",
            *(
                f"| {name} | {size / 1e6:,.1f} | {8 * size / n_pairs:.2f} | {size / (by_window + by_experiment):.2f} |"
                for name, size in sizes.items()
            ),
            "",
        ]
        print("\n".join(lines[-14:]), flush=True)
    options.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
