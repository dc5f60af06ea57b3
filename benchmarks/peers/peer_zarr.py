"""The store as an array library opens it: rows at random by zarr, and batches by xarray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from peers.exchange import Exchange
from peers.serving import Contestant, serve

Arrays = tuple[NDArray[np.generic], NDArray[np.generic]]


class Batches:
    """Calls `read` for each batch of windows."""

    def __init__(
        self, read: Callable[[NDArray[np.int64]], Arrays], windows: NDArray[np.int64], batch_size: int
    ) -> None:
        self.read = read
        self.windows = [windows[at : at + batch_size] for at in range(0, len(windows), batch_size)]

    def __iter__(self) -> Iterator[Arrays]:
        return map(self.read, self.windows)


def prepare(exchange: Exchange) -> list[Contestant]:
    group = zarr.open_group(exchange.store, mode="r")
    label_bits = group["label_bits"]
    chroms, starts = exchange.intervals
    sequence = {chrom: group[f"sequence/{chrom}"] for chrom in set(chroms)}
    dataset = xr.open_dataset(exchange.store, engine="mfdstore", positions=exchange.positions)
    dataset = dataset[["sequence", "label"]].reset_coords(drop=True)

    def codes(windows: NDArray[np.int64]) -> NDArray[np.generic]:
        return np.stack(
            [sequence[chroms[at]][starts[at] : starts[at] + exchange.positions] for at in windows.tolist()]
        )

    def one_by_one(windows: NDArray[np.int64]) -> Arrays:
        rows = exchange.rows[windows].tolist()
        return codes(windows), np.stack([label_bits[row] for row in rows])

    def by_index(windows: NDArray[np.int64]) -> Arrays:
        return codes(windows), label_bits.oindex[exchange.rows[windows]]

    def by_xarray(windows: NDArray[np.int64]) -> Arrays:
        batch = dataset.isel(window=exchange.rows[windows])
        return batch["sequence"].to_numpy(), batch["label"].to_numpy()

    return [
        Contestant(
            name, "compact", f"codes of pairs, {labels}", "codes", exchange.n_each[speed],
            partial(Batches, read), lambda batch: batch,
        )
        for name, labels, speed, read in (
            ("zarr, one row at a time", "packed labels", "row", one_by_one),
            ("zarr, labels by one index a batch", "packed labels", "row", by_index),
            ("xarray, isel a batch", "labels as bool", "store", by_xarray),
        )
    ]  # fmt: skip


if __name__ == "__main__":
    serve(prepare, "zarr", "xarray", "numpy")
