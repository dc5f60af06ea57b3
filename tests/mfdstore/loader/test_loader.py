"""Judges of the loader: windows cut from strings, the sampler's order, files that others made."""

from __future__ import annotations

import csv
import gzip
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildSettings, Sources
from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader import Batch, Loader, RamData
from mfdstore.loader import epoch as epoch_module
from mfdstore.loader.kernels import augment
from mfdstore.sampler.draws import draw_augmentation
from mfdstore.sampler.order import FullShuffle
from mfdstore.store import Store

BIN = 128


def everything(batches: Iterator[Batch] | Loader) -> tuple[Tensor, Tensor, Tensor]:
    parts = list(batches)
    return (
        torch.cat([batch.codes for batch in parts]),
        torch.cat([batch.label_bits for batch in parts]),
        torch.cat([batch.window for batch in parts]),
    )


def assert_same(one: Iterator[Batch] | Loader, two: Iterator[Batch] | Loader) -> None:
    for left, right in itertools.zip_longest(one, two):
        assert torch.equal(left.codes, right.codes)
        assert torch.equal(left.label_bits, right.label_bits)
        assert torch.equal(left.window, right.window)


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mfdstore-loader")]


# what is in a batch


@given(
    seed=st.integers(0, 1000),
    positions=st.one_of(st.integers(1, 400), st.just(1152)),
    max_shift=st.integers(0, 20),
    strand=st.sampled_from(["forward", "reverse", "random"]),
    batch_size=st.integers(1, 30),
)
def test_loader__cuts_windows_as_from_a_string(
    new_store: Any,
    seed: int,
    positions: int,
    max_shift: int,
    strand: Literal["forward", "reverse", "random"],
    batch_size: int,
) -> None:
    store = new_store({"chr1": 500, "chr2": BIN, "chr3": 1500}, n_windows=12, n_experiments=9, seed=seed)
    loader = Loader(
        store,
        batch_size=batch_size,
        positions=positions,
        strand=strand,
        max_shift=max_shift,
        shuffle=True,
        seed=seed,
        threads=seed % 2,
    )
    codes, label_bits, window = everything(loader)
    assert sorted(window.tolist()) == list(range(12))
    drawn = draw_augmentation(window.numpy(), seed=seed, epoch=0, max_shift=max_shift)
    for i, row in enumerate(window.tolist()):
        reverse = bool(drawn.reverse[i]) if strand == "random" else strand == "reverse"
        expected = store.expected(row, positions=positions, shift=int(drawn.shift[i]), reverse=reverse)
        assert codes[i].tolist() == expected
    np.testing.assert_array_equal(
        np.unpackbits(label_bits.numpy(), axis=1, count=9).astype(bool), store.label[window.numpy()]
    )


def test_batches__that_are_kept_do_not_change(store: Any) -> None:
    loader = Loader(store, batch_size=16, positions=100, shuffle=True)
    kept = list(loader)
    copies = [batch.codes.clone() for batch in kept]
    for batch in loader:
        batch.codes.fill_(99)
        batch.label_bits.fill_(99)
        batch.window.fill_(99)
    assert all(torch.equal(batch.codes, copy) for batch, copy in zip(kept, copies, strict=True))
    loader.set_epoch(0)
    assert_same(iter(kept), loader)


# which windows, in which order


def test_loader__follows_the_order_of_the_sampler(store: Any) -> None:
    loader = Loader(store, batch_size=32, positions=10, shuffle=True, seed=4)
    loader.set_epoch(3)
    assert (
        everything(loader)[2].tolist() == FullShuffle(np.arange(300), seed=4, epoch=3).at(range(300)).tolist()
    )


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("ahead", [1, 2, 16])
@pytest.mark.parametrize("batch_size", [1, 7, 2100])
def test_loader__gives_the_same_whatever_assembles_it(
    store: Any, threads: int, ahead: int, batch_size: int
) -> None:
    options: dict[str, Any] = {
        "positions": 60,
        "strand": "random",
        "max_shift": 3,
        "shuffle": True,
        "seed": 8,
    }
    got = list(Loader(store, batch_size=batch_size, threads=threads, ahead=ahead, **options))
    whole = everything(Loader(store, batch_size=300, threads=0, **options))
    assert [len(batch) for batch in got][:-1] == [batch_size] * (len(got) - 1)
    for left, right in zip(everything(iter(got)), whole, strict=True):
        assert torch.equal(left, right)


