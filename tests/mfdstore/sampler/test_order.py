"""Judges of the orders: sorting in plain Python by the definition's draws, scipy's tests.

The statistical tests look at fixed seeds, so they pass or fail always.
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mfdstore.sampler.draws import draw, key_of
from mfdstore.sampler.order import AsGiven, BlockShuffle, FullShuffle, Order, sorted_by_row, tickets_of

LEAST_P = 1e-3

seeds = st.integers(0, 2**63 - 1)
epochs = st.integers(0, 2**31 - 1)


def whole(order: Order) -> list[int]:
    return [int(ticket) for ticket in order.at(range(len(order)))]


def shuffled(n_windows: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    return FullShuffle(np.arange(n_windows), seed=seed, epoch=epoch).at(range(n_windows))


def drawn(seed: int, epoch: int, stream: int, counter: int) -> int:
    # the draws themselves are judged by test_draws
    return int(draw(key_of(seed, epoch, stream), np.array([counter]))[0])


def test_as_given__keeps_the_order() -> None:
    order = AsGiven(np.array([5, 3, 9, 1]))
    assert whole(order) == [5, 3, 9, 1]
    assert order.at(range(1, 4, 2)).tolist() == [3, 1]
    assert order.borders is None


@given(seed=seeds, epoch=epochs, n_windows=st.integers(0, 40))
def test_full_shuffle__sorts_by_the_draws_of_the_definition(seed: int, epoch: int, n_windows: int) -> None:
    expected = sorted(range(n_windows), key=lambda window: drawn(seed, epoch, 0, window))
    assert shuffled(n_windows, seed=seed, epoch=epoch).tolist() == expected
    other = FullShuffle(1000 - np.arange(n_windows), seed=seed, epoch=epoch)
    assert whole(other) == [1000 - window for window in expected]


@given(
    seed=seeds,
    n_windows=st.integers(0, 9000),
    start=st.integers(0, 9000),
    stop=st.integers(0, 9000),
    step=st.integers(1, 7),
)
def test_full_shuffle__is_the_same_part_by_part(
    seed: int, n_windows: int, start: int, stop: int, step: int
) -> None:
    tickets = 5 * np.arange(n_windows)
    expected = tickets[np.argsort(draw(key_of(seed, 2, 0), np.arange(n_windows)))]
    order = FullShuffle(tickets, seed=seed, epoch=2)
    positions = range(start, min(stop, n_windows), step)
    assert order.at(positions).tolist() == expected[positions.start : positions.stop : step].tolist()


def test_full_shuffle__gives_all_orders_of_four_windows_equally_often() -> None:
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    for seed, epoch in itertools.product(range(100), range(48)):
        counts[tuple(shuffled(4, seed=seed, epoch=epoch).tolist())] += 1
    assert stats.chisquare(list(counts.values())).pvalue > LEAST_P


def test_full_shuffle__sends_every_part_of_the_genome_to_every_part_of_the_epoch() -> None:
    order = shuffled(64_000, seed=0, epoch=0)
    table = np.histogram2d(np.arange(64_000), order, bins=(16, 16))[0]
    assert stats.chisquare(table.ravel()).pvalue > LEAST_P


@pytest.mark.parametrize(("first", "second"), [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((7, 8), (8, 7))])
def test_full_shuffle__of_two_epochs_or_seeds_are_unrelated(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    orders = [shuffled(20_000, seed=seed, epoch=epoch) for seed, epoch in (first, second)]
    assert stats.spearmanr(*orders).pvalue > LEAST_P
    assert np.count_nonzero(orders[0] == orders[1]) < 10


def naive_blocks(
    tickets: list[int], *, seed: int, epoch: int, n_rows: int, block: int, pool: int
) -> tuple[list[int], list[int]]:
    """Order tickets by blocks from the definition, with dictionaries and sorted; and where pools begin."""
    blocks: dict[int, list[int]] = {}
    for ticket in tickets:
        blocks.setdefault(ticket % n_rows // block, []).append(ticket)
    turn = sorted(blocks, key=lambda number: drawn(seed, epoch, 2, number))
    at_a_time = max(1, pool // block)
    order: list[int] = []
    borders: list[int] = []
    while turn:
        borders.append(len(order))
        mixed: list[int] = []
        n_blocks = 0
        while turn and n_blocks < at_a_time and (not mixed or len(mixed) + len(blocks[turn[0]]) <= pool):
            mixed += blocks[turn.pop(0)]
            n_blocks += 1
        order += sorted(mixed, key=lambda ticket: drawn(seed, epoch, 3, ticket))
    return order, borders


@given(
    seed=seeds,
    epoch=epochs,
    n_rows=st.integers(1, 60),
    rows=st.lists(st.integers(0, 10**6), max_size=60),
    block=st.integers(1, 12),
    blocks_a_pool=st.integers(1, 5),
    data=st.data(),
)
def test_block_shuffle__follows_the_definition(
    seed: int,
    epoch: int,
    n_rows: int,
    rows: list[int],
    block: int,
    blocks_a_pool: int,
    data: st.DataObject,
) -> None:
    tickets = tickets_of(np.array([row % n_rows for row in rows], np.int64), n_rows)
    pool = blocks_a_pool * block
    order = BlockShuffle(tickets, seed=seed, epoch=epoch, n_rows=n_rows, block=block, pool=pool)
    expected, borders = naive_blocks(
        tickets.tolist(), seed=seed, epoch=epoch, n_rows=n_rows, block=block, pool=pool
    )
    assert whole(order) == expected
    assert order.borders.tolist() == (borders or [0])
    start = data.draw(st.integers(0, len(rows)))
    part = range(start, data.draw(st.integers(start, len(rows))), data.draw(st.integers(1, 7)))
    assert order.at(part).tolist() == [expected[position] for position in part]


def test_block_shuffle__moves_blocks_and_what_is_in_them_each_epoch() -> None:
    orders = [
        whole(BlockShuffle(np.arange(6400), seed=0, epoch=epoch, n_rows=6400, block=64, pool=640))
        for epoch in range(2)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(6400))
    # the windows of a block stay together, so it is the pools of blocks that have to be unrelated
    pools = [np.argsort(np.array(order))[32::64] // 640 for order in orders]
    assert stats.spearmanr(*pools).pvalue > LEAST_P
    # ten blocks are mixed: neighbours in the order are of one block one time in ten
    together = np.mean(np.diff(np.array(orders[0]) // 64) == 0)
    assert 0.05 < together < 0.15


@given(rows=st.lists(st.integers(0, 9), max_size=30))
def test_tickets_of__number_the_readings_of_each_window(rows: list[int]) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for row in rows:
        expected.append(row + 10 * seen[row])
        seen[row] += 1
    tickets = tickets_of(np.array(rows, np.int64), 10)
    assert tickets.tolist() == expected
    by_row = sorted_by_row(tickets, 10)
    assert by_row.tolist() == sorted(expected, key=lambda ticket: (ticket % 10, ticket))


def test_block_shuffle__holds_no_more_than_its_pool_where_windows_repeat() -> None:
    rows = np.sort(np.random.default_rng(0).integers(0, 1000, 20_000))
    order = BlockShuffle(tickets_of(rows, 1000), seed=1, epoch=0, n_rows=1000, block=10, pool=1000)
    sizes = np.diff([*order.borders.tolist(), len(order)])
    assert sizes.max() <= 1000
    assert sizes.min() > 300
    assert sorted(whole(order)) == sorted(tickets_of(rows, 1000).tolist())
    # a block that is more than a pool by itself stays whole
    one = BlockShuffle(tickets_of(np.zeros(50, np.int64), 10), seed=1, epoch=0, n_rows=10, block=5, pool=20)
    assert one.borders.tolist() == [0]
