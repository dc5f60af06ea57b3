"""A store in the format of the authors' release: regions, pairs in HDF5, metadata.

Their files hold what theirs do, name by name and type by type. What a store knows besides (splits, thresholds, every
factor with kind and role) stands in a group and in columns of its own, which their loader passes by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl

from mfdstore import schema
from mfdstore.export.choice import Chosen
from mfdstore.export.text import factor_texts, opened_text, write_table
from mfdstore.sources.mfd_release import layout
from mfdstore.sources.mfd_release.layout import CarriedFactor, CarriedStore


def write_release(chosen: Chosen, folder: Path, on_progress: Callable[[int, int], None]) -> int:
    """Write the three files of a release.

    Parameters
    ----------
    chosen
        Of the store.
    folder
        To fill; it exists.
    on_progress
        Called with the windows written and their number.

    Returns
    -------
    Number of pairs.
    """
    names = _bare_names(chosen.chroms)
    chroms = sorted(chosen.chroms, key=names.__getitem__)
    md5 = _write_regions(chosen, folder / layout.REGIONS, chroms, names)
    n_pairs = _write_overlaps(chosen, folder / layout.OVERLAPS, chroms, md5, on_progress)
    _write_metadata(chosen, folder / layout.METADATA)
    return n_pairs


def _bare_names(chroms: tuple[str, ...]) -> dict[str, str]:
    """Take "chr" off the names as the release does, where that does not make two of them one."""
    names = {}
    for chrom in chroms:
        bare = chrom.removeprefix("chr")
        names[chrom] = bare if bare and bare not in chroms else chrom
    return names


def _write_regions(chosen: Chosen, path: Path, chroms: list[str], names: dict[str, str]) -> str:
    """Write the regions; give the md5 of their text."""
    windows = chosen.store.windows
    digest = hashlib.md5(usedforsecurity=False)
    n_written = 0
    with opened_text(path) as file:
        for chrom in chroms:
            rows = chosen.rows(chrom)
            for begin in range(0, len(rows), 1 << 18):
                starts = windows.start[rows[begin : begin + (1 << 18)]]
                table = pl.DataFrame(
                    {"chrom": names[chrom], "start": starts, "end": starts + np.int32(windows.bin_size)}
                ).with_columns(
                    name="c" + pl.int_range(n_written + 1, n_written + 1 + len(starts)).cast(pl.String),
                    score=pl.lit(0),
                )
                text = table.write_csv(include_header=False, separator="\t").encode()
                digest.update(text)
                file.write(text)
                n_written += len(starts)
    return digest.hexdigest()


def _write_overlaps(
    chosen: Chosen, path: Path, chroms: list[str], md5: str, on_progress: Callable[[int, int], None]
) -> int:
    n_experiments = len(chosen.experiments)
    n_pairs = chosen.count_pairs()
    index = np.dtype(np.int16 if n_experiments <= np.iinfo(np.int16).max else np.int32)
    n_positive = np.zeros(n_experiments, np.int64)
    # attributes of thousands of labels are longer than the oldest layout of HDF5 allows
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        query = _create(file, layout.QUERY, (n_pairs,), np.dtype(np.int32))
        target = _create(file, layout.TARGET, (n_pairs, 1), index)
        split = _create(
            file, f"{layout.CARRIED}/{layout.CARRIED_SPLIT}", (chosen.n_windows,), np.dtype(np.int8)
        )
        codes = chosen.store.windows.split
        n_rows = n_done = 0
        for chrom in chroms:
            for rows, labels in chosen.blocks(chrom):
                row, experiment = np.nonzero(labels)
                pairs = slice(n_done, n_done + len(row))
                query[pairs] = (n_rows + row).astype(np.int32)
                target[pairs] = experiment[:, np.newaxis].astype(index)
                split[n_rows : n_rows + len(rows)] = codes[rows]
                n_positive += np.bincount(experiment, minlength=n_experiments)
                n_rows += len(rows)
                n_done += len(row)
                on_progress(n_rows, chosen.n_windows)
        query.attrs[layout.MD5] = md5
        target.attrs[layout.LABELS] = np.array(chosen.factors.experiments, object)
        target.attrs[layout.N_POSITIVE] = n_positive
        file[f"{layout.CARRIED}/{layout.CARRIED_STORE}"] = _carry(chosen).to_json()
    return n_pairs


def _create(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> h5py.Dataset:
    # an empty dataset cannot be cut in chunks
    n_rows, *others = shape
    options: dict[str, Any] = {"compression": "gzip", "compression_opts": layout.GZIP_LEVEL}
    options["chunks"] = (min(n_rows, layout.PAIRS_PER_CHUNK), *others)
    return file.create_dataset(name, shape, dtype.newbyteorder("<"), **(options if n_rows else {}))


def _carry(chosen: Chosen) -> CarriedStore:
    store = chosen.store
    sizes = dict(zip(store.chroms, store.chrom_sizes, strict=True))
    return CarriedStore(
        genome=store.genome,
        bin_size=store.bin_size,
        min_overlap=store.min_overlap,
        # fewer experiments may leave a bin without any
        min_experiments=store.min_experiments if chosen.has_all_experiments else 0,
        digest=store.digest,
        chrom_sizes={chrom: sizes[chrom] for chrom in chosen.chroms},
        sequence_digests={
            chrom: store.array_digests[f"{schema.SEQUENCE}/{chrom}"]
            for chrom in chosen.chroms
            if f"{schema.SEQUENCE}/{chrom}" in store.array_digests
        },
        factors=tuple(
            CarriedFactor(factor.name, factor.kind, factor.role, factor.unit) for factor in chosen.factors
        ),
    )


def _write_metadata(chosen: Chosen, path: Path) -> None:
    factors = chosen.factors
    columns = [(layout.ACCESSION, list(factors.experiments))]
    for column in layout.METADATA_COLUMNS:
        known = column.factor in factors and factors[column.factor].kind == column.kind
        texts = factor_texts(factors[column.factor]) if known else [""] * len(factors)
        columns.append((column.header, [text or column.missing for text in texts]))
    columns += [(f"{layout.CARRIED_PREFIX}{factor.name}", factor_texts(factor)) for factor in factors]
    write_table(path, chosen.store.path, columns)
