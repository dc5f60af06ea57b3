"""The loader beside other loaders: the same windows, order and labels, in one run, in turns.

    python benchmarks/loader_peers.py --store S.zarr --fasta genome.fa --out benchmarks/results/loader_peers_X_YYYYMM.md

Other projects' loaders run in environments of their own, which are made at the first run (by pip, some minutes) and
kept in --environments. Every contestant is a process that stays alive and is asked for one turn after the other. What
each gives for the first windows is compared with the FASTA and the labels before anything is timed; a contestant that
cannot be installed, fails or differs is listed with the reason. --quick reads few windows, once.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import describe_machine
from peers.asking import Peer, PeerError
from peers.environments import GENVARLOADER, GRELU, SEQDATA, CannotInstall, Environment, ensure
from peers.exchange import Exchange
from peers.forms import Truth
from peers.sources import read_genome, write_exchange
from peers.tables import KINDS, Entry, list_passes, list_versions, tabulate

from mfdstore.store import Store

MODULES: dict[str, Environment | None] = {
    "peer_loader": None,
    "peer_memcpy": None,
    "peer_genvarloader": GENVARLOADER,
    "peer_seqdata": SEQDATA,
    "peer_grelu": GRELU,
    "peer_datasets": None,
    "peer_zarr": None,
}
"""Contestants' modules, and the environment of each; none for our own."""
STANDARDS = {"compact": "mfdstore, 2 threads", "expanded": "mfdstore, 2 threads, into memory at hand"}
TIMEOUT = 300.0
COMPARED_BATCH = 256


@dataclass(frozen=True)
class Scope:
    """How much is read.

    Parameters
    ----------
    n_windows
        Drawn from the store.
    n_each
        Of them, read by one pass, by the speed of the contestant.
    n_compared
        Handed over for comparison; as many as a pass reads, if those are fewer.
    batch_sizes
        Timed.
    seconds
        A turn repeats passes until so many are over.
    turns
        Timed, after one that warms up.
    """

    n_windows: int
    n_each: dict[str, int]
    n_compared: int
    batch_sizes: tuple[int, ...]
    seconds: float
    turns: int


def scope_of(turns: int, *, quick: bool) -> Scope:
    if quick:
        few = {"fast": 8192, "expanded": 2048, "dataset": 512, "tokens": 256, "store": 256, "row": 64}
        return Scope(8192, few, 256, (256,), 0.02, 1)
    each = {
        "fast": 131_072, "expanded": 32_768, "dataset": 8192, "tokens": 4096, "store": 1024, "row": 256,
    }  # fmt: skip
    return Scope(131_072, each, 1024, (1024, 256), 0.5, turns)


