"""A store against itself: values against digests, attributes against arrays, and both orders of the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from mfdstore import schema
from mfdstore.bitmaps import turn_rows
from mfdstore.errors import RemoteError, StoreError
from mfdstore.labels import count_positive
from mfdstore.provenance import combine_digests, digest_values
from mfdstore.store import Store
from mfdstore.verify.report import Finding

OnProgress = Callable[[str, int, int], None]
_BLOCK_BYTES: Final = 1 << 28
"""Labels compared at a time, in bytes of either order."""
_MOST_WINDOWS: Final = 1 << 19
_LEAST_WINDOWS: Final = 1 << 16


def check_arrays(store: Store, n_jobs: int, on_progress: OnProgress) -> Iterator[Finding]:
    """Read every array in full: chunk checksums on the way, then the digest of the whole."""

    def digest(name: str) -> str | StoreError:
        try:
            return _digest(store, name)
        except RemoteError:
            raise  # nothing is known of the array then
        except StoreError as error:
            return error

    digests = {}
    with ThreadPoolExecutor(n_jobs, thread_name_prefix="digest") as pool:
        results = zip(store.array_digests.items(), pool.map(digest, store.array_digests), strict=True)
        for done, ((name, expected), found) in enumerate(results, start=1):
            if isinstance(found, StoreError):
                yield Finding(f"array {name}", False, found.found)
            elif found != expected:
                detail = f"its values have digest {found[:12]}, not {expected[:12]}"
                yield Finding(f"array {name}", False, detail)
            digests[name] = found
            on_progress("arrays", done, len(store.array_digests))
    if digests == dict(store.array_digests):
        whole = combine_digests(store.array_digests, store.attributes) == store.digest
        detail = f"{len(digests)} arrays read, checksums and digests hold"
        yield Finding(
            "arrays",
            whole,
            detail if whole else "the store's digest is not that of its arrays and attributes",
        )


def _digest(store: Store, name: str) -> str:
    """Digest an array's values as `provenance.digest_values` does, a row of its files at a time."""
    array = store.array(name)
    if array.dtype.kind not in "biuf":
        return digest_values(store.read(name))
    step = (array.shards or array.chunks)[0]
    digest = hashlib.sha256()
    for begin in range(0, array.shape[0], step):
        digest.update(np.ascontiguousarray(store.read(name, slice(begin, begin + step))).data)
    return digest.hexdigest()


def check_consistency(store: Store, on_progress: OnProgress) -> Iterator[Finding]:
    """Hold attributes and arrays against each other."""
    try:
        sound = _agree(store)
    except RemoteError:
        raise
    except StoreError as error:
        yield Finding("attributes", False, error.found)
        return
    yield Finding("attributes", sound, "agree with the arrays" if sound else "do not agree with the arrays")
    if not sound:
        return
    windows = store.windows
    chrom, start = windows.chrom, windows.start
    ordered = bool(((chrom[1:] > chrom[:-1]) | ((chrom[1:] == chrom[:-1]) & (start[1:] > start[:-1]))).all())
    yield Finding(
        "windows", ordered, f"{len(windows):,}, ascending, each once" if ordered else "not ascending"
    )
    sizes = np.array(store.chrom_sizes)[chrom]
    inside = bool(((start >= 0) & (windows.end <= sizes)).all())
    yield Finding(
        "bins", inside, "within their chromosomes" if inside else "some reach beyond their chromosome"
    )
    yield from _check_labels(store, on_progress)


def _agree(store: Store) -> bool:
    windows, factors = store.windows, store.factors
    shapes = {
        schema.LABEL_BITS: (store.n_windows, schema.n_bytes(store.n_experiments)),
        schema.LABEL_BITS_BY_EXPERIMENT: (store.n_experiments, schema.n_bytes(store.n_windows)),
        schema.N_POSITIVE: (store.n_windows,),
        schema.END: (store.n_windows,),
        schema.EXPERIMENT: (store.n_experiments,),
    } | {
        f"{schema.SEQUENCE}/{chrom}": (size,)
        for chrom, size in zip(store.chroms, store.chrom_sizes, strict=True)
    }
    return (
        len(windows) == store.n_windows
        and all(store.array(name).shape == shape for name, shape in shapes.items())
        and len(store.experiments) == store.n_experiments
        and bool((store.read(schema.END) == windows.end).all())
        and all(
            store.array(factor.name).attrs.get("role") == (factor.role or "")
            and store.array(factor.name).attrs.get("kind") == factor.kind
            for factor in factors
        )
    )


def block_of_windows(width: int) -> int:
    """Choose how many windows are compared at a time, so that memory does not grow with the experiments."""
    fits = _BLOCK_BYTES // max(1, width) // _LEAST_WINDOWS * _LEAST_WINDOWS
    return max(_LEAST_WINDOWS, min(_MOST_WINDOWS, fits))


def _check_labels(store: Store, on_progress: OnProgress) -> Iterator[Finding]:
    """Count the labels of each window, and compare both orders, a block of windows at a time."""
    block = block_of_windows(schema.n_bytes(store.n_experiments))
    wrong_counts = 0
    wrong: set[int] = set()
    for begin in range(0, store.n_windows, block):
        end = min(begin + block, store.n_windows)
        rows = store.label_bits(begin, end)
        wrong_counts += int((count_positive(rows) != store.n_positive[begin:end]).sum())
        turned = np.zeros((store.n_experiments, schema.n_bytes(end - begin)), np.uint8)
        turn_rows(rows, turned)
        columns = slice(begin // 8, schema.n_bytes(end))
        lines = store.read(schema.LABEL_BITS_BY_EXPERIMENT, (slice(None), columns))
        wrong.update(np.flatnonzero((turned != lines).any(axis=1)).tolist())
        on_progress("labels", end, store.n_windows)
    yield Finding(
        "n_positive",
        not wrong_counts,
        f"{wrong_counts:,} windows have other counts"
        if wrong_counts
        else f"{int(store.n_positive.sum(dtype=np.int64)):,} positive pairs",
    )
    named = ", ".join(store.experiments[index] for index in sorted(wrong)[:5])
    yield Finding(
        "labels by experiment",
        not wrong,
        f"{len(wrong)} experiment(s) differ from labels by window: {named}"
        if wrong
        else "equal to labels by window",
    )
