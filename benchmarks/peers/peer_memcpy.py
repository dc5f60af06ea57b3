"""Copying as many bytes as the loader hands over, piece by piece into memory at hand: what no loader can outrun."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from peers.exchange import Exchange
from peers.serving import Contestant, serve


class Copies:
    """One pass copies `n_batches` pieces of a source, over and over if it has fewer; each thread a part of each."""

    def __init__(self, source: NDArray[np.uint8], piece: int, n_batches: int, threads: int) -> None:
        self.source = source
        self.target = np.zeros(piece, np.uint8)
        self.n_batches = n_batches
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads)

    def copy(self, thread: int) -> None:
        """Copy one thread's part of all pieces."""
        piece = len(self.target)
        part = slice(thread * piece // self.threads, (thread + 1) * piece // self.threads)
        n_pieces = len(self.source) // piece
        for batch in range(self.n_batches):
            first = batch % n_pieces * piece
            self.target[part] = self.source[first + part.start : first + part.stop]

    def __iter__(self) -> Iterator[None]:
        if self.threads == 1:
            self.copy(0)
        else:
            for done in [self.pool.submit(self.copy, thread) for thread in range(self.threads)]:
                done.result()
        yield from [None] * self.n_batches


def prepare(exchange: Exchange) -> list[Contestant]:
    compact = exchange.positions + exchange.label_bits.shape[1]
    floats = 4 * (16 * exchange.positions + exchange.n_experiments)

    def copies(
        windows: NDArray[np.int64], batch_size: int, *, width: int, at_once: int | None, threads: int
    ) -> Copies:
        piece = batch_size * width
        n_batches = -(-len(windows) // batch_size)
        return Copies(np.ones(piece * (at_once or n_batches), np.uint8), piece, n_batches, threads)

    return [
        Contestant(
            f"memcpy of the {kind} bytes, {threads} thread{'s' * (threads > 1)}",
            kind,
            "as many bytes as mfdstore",
            None,
            exchange.n_each[speed],
            partial(copies, width=width, at_once=at_once, threads=threads),
            lambda batch: batch,
            augments="",
            n_bytes=width,
        )
        for kind, speed, width, at_once in (
            ("compact", "fast", compact, None),
            ("expanded", "expanded", floats, 1),
        )
        for threads in (1, 2)
    ]


if __name__ == "__main__":
    serve(prepare, "numpy")
