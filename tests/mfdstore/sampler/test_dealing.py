"""Judges of the dealing: lists of positions, and what plain Python leaves of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.sampler.dealing import Stretches, as_lists, count, deal, from_lists, left_behind, pieces, take


@st.composite
def stretches(draw: st.DrawFn) -> Stretches:
    """Draw ascending stretches, apart from each other or touching."""
    cuts = sorted(draw(st.sets(st.integers(0, 80), max_size=8)))
    return tuple(range(start, stop) for start, stop in zip(cuts[::2], cuts[1::2], strict=False))


def listed(left: Stretches) -> list[int]:
    return list(itertools.chain.from_iterable(left))


@given(left=stretches(), world_size=st.integers(1, 7), in_turns=st.booleans())
def test_deal__gives_every_position_to_one_process(left: Stretches, world_size: int, in_turns: bool) -> None:
    shares = [
        listed(deal(left, rank=rank, world_size=world_size, in_turns=in_turns)) for rank in range(world_size)
    ]
    assert sorted(itertools.chain.from_iterable(shares)) == listed(left)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    if in_turns:
        assert shares == [listed(left)[rank::world_size] for rank in range(world_size)]
    else:
        assert list(itertools.chain.from_iterable(shares)) == listed(left)


@given(left=stretches(), world_size=st.integers(1, 7), in_turns=st.booleans(), n_read=st.integers(0, 90))
def test_left_behind__is_what_nobody_has_read(
    left: Stretches, world_size: int, in_turns: bool, n_read: int
) -> None:
    read = set()
    for rank in range(world_size):
        read |= set(listed(deal(left, rank=rank, world_size=world_size, in_turns=in_turns))[:n_read])
    rest = left_behind(left, n_read, world_size=world_size, in_turns=in_turns)
    assert listed(rest) == [position for position in listed(left) if position not in read]
    assert all(len(stretch) for stretch in rest)
    assert from_lists(as_lists(rest), 81) == rest


@given(left=stretches(), start=st.integers(0, 90), length=st.integers(0, 90))
def test_take__counts_positions_through(left: Stretches, start: int, length: int) -> None:
    assert listed(take(left, start, start + length)) == listed(left)[start : start + length]
    assert count(left) == len(listed(left))


@given(
    left=stretches(),
    world_size=st.integers(1, 4),
    borders=st.sets(st.integers(1, 80), max_size=10),
    in_turns=st.booleans(),
)
def test_pieces__begin_at_borders(
    left: Stretches, world_size: int, borders: set[int], in_turns: bool
) -> None:
    share = deal(left, rank=0, world_size=world_size, in_turns=in_turns)
    cuts = np.array([0, *sorted(borders)])
    got = [listed(piece) for piece in pieces(share, borders=cuts, size=1)]
    assert list(itertools.chain.from_iterable(got)) == listed(share)
    pool = {position: int(np.searchsorted(cuts, position, side="right")) for position in listed(share)}
    assert all(piece and len({pool[position] for position in piece}) == 1 for piece in got)


@given(left=stretches(), size=st.integers(1, 20))
def test_pieces__without_borders_are_of_equal_size(left: Stretches, size: int) -> None:
    got = [listed(piece) for piece in pieces(left, borders=None, size=size)]
    assert list(itertools.chain.from_iterable(got)) == listed(left)
    assert [len(piece) for piece in got[:-1]] == [size] * max(0, len(got) - 1)


@pytest.mark.parametrize("pairs", [[[0, 0]], [[3, 2]], [[0, 5], [4, 6]], [[0, 12]], [[-1, 3]], [[0.5, 2]]])
def test_from_lists__refuses_what_is_no_part_of_the_epoch(pairs: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="is no stretch of 11 positions"):
        from_lists(pairs, 11)


@pytest.mark.parametrize(("rank", "world_size"), [(-1, 2), (2, 2), (0, 0)])
def test_deal__refuses_a_rank_outside_its_world(rank: int, world_size: int) -> None:
    with pytest.raises(ValueError, match=f"rank {rank} is not one of {world_size}"):
        deal((range(10),), rank=rank, world_size=world_size, in_turns=True)