def test_loader__same_seed_same_bytes_and_two_seeds_differ(store: Any) -> None:
    options: dict[str, Any] = {"batch_size": 50, "positions": 60, "strand": "random", "shuffle": True}
    assert_same(Loader(store, seed=1, **options), Loader(store, seed=1, **options))
    assert not torch.equal(
        everything(Loader(store, seed=1, **options))[2], everything(Loader(store, seed=2, **options))[2]
    )


def test_loader__draws_anew_each_epoch_and_again_when_asked(store: Any) -> None:
    loader = Loader(store, batch_size=50, positions=60, strand="random", max_shift=3)
    first, second = list(loader), list(loader)
    assert [batch.window.tolist() for batch in first] == [batch.window.tolist() for batch in second]
    assert not all(torch.equal(a.codes, b.codes) for a, b in zip(first, second, strict=True))
    loader.set_epoch(0)
    assert_same(loader, iter(first))
    assert_same(loader, iter(second))


def test_loader__an_epoch_that_was_left_early_is_not_given_again(store: Any) -> None:
    loader = Loader(store, batch_size=50, positions=10, shuffle=True, seed=4)
    starts = [next(iter(loader)).window.tolist() for _ in range(3)]
    for epoch, start in enumerate(starts):
        assert start == FullShuffle(np.arange(300), seed=4, epoch=epoch).at(range(50)).tolist()


@given(
    world_size=st.integers(1, 5),
    batch_size=st.integers(1, 20),
    drop_last=st.booleans(),
    shuffle=st.booleans(),
)
def test_loader__ranks_read_every_window_once(
    store: Any, world_size: int, batch_size: int, drop_last: bool, shuffle: bool
) -> None:
    data = RamData(store)
    loaders = [
        Loader(
            store,
            split="valid",
            batch_size=batch_size,
            positions=10,
            drop_last=drop_last,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
            threads=0,
            data=data,
        )
        for rank in range(world_size)
    ]
    read = [[batch.window.tolist() for batch in loader] for loader in loaders]
    assert [len(batches) for batches in read] == [len(loader) for loader in loaders]
    rows = [row for batches in read for batch in batches for row in batch]
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(100, 200))
    if drop_last:
        assert {len(batch) for batches in read for batch in batches} == {batch_size}
        assert len({len(batches) for batches in read}) == 1
        assert len(rows) > 100 - world_size * batch_size
    else:
        assert len(rows) == 100


@pytest.mark.parametrize("start_batch", [0, 1, 5, 10])
def test_loader__goes_on_where_a_run_stopped(store: Any, start_batch: int) -> None:
    options: dict[str, Any] = {"batch_size": 32, "positions": 60, "strand": "random", "shuffle": True}
    whole = Loader(store, **options)
    whole.set_epoch(2)
    resumed = Loader(store, **options)
    resumed.set_epoch(2, start_batch=start_batch)
    # as trainers count: with the batches that were given before
    assert len(resumed) == len(whole) == 10
    assert_same(resumed, itertools.islice(whole, start_batch, None))


def test_loader__keeps_the_order_of_given_rows(store: Any) -> None:
    rows = np.array([5, 3, 299, 3])
    assert everything(Loader(store, rows=rows, batch_size=3, positions=10))[2].tolist() == rows.tolist()


@pytest.mark.parametrize(("split", "rows"), [("train", range(100)), ("test", range(200, 300))])
def test_loader__reads_the_windows_of_a_split(
    store: Any, split: Literal["train", "test"], rows: range
) -> None:
    got = everything(Loader(store, split=split, batch_size=64, positions=10))[2]
    assert got.tolist() == list(rows)


# threads


def test_loader__leaves_no_thread_when_done_or_left_early(store: Any) -> None:
    loader = Loader(store, batch_size=4, positions=10)
    iterator = iter(loader)
    next(iterator)
    assert loader_threads()
    list(iterator)
    assert not loader_threads()
    for _ in loader:
        break
    assert not loader_threads()
    with pytest.raises(KeyboardInterrupt):
        interrupt(loader)
    assert not loader_threads()


