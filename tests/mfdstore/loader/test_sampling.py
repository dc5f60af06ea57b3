"""Judges of the samplings: counts by hand, numpy's masks, the expected shares."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader import Loader
from mfdstore.loader.sampling import by_group, by_weight, in_regions, with_negatives
from mfdstore.loader.samplings import ByWeight, EachOnce, Sampling


def rows_of(sampling: Sampling, n_rows: int, *, seed: int = 0, epoch: int = 0) -> list[int]:
    return (sampling.tickets(seed=seed, epoch=epoch) % n_rows).tolist()


@given(
    weights=st.lists(st.floats(0, 100), min_size=1, max_size=30).filter(lambda given: sum(given) > 1e-6),
    n_windows=st.integers(1, 200),
    epoch=st.integers(0, 100),
)
def test_by_weight__gives_each_window_floor_or_ceil_of_its_share(
    store: Any, weights: list[float], n_windows: int, epoch: int
) -> None:
    rows = np.arange(len(weights)) * 3
    sampling = ByWeight(store, rows, np.array(weights), n_windows)
    got = Counter(rows_of(sampling, 300, epoch=epoch))
    assert sum(got.values()) == n_windows == sampling.n_windows
    for row, weight in zip(rows.tolist(), weights, strict=True):
        assert abs(got[row] - n_windows * weight / sum(weights)) < 1 + 1e-6


def test_by_weight__with_equal_weights_gives_each_once(store: Any) -> None:
    sampling = by_weight(store, np.ones(300), split="valid")
    assert rows_of(sampling, 300, epoch=3) == list(range(100, 200))


def test_by_weight__gives_what_comes_twice_two_strands_and_shifts(store: Any) -> None:
    weights = np.zeros(300)
    weights[[7, 11]] = 1
    loader = Loader(
        store,
        sampling=by_weight(store, weights, n_windows=200),
        batch_size=200,
        positions=100,
        strand="random",
        max_shift=10,
        shuffle=True,
    )
    (batch,) = loader
    assert sorted(Counter(batch.window.tolist()).items()) == [(7, 100), (11, 100)]
    of_seven = batch.codes[batch.window == 7]
    # 21 shifts of two strands, of which 100 draws leave few out
    assert 30 < len({tuple(codes.tolist()) for codes in of_seven}) <= 42
    for codes in of_seven[:10]:
        assert any(
            codes.tolist() == store.expected(7, positions=100, shift=shift, reverse=reverse)
            for shift in range(-10, 11)
            for reverse in (False, True)
        )


def test_by_group__gives_a_rare_experiment_its_share(new_store: Any) -> None:
    store = new_store({"chr1": 3000}, n_windows=2000, seed=9)
    rare = store.experiments[4]
    store_of_few = store.label[:, 4].sum() / 2000
    sampling = by_group(store, {rare: 0.5}, n_windows=10_000)
    counts = np.bincount(rows_of(sampling, 2000), minlength=2000)
    # half of the epoch from its positives, and their part of the other half
    assert abs(counts[store.label[:, 4]].sum() / 10_000 - (0.5 + 0.5 * store_of_few)) < 0.01
    others = counts[~store.label[:, 4]]
    assert abs(others.mean() - 10_000 * 0.5 / 2000) < 0.05
    assert counts.sum() == 10_000


def test_with_negatives__keeps_all_positives_and_draws_negatives_anew(store: Any) -> None:
    wanted = list(store.experiments[2:4])
    positive = set(np.flatnonzero(store.label[:, 2:4].any(1)).tolist()) & set(range(100))
    sampling = with_negatives(store, 0.5, experiments=wanted, split="train")
    epochs = [rows_of(sampling, 300, epoch=epoch) for epoch in range(2)]
    for rows in epochs:
        assert len(rows) == len(set(rows)) == sampling.n_windows
        assert positive <= set(rows) <= set(range(100))
        assert len(rows) == len(positive) + min(100 - len(positive), round(0.5 * len(positive)))
    assert epochs[0] != epochs[1]
    everything = with_negatives(store, 1e6, experiments=wanted, split="train")
    assert rows_of(everything, 300) == list(range(100))


def test_in_regions__are_the_bins_that_overlap(store: Any) -> None:
    table = store.windows
    expected = [
        row
        for row in range(300)
        if (table.chroms[table.chrom[row]] == "chr1" and table.start[row] < 400 and table.end[row] > 300)
        or table.chroms[table.chrom[row]] == "chr2"
    ]
    assert rows_of(in_regions(store, ["chr1:300-400", "2"]), 300) == expected
    valid = rows_of(in_regions(store, ["chr1", "chr2", "chrX"], split="valid"), 300)
    assert valid == list(range(100, 200))


def test_samplings__are_dealt_and_resumed_as_any_epoch(store: Any) -> None:
    weights = np.random.default_rng(0).random(300)
    options: dict[str, Any] = {"batch_size": 16, "positions": 20, "shuffle": True, "threads": 0}

    def make(rank: int, world_size: int) -> Loader:
        sampling = by_weight(store, weights, n_windows=500)
        return Loader(store, sampling=sampling, rank=rank, world_size=world_size, **options)

    expected = Counter(rows_of(by_weight(store, weights, n_windows=500), 300))
    got: Counter[int] = Counter()
    for rank in range(3):
        loader = make(rank, 3)
        iterator = iter(loader)
        for _ in range(4):
            got.update(next(iterator).window.tolist())
        state = loader.state_dict()
    for rank in range(2):
        loader = make(rank, 2)
        loader.load_state_dict(state)
        for batch in loader:
            got.update(batch.window.tolist())
    assert got == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda store: by_weight(store, np.zeros(300)), "no weight above 0"),
        (lambda store: by_weight(store, np.full(300, -1.0)), "300 are negative, infinite or no number"),
        (lambda store: by_weight(store, np.full(300, np.nan)), "300 are negative, infinite or no number"),
        (lambda store: by_weight(store, np.ones(5)), "one for each of the store's 300 windows"),
        (lambda store: by_group(store, {"ENCFF001AAA": 0.7, "ENCFF002AAA": 0.6}), "together no more than 1"),
        (lambda store: by_group(store, {"ENCFF999ZZZ": 0.1}), "ENCFF999ZZZ"),
        (lambda store: with_negatives(store, -1), "found -1"),
        (lambda store: with_negatives(store, float("nan")), "found nan"),
        (lambda store: with_negatives(store, 1, experiments=["nothing"]), "nothing"),
        (lambda store: in_regions(store, ["chr9"]), "chr9"),
        (lambda store: in_regions(store, ["chr1:9-3"]), "chr1:9-3"),
        (lambda store: in_regions(store, ["chr1:5000-6000"]), "a start before the end of chr1, 900 bp"),
        (lambda store: by_weight(store, np.ones(300), split="tset"), "tset"),
    ],
)
def test_samplings__refuse_what_makes_no_sense(store: Any, make: Any, message: str) -> None:
    with pytest.raises((ConfigError, StoreError), match=message):
        make(store)


def test_loader__refuses_a_sampling_beside_a_split(store: Any) -> None:
    with pytest.raises(ValueError, match="not both"):
        Loader(store, split="train", sampling=in_regions(store, ["chr1"]), batch_size=8)


def test_loader__refuses_a_sampling_of_nothing(store: Any) -> None:
    empty = EachOnce(store, np.zeros(0, np.int64))
    with pytest.raises(StoreError, match="no window"):
        Loader(store, sampling=empty, batch_size=8)


def test_loader__refuses_a_sampling_of_another_store(store: Any, new_store: Any) -> None:
    other = new_store({"chr1": 3000}, n_windows=700, seed=5)
    with pytest.raises(StoreError, match="a sampling of windows of another store"):
        Loader(store, sampling=by_weight(other, np.ones(700)), batch_size=8)


def test_by_weight__refuses_epochs_of_nothing(store: Any) -> None:
    with pytest.raises(ConfigError, match="n_windows: found -5"):
        by_weight(store, np.ones(300), n_windows=-5)
    with pytest.raises(ConfigError, match=r"n_windows: found 10\.5; expected an integer"):
        by_weight(store, np.ones(300), n_windows=10.5)  # type: ignore[arg-type]


def test_samplings__take_one_name_for_a_list_of_one(store: Any) -> None:
    one, listed = (with_negatives(store, 1, experiments=names) for names in ("ENCFF001AAA", ["ENCFF001AAA"]))
    assert one.name == listed.name
    assert in_regions(store, "chr1:0-500").name == in_regions(store, ["chr1:0-500"]).name


def test_by_weight__takes_weights_whose_sum_is_infinite(store: Any) -> None:
    weights = np.full(300, 1e308)
    weights[:10] = 0
    chosen = by_weight(store, weights).tickets(seed=0, epoch=0) % store.n_windows
    assert set(chosen.tolist()) == set(range(10, 300))


def test_with_negatives__takes_all_where_more_are_asked_for(store: Any) -> None:
    assert with_negatives(store, 1e308, experiments="ENCFF001AAA").n_windows == 300


def test_in_regions__names_the_regions_without_a_window(store: Any) -> None:
    with pytest.raises(StoreError, match="no window of split gap in chr1"):
        in_regions(store, "chr1", split="gap")
