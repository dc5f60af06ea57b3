"""Judges of the draws: published numbers of splitmix64, the definition in plain integers, scipy's tests.

The statistical tests look at fixed seeds, so they pass or fail always.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mfdstore.loader.kernels import augment
from mfdstore.sampler.draws import draw, draw_augmentation, key_of
from mfdstore.sampler.order import FullShuffle

LEAST_P = 1e-3

seeds = st.integers(0, 2**63 - 1)
epochs = st.integers(0, 2**31 - 1)


def naive_mix(state: int) -> int:
    """The output function of splitmix64 with Python's unlimited integers."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
    return state ^ state >> 31


def naive_key(*words: int) -> int:
    key = 0
    for word in words:
        key = naive_mix((key + 0x9E3779B97F4A7C15) % 2**64 ^ word)
    return key


def naive_draw(key: int, counter: int) -> int:
    return naive_mix((key + (counter + 1) * 0x9E3779B97F4A7C15) % 2**64)


def test_draw__gives_the_published_sequence_of_splitmix64() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert draw(1234567, np.arange(4)).tolist() == published


@given(
    seed=seeds, epoch=epochs, rows=st.lists(st.integers(0, 2**40), max_size=30), max_shift=st.integers(0, 99)
)
def test_draw_augmentation__follows_the_definition(
    seed: int, epoch: int, rows: list[int], max_shift: int
) -> None:
    drawn = [naive_draw(naive_key(seed, epoch, 1), row) for row in rows]
    got = draw_augmentation(np.array(rows, np.int64), seed=seed, epoch=epoch, max_shift=max_shift)
    assert got.reverse.tolist() == [number >= 2**63 for number in drawn]
    expected = [number % 2**32 * (2 * max_shift + 1) // 2**32 - max_shift for number in drawn]
    assert got.shift.tolist() == expected


def test_key_of__takes_negative_words_modulo_the_word_and_minds_their_order() -> None:
    assert key_of(-1, 5) == key_of(2**64 - 1, 5)
    assert key_of(1, 2) != key_of(2, 1)
    assert key_of(1) != key_of(1, 0)


@pytest.mark.parametrize("max_shift", [1, 3, 10])
def test_draw_augmentation__is_uniform_on_strands_and_shifts_together(max_shift: int) -> None:
    drawn = draw_augmentation(np.arange(100_000), seed=5, epoch=1, max_shift=max_shift)
    assert drawn.shift.min() == -max_shift
    assert drawn.shift.max() == max_shift
    counts = np.bincount(2 * (drawn.shift + max_shift) + drawn.reverse, minlength=4 * max_shift + 2)
    assert stats.chisquare(counts).pvalue > LEAST_P


@pytest.mark.parametrize("other", [(0, 1), (1, 0)], ids=["epoch", "seed"])
def test_draw_augmentation__of_two_epochs_or_seeds_are_unrelated(other: tuple[int, int]) -> None:
    rows = np.arange(50_000)
    one = draw_augmentation(rows, seed=0, epoch=0, max_shift=3)
    two = draw_augmentation(rows, seed=other[0], epoch=other[1], max_shift=3)
    strands = np.histogram2d(one.reverse, two.reverse, bins=(2, 2))[0]
    shifts = np.histogram2d(one.shift, two.shift, bins=(7, 7))[0]
    assert stats.chi2_contingency(strands).pvalue > LEAST_P
    assert stats.chi2_contingency(shifts).pvalue > LEAST_P


def test_draw_augmentation__of_neighbours_are_unrelated() -> None:
    drawn = draw_augmentation(np.arange(50_001), seed=0, epoch=0, max_shift=3)
    pairs = np.histogram2d(drawn.shift[:-1], drawn.shift[1:], bins=(7, 7))[0]
    assert stats.chi2_contingency(pairs).pvalue > LEAST_P


def test_draw_augmentation__does_not_follow_the_order_of_the_epoch() -> None:
    order = FullShuffle(np.arange(50_000), seed=0, epoch=0).at(range(50_000))
    drawn = draw_augmentation(order, seed=0, epoch=0, max_shift=3)
    assert stats.mannwhitneyu(np.flatnonzero(drawn.reverse), np.flatnonzero(~drawn.reverse)).pvalue > LEAST_P
    assert stats.spearmanr(np.arange(50_000), drawn.shift).pvalue > LEAST_P


def test_draw_augmentation__of_a_window_is_the_same_in_any_company() -> None:
    rows = np.arange(1000)
    together = draw_augmentation(rows, seed=1, epoch=4, max_shift=3)
    mixed = FullShuffle(rows, seed=9, epoch=9).at(range(100))
    some = draw_augmentation(mixed, seed=1, epoch=4, max_shift=3)
    np.testing.assert_array_equal(some.reverse, together.reverse[mixed])
    np.testing.assert_array_equal(some.shift, together.shift[mixed])


def test_draw_augmentation__without_shifts_moves_nothing() -> None:
    assert not draw_augmentation(np.arange(100), seed=0, epoch=0, max_shift=0).shift.any()


@pytest.mark.parametrize("max_shift", [-1, 2**30])
def test_draw_augmentation__refuses_a_shift_out_of_range(max_shift: int) -> None:
    with pytest.raises(ValueError, match=f"max_shift is {max_shift}"):
        draw_augmentation(np.arange(3), seed=0, epoch=0, max_shift=max_shift)


@given(
    seed=seeds,
    epoch=epochs,
    tickets=st.lists(st.integers(0, 2**40), min_size=1, max_size=30),
    max_shift=st.integers(0, 99),
    strand=st.sampled_from([0, 1, 2]),
    shift_all=st.integers(-50, 50),
)
def test_augment__draws_the_same_in_one_loop(
    seed: int, epoch: int, tickets: list[int], max_shift: int, strand: int, shift_all: int
) -> None:
    given_tickets = np.array(tickets, np.int64)
    rows, shift = np.empty_like(given_tickets), np.empty_like(given_tickets)
    reverse = np.empty(len(tickets), np.bool_)
    key = np.uint64(naive_key(seed, epoch, 1))
    augment(given_tickets, 1000, key, strand, max_shift, shift_all, rows, reverse, shift)
    expected = draw_augmentation(given_tickets, seed=seed, epoch=epoch, max_shift=max_shift)
    assert rows.tolist() == [ticket % 1000 for ticket in tickets]
    assert shift.tolist() == (expected.shift + shift_all).tolist()
    assert reverse.tolist() == (expected.reverse.tolist() if strand == 2 else [strand == 1] * len(tickets))