def small_pieces(store: Any) -> RamData:
    """Have each batch cut by itself, as pieces of a real store's size have more windows than the test's store."""
    data = RamData(store)
    data.windows_a_piece, data.pieces_ahead = 4, 1
    return data


def interrupt(loader: Loader) -> None:
    for _ in loader:
        raise KeyboardInterrupt


def test_loader__two_iterators_do_not_disturb_each_other(store: Any) -> None:
    loader = Loader(store, batch_size=4, positions=10, shuffle=True, strand="random")
    one = iter(loader)
    first = next(one).window
    loader.set_epoch(0)
    two = iter(loader)
    assert torch.equal(next(two).window, first)
    three = iter(loader)
    assert not torch.equal(next(three).window, first)
    assert_same(one, two)


def test_loader__a_fault_in_a_thread_reaches_the_consumer(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Loader(store, batch_size=4, positions=10, ahead=2, data=small_pieces(store))

    def fail_later(tickets: NDArray[np.int64], *others: Any) -> None:
        if 40 in tickets:
            raise MemoryError("planted")
        augment(tickets, *others)

    monkeypatch.setattr(epoch_module, "augment", fail_later)
    seen: list[list[int]] = []
    with pytest.raises(MemoryError, match="planted"):
        seen.extend(batch.window.tolist() for batch in loader)
    assert list(itertools.chain.from_iterable(seen)) == list(range(40))
    assert not loader_threads()


def test_loader__runs_ahead_but_not_away(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader(store, batch_size=4, positions=10, ahead=4, threads=2, data=small_pieces(store))
    assembled: list[int] = []

    def count(tickets: NDArray[np.int64], *others: Any) -> None:
        assembled.append(len(tickets) // 4)
        augment(tickets, *others)

    monkeypatch.setattr(epoch_module, "augment", count)
    iterator = iter(loader)
    next(iterator)
    deadline = time.monotonic() + 10
    while sum(assembled) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    # the batch in hand and four ahead
    assert sum(assembled) == 5
    iterator.close()  # type: ignore[attr-defined]


# faults


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("positions", 0),
        ("max_shift", -1),
        ("threads", -1),
        ("ahead", 0),
        ("strand", "both"),
    ],
)
def test_loader__refuses_an_option_out_of_range(store: Any, option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{option}: found '?{value}"):
        Loader(store, **{"batch_size": 8, option: value})


def test_loader__refuses_a_split_without_windows(store: Any) -> None:
    with pytest.raises(StoreError, match="no window in split gap"):
        Loader(store, split="gap", batch_size=8)


@pytest.mark.parametrize("rows", [[-1], [0, 300], np.array([1 << 63], np.uint64)])
def test_loader__refuses_rows_that_are_not_there(store: Any, rows: Any) -> None:
    with pytest.raises(StoreError, match="expected rows from 0 to 299"):
        Loader(store, rows=np.array(rows), batch_size=8)


@pytest.mark.parametrize("rows", [[True, False, True], [1.7, 2.2], ["1"], [[1, 2]], 7])
def test_loader__refuses_rows_that_are_no_integers(store: Any, rows: Any) -> None:
    with pytest.raises(ConfigError, match="rows: found an array of"):
        Loader(store, rows=np.array(rows), batch_size=2)


def test_loader__refuses_a_split_that_no_store_has(store: Any) -> None:
    with pytest.raises(ConfigError, match="split: found 'tset'; expected one of train, valid, test, gap"):
        Loader(store, split="tset", batch_size=8)  # type: ignore[arg-type]


def test_loader__refuses_data_of_another_store(store: Any, new_store: Any) -> None:
    other = new_store({"chr1": 900, "chr2": 400, "chrX": 2000}, n_windows=300, seed=1)
    with pytest.raises(StoreError, match=other.digest[:12]):
        Loader(store, batch_size=8, data=RamData(other))


def test_loader__refuses_no_rows_at_all(store: Any) -> None:
    with pytest.raises(StoreError, match="no window in rows"):
        Loader(store, rows=np.array([], np.int64), batch_size=8)


def test_loader__refuses_a_split_and_rows_together(store: Any) -> None:
    with pytest.raises(ValueError, match="not both"):
        Loader(store, split="train", rows=np.arange(3), batch_size=8)


def test_loader__refuses_a_rank_outside_its_world(store: Any) -> None:
    with pytest.raises(ValueError, match="rank 2 is not one of 2"):
        Loader(store, batch_size=8, rank=2, world_size=2)


def test_loader__refuses_to_give_no_batch(store: Any) -> None:
    with pytest.raises(ConfigError, match="at least one batch of the 300 windows"):
        Loader(store, batch_size=301, drop_last=True)
    with pytest.raises(ConfigError, match="at least one batch of the 3 windows"):
        Loader(store, rows=np.arange(3), batch_size=1, rank=3, world_size=4, drop_last=True)
    shares = [
        [
            batch.window.tolist()
            for batch in Loader(store, rows=np.arange(3), batch_size=1, rank=rank, world_size=4)
        ]
        for rank in range(4)
    ]
    assert sorted(map(len, shares)) == [0, 1, 1, 1]


@pytest.mark.parametrize(("epoch", "start_batch"), [(-1, 0), (0, -1), (0, 11)])
def test_set_epoch__refuses_what_is_not_there(store: Any, epoch: int, start_batch: int) -> None:
    loader = Loader(store, batch_size=30, positions=10)
    with pytest.raises(ValueError, match=f"epoch {epoch} cannot begin at batch {start_batch} of 10"):
        loader.set_epoch(epoch, start_batch=start_batch)


# real data


@pytest.mark.real
def test_loader__gives_what_the_released_format_holds(
    real_data: Path, real_fasta: Path, tmp_path: Path
) -> None:
    """A store built from peak files gives the windows and labels that others' loaders read from theirs."""
    chr22 = real_data / "hg38-chr22"
    sources = Sources(real_fasta, chr22 / "peaks", chr22 / "metadata.tsv", chr22 / "experiment_report.tsv")
    settings = BuildSettings("hg38", chroms=("chr22",), blocks=(0.8, 0.1, 0.1))
    build_store(sources, tmp_path / "chr22.zarr", settings)
    store = Store(tmp_path / "chr22.zarr")
    release = real_data / "mfd-release"
    with gzip.open(release / "regions.bed.gz", "rt") as bed:
        starts = [int(line.split("\t")[1]) for line in bed]
    assert store.windows.start.tolist() == starts
    with np.load(release / "expected.npz") as golden:
        expected = {name: golden[name] for name in golden.files}
    data = RamData(store)
    rows = expected["rows"]
    forward = next(iter(Loader(store, rows=rows, batch_size=len(rows), data=data)))
    reverse = next(iter(Loader(store, rows=rows, batch_size=len(rows), strand="reverse", data=data)))
    np.testing.assert_array_equal(forward.codes.numpy(), expected["codes"])
    np.testing.assert_array_equal(reverse.codes.numpy(), expected["codes_reverse_complement"])
    with (release / "metadata.tsv").open(encoding="utf-8") as table:
        accessions = [line["File.accession"] for line in csv.DictReader(table, delimiter="\t")]
    labels = forward.labels(store.n_experiments, torch.bool).numpy()
    columns = [store.experiments.index(accession) for accession in accessions]
    released = np.unpackbits(expected["labels"], axis=1, count=len(accessions)).astype(bool)
    np.testing.assert_array_equal(labels[:, columns], released)


@pytest.mark.real
def test_loader__cuts_a_real_sequence_as_from_a_string(real_data: Path, new_store: Any) -> None:
    with gzip.open(real_data / "hg38-chr22" / "hg38.chr22.fa.gz", "rt") as fasta:
        lines = fasta.read(12_000_000).split("\n")[1:]
    bases = "".join(lines)[10_400_000:11_400_000]  # begins unknown, has gaps
    store = new_store({"chr22": len(bases)}, n_windows=200)
    store.genome = {"chr22": bases}
    codes, _, window = everything(Loader(store, batch_size=64, strand="random", max_shift=3, shuffle=True))
    drawn = draw_augmentation(window.numpy(), seed=0, epoch=0, max_shift=3)
    for i, row in enumerate(window.tolist()):
        shift, reverse = int(drawn.shift[i]), bool(drawn.reverse[i])
        assert codes[i].tolist() == store.expected(row, positions=1152, shift=shift, reverse=reverse)
