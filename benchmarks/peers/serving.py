"""A contestant's side: does what the driver asks by lines on stdin, and answers by lines of JSON.

Nothing runs between two questions but what the contestant's own threads and workers do by themselves.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers.exchange import Exchange, read_exchange


@dataclass(frozen=True)
class Contestant:
    """One way to get windows.

    Parameters
    ----------
    name
        In the tables.
    kind
        ``compact``, or ``expanded`` to numbers that a network reads.
    gives
        Sequence and labels in words.
    form
        Of the sequence, a key of `forms.FORMS`; none if it has no windows (memcpy).
    n_windows
        Read by one pass: the first ones of the order.
    open
        Takes windows (places in the exchange) and a batch size; gives what may be iterated again and again, one
        pass over the batches each time.
    unpack
        Turns one batch into arrays: sequence, and labels (packed bits, or a number an experiment) or `None`.
    sorted_in_batch
        Whether it sorts the windows of a batch.
    augments
        Whether strand and shift could be drawn for each window, in words for the table.
    n_bytes
        Of a window, where that is not seen from the batches.
    """

    name: str
    kind: str
    gives: str
    form: str | None
    n_windows: int
    open: Callable[[NDArray[np.int64], int], Iterable[Any]]
    unpack: Callable[[Any], tuple[Any, Any]]
    sorted_in_batch: bool = False
    augments: str = "none"
    n_bytes: int = 0


class Server:
    """Answers the driver's questions about the contestants of one module."""

    def __init__(
        self, exchange: Exchange, contestants: Sequence[Contestant], packages: Sequence[str]
    ) -> None:
        self.exchange = exchange
        self.contestants = {contestant.name: contestant for contestant in contestants}
        assert len(self.contestants) == len(contestants)
        self.packages = packages
        self.opened: dict[tuple[str, int], Iterable[Any]] = {}

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Do what a question asks."""
        if asked["do"] == "hello":
            return self.hello()
        contestant = self.contestants[asked["name"]]
        if asked["do"] == "hand over":
            return self.hand_over(contestant, asked["n_windows"], asked["batch_size"])
        return self.turn(contestant, asked["batch_size"], asked["seconds"])

    def hello(self) -> dict[str, Any]:
        """Tell who there is."""
        fields = ("name", "kind", "gives", "form", "n_windows", "sorted_in_batch", "augments", "n_bytes")
        return {
            "contestants": [
                {field: getattr(contestant, field) for field in fields}
                for contestant in self.contestants.values()
            ],
            "versions": {name: version(name) for name in self.packages},
            "python": platform.python_version(),
        }

    def hand_over(self, contestant: Contestant, n_windows: int, batch_size: int) -> dict[str, Any]:
        """Write the first windows, in the contestant's own encoding, where the driver finds them."""
        sequences, labels = [], []
        for batch in contestant.open(self.exchange.order[:n_windows], batch_size):
            sequence, these = contestant.unpack(batch)
            sequences.append(np.array(sequence))
            if these is not None:
                labels.append(np.array(these))
        paths = {"sequence": self.exchange.folder / "sequence.npy", "labels": None}
        np.save(paths["sequence"], np.concatenate(sequences))
        if labels:
            paths["labels"] = self.exchange.folder / "labels.npy"
            np.save(paths["labels"], np.concatenate(labels))
        return {name: path and str(path) for name, path in paths.items()}

    def turn(self, contestant: Contestant, batch_size: int, seconds: float) -> dict[str, Any]:
        """Read whole passes until so many seconds are over; what starts with a pass is within the time."""
        key = contestant.name, batch_size
        if key not in self.opened:
            windows = self.exchange.order[: contestant.n_windows]
            self.opened[key] = contestant.open(windows, batch_size)
        batches = self.opened[key]
        n_passes = n_batches = 0
        started = time.perf_counter()
        while True:
            for _ in batches:
                n_batches += 1
            n_passes += 1
            taken = time.perf_counter() - started
            if taken >= seconds:
                break
        expected = n_passes * -(-contestant.n_windows // batch_size)
        if n_batches != expected:
            raise RuntimeError(f"{n_batches} batches were given where {expected} were asked for")
        return {"seconds": taken, "windows": n_passes * contestant.n_windows}


def serve(prepare: Callable[[Exchange], Sequence[Contestant]], *packages: str) -> None:
    """Answer questions until there are none.

    Parameters
    ----------
    prepare
        Sets up the contestants; not timed.
    packages
        Whose versions are told.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer

    def reply(said: dict[str, Any]) -> None:
        print(json.dumps(said), file=replies, flush=True)

    server: Server | None = None
    for line in sys.stdin:
        try:
            if server is None:
                exchange = read_exchange(Path(sys.argv[1]))
                server = Server(exchange, prepare(exchange), packages)
            reply(server.answer(json.loads(line)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver lists it
            traceback.print_exc()
            reply({"error": f"{type(error).__name__}: {error}"})
