"""Parts of windows are stretches that share no base, partners are from elsewhere, rotations make a circle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdmodel.analyses.independence.parts import N_BLOCKS, part_windows, repair, rotations
from tests.mfdmodel.independence.latents import neighbours


@st.composite
def window_tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(0, 120))
    chrom = np.sort(np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.int16))
    start = np.array(draw(st.lists(st.integers(0, 60), min_size=n, max_size=n)), np.int32) * 128
    order = np.lexsort((start, chrom))
    return chrom[order], start[order]


@given(table=window_tables(), span=st.sampled_from([129, 193, 1153]), seed=st.integers(0, 5))
def test_part_windows__share_no_base(table: tuple[np.ndarray, np.ndarray], span: int, seed: int) -> None:
    chrom, start = table
    parts = part_windows(chrom, start, span=span, seed=seed)
    named = {"fit": parts.fit, "tune": parts.tune, "score": parts.score}
    part_of = {int(row): name for name, rows in named.items() for row in rows}
    assert len(part_of) == sum(len(rows) for rows in named.values()) == len(start) - parts.n_dropped
    for one, name in part_of.items():
        for other, other_name in part_of.items():
            if name != other_name and chrom[one] == chrom[other]:
                assert abs(int(start[one]) - int(start[other])) >= span
    for block in np.unique(parts.block):
        rows = np.flatnonzero(parts.block == block)
        assert len({part_of[row] for row in rows.tolist() if row in part_of}) <= 1
        assert len(np.unique(chrom[rows])) == 1
        assert (np.diff(rows) == 1).all()


def test_part_windows__gives_each_part_its_share() -> None:
    parts = neighbours(4000)
    assert parts.block[-1] == N_BLOCKS - 1
    sizes = np.array([len(rows) for rows in (parts.fit, parts.tune, parts.score)])
    np.testing.assert_allclose(sizes / sizes.sum(), [0.45, 0.15, 0.4], atol=0.02)
    again, other = neighbours(4000), neighbours(4000, seed=1)
    np.testing.assert_array_equal(parts.score, again.score)
    assert not np.array_equal(parts.score, other.score)
    # far from each other only three gaps are lost; overlapping nine deep, blocks are as long as pays
    assert neighbours(4000, step=500).n_dropped <= 3.1 * 4000 / N_BLOCKS
    deep = part_windows(np.zeros(600, int), np.arange(600) * 128, span=1153, seed=0)
    assert deep.n_dropped < 200


@pytest.mark.parametrize("seed", range(12))
def test_part_windows__makes_each_part_one_stretch_with_a_gap_before_the_next(seed: int) -> None:
    n = 3000
    chrom = np.repeat([0, 3], [1100, n - 1100])
    start = np.concatenate([np.arange(1100), np.arange(n - 1100)]) * 1000
    parts = part_windows(chrom, start, span=193, seed=seed)
    part_of = np.full(n, -1)
    for part, rows in enumerate((parts.fit, parts.tune, parts.score)):
        part_of[rows] = part
    turns = part_of[np.flatnonzero(part_of != np.roll(part_of, 1))]
    turned = np.roll(turns, -int(np.flatnonzero(turns == 0)[0]))
    np.testing.assert_array_equal(turned[turned >= 0], [0, 1, 2])
    used = np.flatnonzero(part_of >= 0)
    meeting = (np.diff(part_of[used]) != 0) & (np.diff(chrom[used]) == 0)
    assert (np.diff(used)[meeting] > n // N_BLOCKS).all()


@given(n=st.integers(1, 300), n_rotations=st.integers(1, 12))
def test_rotations__are_all_turns_by_multiples_of_one_angle(n: int, n_rotations: int) -> None:
    found = rotations(n, n_rotations)
    assert found.shape == (n_rotations, n)
    for index, turned in enumerate(found):
        offset = int((index + 1) * n / (n_rotations + 1) + 1e-9)
        np.testing.assert_array_equal(turned, np.roll(np.arange(n), -offset))
    if n % (n_rotations + 1) == 0:  # with the true pairing they are a group: each is as far from the others
        offsets = {0, *found[:, 0].tolist()}
        assert {(one + other) % n for one in offsets for other in offsets} == offsets


def test_part_windows__refuses_windows_out_of_order() -> None:
    with pytest.raises(ValueError, match="not sorted"):
        part_windows(np.array([0, 0]), np.array([128, 0]), span=193, seed=0)


@given(sizes=st.lists(st.integers(1, 9), min_size=3, max_size=12), seed=st.integers(0, 9))
def test_repair__gives_each_row_a_partner_from_another_block(sizes: list[int], seed: int) -> None:
    block = np.repeat(np.arange(len(sizes)), sizes)
    if 2 * max(sizes) > sum(sizes):
        with pytest.raises(ValueError, match="more than half"):
            repair(block, np.random.default_rng(seed))
        return
    partner = repair(block, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(partner), np.arange(len(block)))
    assert (block[partner] != block).all()