class Race:
    """All peers that run, their contestants, and the reasons of those that do not."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.entries: list[tuple[Peer, Entry]] = []
        self.versions: dict[str, tuple[str, dict[str, str]]] = {}
        self.missing: list[tuple[str, str]] = []
        self.stopped: set[str] = set()
        self.draw = random.Random(0)  # of the order within a turn
        self.started = time.perf_counter()

    def give_up(self, what: str, reason: Exception | str) -> None:
        """Note a reason, for the results and now."""
        self.note(f"{what}: {reason}")
        self.missing.append((what, str(reason)))

    def note(self, what: str) -> None:
        """Tell on stderr how far it is."""
        print(f"{time.perf_counter() - self.started:5.0f} s  {what}", file=sys.stderr, flush=True)

    def start(self, folder: Path, pythons: dict[str, Path]) -> list[tuple[Peer, dict[str, Any]]]:
        """Start all; they set themselves up side by side, and tell which contestants they have."""
        for module, python in pythons.items():
            peer = Peer(module, python, folder, own=MODULES[module] is None)
            self.peers.append(peer)
            peer.tell({"do": "hello"})
        found = []
        for peer in self.peers:
            try:
                said = peer.hear(TIMEOUT)
            except PeerError as error:
                self.give_up(peer.module, error)
                continue
            self.versions[peer.module] = said["python"], said["versions"]
            found += [(peer, contestant) for contestant in said["contestants"]]
            self.note(f"{peer.module} is ready")
        return found

    def compare(self, found: list[tuple[Peer, dict[str, Any]]], truth: Truth) -> None:
        """Keep the contestants whose windows are the same as those of the FASTA and the labels."""
        for peer, said in found:
            entry = Entry(
                *(said[name] for name in ("name", "kind", "gives", "augments", "n_windows", "n_bytes"))
            )
            if said["form"] is not None:
                question = {"do": "hand over", "name": entry.name}
                n_windows = min(truth.n_windows, entry.n_windows)
                amount = {"n_windows": n_windows, "batch_size": truth.batch_size}
                try:
                    given = peer.ask(question | amount, TIMEOUT)
                    difference, entry.n_bytes = truth.find_difference(
                        said["form"],
                        Path(given["sequence"]),
                        given["labels"] and Path(given["labels"]),
                        n_windows=n_windows,
                        sorted_in_batch=said["sorted_in_batch"],
                    )
                except (PeerError, ValueError) as error:
                    self.give_up(entry.name, error)
                    continue
                if difference:
                    self.give_up(entry.name, f"gives {difference}: not timed")
                    continue
                self.note(f"{entry.name}: equal")
            self.entries.append((peer, entry))

    def turn(self, batch_size: int, seconds: float, *, timed: bool) -> None:
        """Ask every contestant for one turn, each time in another order."""
        for peer, entry in self.draw.sample(self.entries, len(self.entries)):
            if entry.name in self.stopped:
                continue
            question: dict[str, Any] = {
                "do": "turn",
                "name": entry.name,
                "batch_size": batch_size,
                "seconds": seconds,
            }
            try:
                said = peer.ask(question, TIMEOUT)
            except PeerError as error:
                self.give_up(f"{entry.name}, batches of {batch_size}", error)
                self.stopped.add(entry.name)
                continue
            if timed:
                entry.speeds.setdefault(batch_size, []).append(said["windows"] / said["seconds"])


@contextmanager
def racing() -> Iterator[Race]:
    race = Race()
    try:
        yield race
    finally:
        for peer in race.peers:
            peer.close()


def install(folder: Path) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    """Make the environments; gives the Python of each module, and why some have none."""
    pythons, missing = {}, []
    for module, environment in MODULES.items():
        try:
            pythons[module] = ensure(environment, folder) if environment else Path(sys.executable)
        except CannotInstall as error:
            missing.append((module, str(error)))
    return pythons, missing


def describe(store: Store, exchange: Exchange, scope: Scope, race: Race, load: float) -> list[str]:
    entries = [entry for _, entry in race.entries]
    missing = [f"- {what}: {reason}" for what, reason in race.missing] or ["All ran."]
    return [
        "# Loaders side by side, in windows per second",
        "",
        *describe_machine("numpy", "torch", "numba", "zarr", "xarray"),
        f"Load average {load:.1f} at the start.",
        "",
        f"Store: {store.n_windows:,} windows, {store.n_experiments:,} experiments, {sum(store.chrom_sizes):,} bp. "
        f"{len(exchange.rows):,} windows of {exchange.positions:,} positions were drawn from it, of those that lie "
        "inside their chromosome, and an order in which all contestants read them: the first ones of it, "
        "as many as stand here.",
        "",
        *list_passes(entries),
        "",
        f"Before timing, the first {scope.n_compared:,} windows of each contestant, or all that it reads, were "
        f"compared with the letters of the FASTA and with the labels, in batches of {COMPARED_BATCH}: equal in "
        "every number (bytes and one-hot of bases by the pairs that they make).",
        "",
        f"Medians of {scope.turns} turns, every contestant in each, in an order drawn for each. A turn is passes "
        f"over the windows until {scope.seconds} s are over; what starts with a pass is within the time. Each "
        "project has a process that stays alive; workers of DataLoaders are persistent and were started before. "
        "Memory at hand is one batch, filled again and again. GB/s counts what is handed over. SeqData sorts the "
        "windows of a batch.",
        "",
        "Not run, or not to the end:",
        "",
        *missing,
        "",
        "Versions:",
        "",
        *list_versions(race.versions),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="a built store")
    parser.add_argument("--fasta", type=Path, help="the FASTA it was built from")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path("peer-environments"),
        help="folder of the peers' environments",
    )
    parser.add_argument("--turns", type=int, default=5, help="each with every contestant")
    parser.add_argument("--quick", action="store_true", help="few windows, one turn: does it work at all?")
    parser.add_argument("--install-only", action="store_true", help="make the environments and stop")
    options = parser.parse_args()
    pythons, missing = install(options.environments.resolve())
    if options.install_only:
        sys.exit("\n".join(f"{what}: {reason}" for what, reason in missing) or 0)
    if not (options.store and options.fasta and options.out):
        parser.error("--store, --fasta and --out are needed")
    load = os.getloadavg()[0]
    scope = scope_of(options.turns, quick=options.quick)
    store = Store(options.store)
    with tempfile.TemporaryDirectory(prefix="loader-peers-") as name, racing() as race:
        race.missing += missing
        genome = read_genome(options.fasta, store)
        folder = Path(name)
        exchange = write_exchange(folder, store, genome, n_windows=scope.n_windows, n_each=scope.n_each)
        truth = Truth(exchange, genome, min(scope.n_compared, len(exchange.rows)), COMPARED_BATCH)
        race.note("windows are drawn and written")
        race.compare(race.start(folder, pythons), truth)
        del genome, truth
        for turn in range(scope.turns + 1):
            for batch_size in scope.batch_sizes:
                race.turn(batch_size, scope.seconds, timed=turn > 0)
            race.note(f"turn {turn} of {scope.turns}" if turn else "warm")
        entries = [entry for _, entry in race.entries]
        lines = describe(store, exchange, scope, race, load)
    for batch_size in scope.batch_sizes:
        lines += [f"## Batches of {batch_size}", ""]
        for kind in KINDS:
            lines += tabulate(entries, batch_size, kind, STANDARDS[kind])
    text = "\n".join(lines)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
