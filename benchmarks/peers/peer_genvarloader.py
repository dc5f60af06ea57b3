"""GenVarLoader: bases of the reference from RAM, by its threads.

Windows of the reference alone come from a `RefDataset`, indexed by a batch of windows, or, with less between, from
`Reference.fetch`; its `to_dataloader` wraps the first in torch's DataLoader and is slower. It has no labels of
this kind: packed ones are joined to its windows by one index a batch. What it gives are bases; `seqpro`, its sister
package, makes them one-hot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import genvarloader as gvl
import numpy as np
import polars as pl
import seqpro as sp
from numpy.typing import NDArray

from peers.exchange import Exchange
from peers.pairs import expand_pairs
from peers.serving import Contestant, serve

Windows = NDArray[np.int64]


class Batches:
    """Calls `read` for each batch of windows, with memory that is filled anew each time."""

    def __init__(self, read: Callable[..., Any], windows: Windows, batch_size: int, *memory: Any) -> None:
        self.read = read
        self.windows = [windows[at : at + batch_size] for at in range(0, len(windows), batch_size)]
        self.memory = memory

    def __iter__(self) -> Iterator[Any]:
        for windows in self.windows:
            yield self.read(windows, *(array[: len(windows)] for array in self.memory))


def prepare(exchange: Exchange) -> list[Contestant]:
    n_bases, n_experiments = exchange.n_bases, exchange.n_experiments
    chroms, starts = exchange.intervals
    ends = starts + n_bases
    label_bits = exchange.label_bits
    reference = gvl.Reference.from_path(exchange.fasta)
    regions = pl.DataFrame({"chrom": chroms, "chromStart": starts, "chromEnd": ends})
    dataset = gvl.RefDataset(reference, regions).with_len(n_bases)
    chrom = np.asarray(reference.c_map.c_idxs(chroms))
    channels = np.zeros((256, 4), np.float32)
    channels[np.frombuffer(b"ACGT", np.uint8)] = np.eye(4)

    def fetch(windows: Windows) -> NDArray[np.uint8]:
        found = reference.fetch(chrom[windows], starts[windows], ends[windows])
        return found.data.view(np.uint8).reshape(len(windows), n_bases)

    def fetch_labelled(windows: Windows) -> tuple[Any, Any]:
        return fetch(windows), label_bits.take(windows, axis=0)

    def unpack_labels(windows: Windows, out: NDArray[np.float32]) -> None:
        out[...] = np.unpackbits(label_bits.take(windows, axis=0), axis=1, count=n_experiments)

    def expand(windows: Windows, one_hot: NDArray[Any], labels: NDArray[Any]) -> tuple[Any, Any]:
        one_hot[...] = sp.DNA.ohe(fetch(windows).view("S1"))
        unpack_labels(windows, labels)
        return one_hot, labels

    def expand_by_table(windows: Windows, one_hot: NDArray[Any], labels: NDArray[Any]) -> tuple[Any, Any]:
        np.take(channels, fetch(windows), axis=0, out=one_hot, mode="clip")
        unpack_labels(windows, labels)
        return one_hot, labels

    def expand_to_pairs(windows: Windows, one_hot: NDArray[Any], labels: NDArray[Any]) -> tuple[Any, Any]:
        expand_pairs(fetch(windows), one_hot)
        unpack_labels(windows, labels)
        return one_hot, labels

    def expanded(
        read: Callable[..., Any], length: int = n_bases, n_channels: int = 4
    ) -> Callable[[Windows, int], Batches]:
        def open_batches(windows: Windows, batch_size: int) -> Batches:
            one_hot = np.empty((batch_size, length, n_channels), np.float32)
            return Batches(
                read, windows, batch_size, one_hot, np.empty((batch_size, n_experiments), np.float32)
            )

        return open_batches

    def compact(read: Callable[..., Any]) -> Callable[[Windows, int], Batches]:
        return lambda windows, batch_size: Batches(read, windows, batch_size)

    augments = "strand by table, shift"
    fast, slower = exchange.n_each["fast"], exchange.n_each["expanded"]
    return [
        Contestant(
            "GenVarLoader, RefDataset", "compact", "bases, no labels", "bases", fast,
            compact(dataset.__getitem__), lambda batch: (batch, None), augments=augments,
        ),
        Contestant(
            "GenVarLoader, Reference.fetch", "compact", "bases, no labels", "bases", fast,
            compact(fetch), lambda batch: (batch, None),
        ),
        Contestant(
            "GenVarLoader, Reference.fetch, labels joined", "compact", "bases, packed labels", "bases", fast,
            compact(fetch_labelled), lambda batch: batch,
        ),
        Contestant(
            "GenVarLoader, seqpro's one-hot, labels joined", "expanded", "one-hot of 4 bases and labels, float32",
            "bases, channels last", slower, expanded(expand), lambda batch: batch,
        ),
        Contestant(
            "GenVarLoader, one-hot by numpy's take, labels joined", "expanded",
            "one-hot of 4 bases and labels, float32", "bases, channels last", slower, expanded(expand_by_table),
            lambda batch: batch,
        ),
        Contestant(
            "GenVarLoader, one-hot of pairs by numpy's take, labels joined", "expanded",
            "one-hot of 16 pairs and labels, float32", "pairs, channels last", slower,
            expanded(expand_to_pairs, exchange.positions, 16), lambda batch: batch,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    serve(prepare, "genvarloader", "seqpro", "numpy")
